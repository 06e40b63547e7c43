//! From a plan to a report.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::NaiveDate;
use slipway_domain::cost::{
    Amount, BookAge, CostAssumption, CostComponent, CostGap, CostGapReason, CostReport,
    CostSettings, CostSide, ExchangeRate, FreeType, ResourceCost, UnsupportedType, UsageBased,
};

use crate::book::{Book, Origin, Row};
use crate::desk::{Desk, Sheet};
use crate::error::CostError;
use crate::free;
use crate::limits::Limits;
use crate::plan::{Plan, Resource};
use crate::types::{self, PricedType};
use crate::value::Why;

/// A price in the report's currency.
type Converted = Result<Amount, Why>;

/// The most that one line can be.
fn too_large() -> Why {
    Why::new(
        CostGapReason::InvalidValue,
        "quantity times price is too large to be a cost.".to_owned(),
    )
}

/// Converts prices, and remembers by which rates.
struct Till<'a> {
    settings: &'a CostSettings,
    used: BTreeSet<usize>,
}

impl Till<'_> {
    /// The newest rate between two currencies, and whether it must be turned around.
    fn rate(&self, from: &str, to: &str) -> Option<(usize, bool)> {
        let fits = |r: &ExchangeRate| {
            if r.from == from && r.to == to {
                Some(false)
            } else if r.from == to && r.to == from {
                Some(true)
            } else {
                None
            }
        };
        self.settings
            .rates
            .iter()
            .enumerate()
            .filter_map(|(i, r)| fits(r).map(|turned| (r.as_of, !turned, i, turned)))
            .max()
            .map(|(_, _, i, turned)| (i, turned))
    }

    fn convert(&mut self, price: Amount, currency: &str) -> Converted {
        let to = &self.settings.currency;
        if currency == to {
            return Ok(price);
        }
        let Some((i, turned)) = self.rate(currency, to) else {
            return Err(Why::new(
                CostGapReason::NoRate,
                format!(
                    "its price is in {currency} and there is no rate for {currency}→{to}; set one in the cost settings."
                ),
            ));
        };
        let rate = self.settings.rates[i].rate;
        let converted = if turned { price.by(rate) } else { price.times(rate) };
        self.used.insert(i);
        converted.ok_or_else(too_large)
    }
}

/// Everything that is gathered over the resources.
struct Ledger<'a> {
    till: Till<'a>,
    rows: HashSet<*const Row>,
    age: BookAge,
    priced: Vec<ResourceCost>,
    gaps: BTreeSet<CostGap>,
    usage_based: Vec<UsageBased>,
    assumptions: BTreeMap<String, (u32, String)>,
    /// What was asked for in the usage document, by address.
    asked: HashSet<(String, &'static str)>,
    /// The same by type.
    asked_of: HashSet<(&'static str, &'static str)>,
    /// Lines so far, with and without a price.
    lines: usize,
}

/// One side of a resource, converted.
#[derive(Default)]
struct Bill {
    /// With the part that each is.
    lines: Vec<(String, CostComponent)>,
    gaps: Vec<(String, Why)>,
}

impl Bill {
    fn total(&self) -> Amount {
        self.lines.iter().fold(Amount::ZERO, |sum, (_, line)| sum.plus(line.monthly_cost))
    }

    fn components(self) -> Vec<CostComponent> {
        self.lines.into_iter().map(|(_, line)| line).collect()
    }
}

/// Whether a gap in one part is one in another.
fn covers(gap: &str, slot: &str) -> bool {
    slot == gap || slot.strip_prefix(gap).is_some_and(|rest| rest.starts_with(['/', '[']))
}

impl<'a> Ledger<'a> {
    fn new(settings: &'a CostSettings) -> Self {
        Self {
            till: Till { settings, used: BTreeSet::new() },
            rows: HashSet::new(),
            age: BookAge::default(),
            priced: Vec::new(),
            gaps: BTreeSet::new(),
            usage_based: Vec::new(),
            assumptions: BTreeMap::new(),
            asked: HashSet::new(),
            asked_of: HashSet::new(),
            lines: 0,
        }
    }

    fn note_row(&mut self, row: &Row) {
        if !self.rows.insert(std::ptr::from_ref(row)) {
            return;
        }
        let age = &mut self.age;
        age.oldest = Some(age.oldest.map_or(row.as_of, |day| day.min(row.as_of)));
        age.newest = Some(age.newest.map_or(row.as_of, |day| day.max(row.as_of)));
        match row.origin {
            Origin::Shipped => age.shipped_prices += 1,
            Origin::Imported => age.imported_prices += 1,
        }
    }

    fn bill(&mut self, sheet: &mut Sheet<'_>) -> Bill {
        let mut bill = Bill { lines: Vec::new(), gaps: std::mem::take(&mut sheet.gaps) };
        for line in sheet.lines.drain(..) {
            let cost = self.till.convert(line.price, &line.row.currency).and_then(|price| {
                let cost = price.times(line.quantity).filter(|c| *c <= largest());
                Ok((price, cost.ok_or_else(too_large)?))
            });
            match cost {
                Ok((price, monthly_cost)) => {
                    self.note_row(line.row);
                    let foreign = line.row.currency != self.till.settings.currency;
                    let component = CostComponent {
                        name: line.name,
                        unit: line.row.unit.clone(),
                        monthly_quantity: line.quantity,
                        price,
                        monthly_cost,
                        listed_price: foreign.then_some(line.price),
                        listed_currency: foreign.then(|| line.row.currency.clone()),
                        source: line.row.source.to_string(),
                        as_of: Some(line.row.as_of),
                        from_usage: line.from_usage,
                    };
                    bill.lines.push((line.slot, component));
                }
                Err(why) => bill.gaps.push((line.slot, why)),
            }
        }
        bill
    }

    fn take(&mut self, kind: PricedType, resource: &Resource, book: &Book, plan: &Plan) {
        let settings = self.till.settings;
        let side = |after: bool| {
            let mut desk = Desk::new(book, plan, settings, kind.provider, resource, after)?;
            let whole = (kind.price)(&mut desk);
            if let Err(why) = whole {
                desk.gap("", why);
            }
            Some(desk.finish())
        };
        let (before, after) = (side(false), side(true));
        let region = [&after, &before].into_iter().flatten().find_map(|sheet| sheet.region.clone());
        let by_address = !settings.usage.resources.is_empty();
        for sheet in [&after, &before].into_iter().flatten() {
            self.lines += sheet.lines.len() + sheet.gaps.len() + sheet.waiting.len();
            for key in &sheet.asked {
                self.asked_of.insert((kind.name, key));
                if by_address {
                    self.asked.insert((resource.address.clone(), key));
                }
            }
        }
        // What is said of the side that stays is what readers ask about.
        let mut said = after;
        let mut before = before;
        if let Some(sheet) = said.as_mut().or(before.as_mut()) {
            for text in std::mem::take(&mut sheet.assumptions) {
                let entry =
                    self.assumptions.entry(text).or_insert_with(|| (0, resource.address.clone()));
                entry.0 += 1;
            }
        }
        if let Some(sheet) = &said {
            for waiting in &sheet.waiting {
                let Ok(price) = self.till.convert(waiting.row.price, &waiting.row.currency) else {
                    continue;
                };
                self.note_row(waiting.row);
                self.usage_based.push(UsageBased {
                    address: resource.address.clone(),
                    component: waiting.name.clone(),
                    unit: waiting.row.unit.clone(),
                    price,
                    usage_key: waiting.key.to_owned(),
                });
            }
        }
        let gone = said.is_none();
        let waits = said.as_ref().is_some_and(|s| !s.waiting.is_empty());
        let mut before = before.as_mut().map(|s| self.bill(s)).unwrap_or_default();
        let after = said.as_mut().map(|s| self.bill(s)).unwrap_or_default();

        // What is not known of the time after must not look like something that was saved.
        if !gone {
            for (gap, _) in &after.gaps {
                before.lines.retain(|(slot, _)| {
                    if gap.is_empty() {
                        after.lines.iter().any(|(kept, _)| kept == slot)
                    } else {
                        !covers(gap, slot)
                    }
                });
            }
        }
        for (bill, side) in [(&after, CostSide::After), (&before, CostSide::Before)] {
            for (slot, why) in &bill.gaps {
                let twice = side == CostSide::Before
                    && after.gaps.iter().any(|(s, w)| s == slot && w.reason == why.reason);
                if !twice {
                    self.gaps.insert(CostGap {
                        address: resource.address.clone(),
                        kind: resource.kind.clone(),
                        component: slot.clone(),
                        reason: why.reason,
                        detail: why.detail.clone(),
                        side,
                    });
                }
            }
        }
        let priced = !(before.lines.is_empty() && after.lines.is_empty());
        let clean = before.gaps.is_empty() && after.gaps.is_empty();
        if priced || waits || clean {
            let (monthly_before, monthly_after) = (before.total(), after.total());
            self.priced.push(ResourceCost {
                address: resource.address.clone(),
                kind: resource.kind.clone(),
                region,
                monthly_before,
                monthly_after,
                monthly_delta: monthly_after.minus(monthly_before),
                components: after.components(),
                components_before: before.components(),
            });
        }
    }
}

/// The most that a line may cost, in any currency.
fn largest() -> Amount {
    Amount::parse("1e14").unwrap_or_default()
}

impl Book {
    /// What a plan makes a month cost.
    ///
    /// `document` is what `terraform show -json PLANFILE` prints; `today` is only compared with the
    /// days of prices and rates. Nothing is read beside the arguments.
    ///
    /// # Errors
    /// The document is too large or no plan, or the settings are not right. A gate must not pass
    /// then; [`slipway_domain::cost::cost_error`] makes the finding.
    pub fn estimate(
        &self,
        document: &[u8],
        settings: &CostSettings,
        today: NaiveDate,
        limits: Limits,
    ) -> Result<CostReport, CostError> {
        if let Some(problem) = settings.problems().first() {
            return Err(CostError::Settings(format!("{}: {}", problem.pointer, problem.detail)));
        }
        let plan = Plan::read(document, limits)?;
        let table = types::by_name();
        let mut ledger = Ledger::new(settings);
        let mut unsupported: BTreeMap<&str, (u32, Vec<String>)> = BTreeMap::new();
        let mut free_of: BTreeMap<&str, u32> = BTreeMap::new();
        let mut forgotten = 0_u32;
        for resource in &plan.resources {
            if resource.before.is_none() && resource.after.is_none() {
                continue;
            }
            forgotten += u32::from(resource.forgotten);
            if let Some(kind) = table.get(resource.kind.as_str()) {
                ledger.take(*kind, resource, self, &plan);
                if ledger.lines > limits.lines {
                    return Err(CostError::TooManyLines { limit: limits.lines });
                }
            } else if free::is_free(&resource.kind) {
                *free_of.entry(&resource.kind).or_default() += 1;
            } else {
                let entry = unsupported.entry(&resource.kind).or_default();
                entry.0 += 1;
                if entry.1.len() < limits.addresses {
                    entry.1.push(resource.address.clone());
                }
            }
        }
        let unsupported = unsupported
            .into_iter()
            .map(|(kind, (count, mut addresses))| {
                addresses.sort();
                UnsupportedType { kind: kind.to_owned(), count, addresses }
            })
            .collect();
        let free = free_of
            .into_iter()
            .map(|(kind, count)| FreeType { kind: kind.to_owned(), count })
            .collect();
        Ok(ledger.report(unsupported, free, forgotten, today, limits))
    }
}

impl Ledger<'_> {
    fn report(
        mut self,
        unsupported: Vec<UnsupportedType>,
        free: Vec<FreeType>,
        forgotten: u32,
        today: NaiveDate,
        limits: Limits,
    ) -> CostReport {
        self.priced.sort_by(|a, b| a.address.cmp(&b.address));
        self.usage_based.sort_by(|a, b| {
            (&a.address, &a.component, &a.usage_key).cmp(&(&b.address, &b.component, &b.usage_key))
        });
        let sum = |of: fn(&ResourceCost) -> Amount| {
            self.priced.iter().fold(Amount::ZERO, |sum, r| sum.plus(of(r)))
        };
        let (monthly_before, monthly_after) = (sum(|r| r.monthly_before), sum(|r| r.monthly_after));
        let settings = self.till.settings;
        let rates: Vec<ExchangeRate> =
            self.till.used.iter().map(|i| settings.rates[*i].clone()).collect();

        let mut warnings = Vec::new();
        let old = |day: NaiveDate| (today - day).num_days();
        if let Some(oldest) = self.age.oldest
            && old(oldest) > limits.old_days
        {
            warnings.push(format!(
                "The oldest price that was used is of {oldest}, {} days ago; import the vendors' \
                 newest prices.",
                old(oldest)
            ));
        }
        if self.age.shipped_prices > 0 {
            warnings.push(format!(
                "{} of the prices came with the product and were not checked against the vendors' \
                 price lists; import those to be sure.",
                self.age.shipped_prices
            ));
        }
        for rate in &rates {
            if old(rate.as_of) > limits.old_days {
                warnings.push(format!(
                    "The rate {}→{} is of {}, {} days ago.",
                    rate.from,
                    rate.to,
                    rate.as_of,
                    old(rate.as_of)
                ));
            }
        }
        if forgotten > 0 {
            warnings.push(format!(
                "{forgotten} resources are only dropped from the state: they go on costing what \
                 they cost."
            ));
        }
        warnings.extend(self.unused_usage());
        let unpriced: Vec<CostGap> = self.gaps.into_iter().collect();
        CostReport {
            tool: "slipway".to_owned(),
            currency: settings.currency.clone(),
            monthly_before,
            monthly_after,
            monthly_delta: monthly_after.minus(monthly_before),
            complete: unsupported.is_empty() && unpriced.is_empty(),
            resources: self.priced,
            unpriced,
            unsupported,
            free,
            usage_based: self.usage_based,
            assumptions: self
                .assumptions
                .into_iter()
                .map(|(text, (resources, example))| CostAssumption { text, resources, example })
                .collect(),
            book: self.age,
            rates,
            warnings,
        }
    }

    /// Quantities of the usage document that nothing asked for: most likely misspelt.
    fn unused_usage(&self) -> Vec<String> {
        let mut unused = Vec::new();
        for (entry, values) in &self.till.settings.usage.resources {
            let front = entry.strip_suffix("[*]");
            let fits = |address: &str| match front {
                Some(front) => {
                    address == front
                        || address.starts_with(&format!("{front}["))
                        || crate::plan::bare(address) == front
                }
                None => address == entry,
            };
            let keys: HashSet<&str> =
                self.asked.iter().filter(|(a, _)| fits(a)).map(|(_, key)| *key).collect();
            for key in values.keys().filter(|key| !keys.contains(key.as_str())) {
                unused.push(format!("The usage document's `{key}` of `{entry}` is of no use."));
            }
            if unused.len() > 100 {
                break;
            }
        }
        for (entry, values) in &self.till.settings.usage.types {
            // A type that is not in the plan at all may well have its quantities.
            if self.asked_of.iter().any(|(kind, _)| kind == entry) {
                let fits = |key: &str| self.asked_of.iter().any(|(k, n)| k == entry && *n == key);
                for key in values.keys().filter(|key| !fits(key)) {
                    unused.push(format!("The usage document's `{key}` of `{entry}` is of no use."));
                }
            }
        }
        unused.truncate(100);
        unused
    }
}
