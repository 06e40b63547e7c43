//! Where one side of one resource is priced: what it says, what the book says, and the sheet that
//! is written.

use std::collections::BTreeSet;

use slipway_domain::cost::{Amount, CostGapReason, CostSettings, HOURS_PER_MONTH};

use crate::book::{Book, Looked, Provider, Row};
use crate::limits::LINES;
use crate::plan::{Plan, Resource};
use crate::region;
use crate::value::{View, Why};

/// One line of a bill, not yet converted.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// Which part of the resource, the same on both sides.
    pub(crate) slot: String,
    pub(crate) name: String,
    pub(crate) quantity: Amount,
    pub(crate) row: &'a Row,
    /// Price of one.
    pub(crate) price: Amount,
    pub(crate) from_usage: bool,
}

/// A part that is paid by use, of which nobody said how much.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    pub(crate) name: String,
    pub(crate) row: &'a Row,
    pub(crate) key: &'static str,
}

/// What became of one side of a resource.
#[derive(Debug, Default)]
pub(crate) struct Sheet<'a> {
    pub(crate) lines: Vec<Line<'a>>,
    /// Parts without a price; an empty part is the whole.
    pub(crate) gaps: Vec<(String, Why)>,
    pub(crate) waiting: Vec<Waiting<'a>>,
    pub(crate) assumptions: BTreeSet<String>,
    pub(crate) region: Option<String>,
    /// Names that were asked for in the usage document.
    pub(crate) asked: BTreeSet<&'static str>,
}

/// A place to price one side of one resource.
pub(crate) struct Desk<'a> {
    book: &'a Book,
    plan: &'a Plan,
    settings: &'a CostSettings,
    provider: Provider,
    resource: &'a Resource,
    after: bool,
    /// What the resource says.
    pub(crate) view: View<'a>,
    region: Option<Result<String, Why>>,
    sheet: Sheet<'a>,
}

/// What is priced by the hour, a month long.
pub(crate) fn month() -> Amount {
    Amount::whole(HOURS_PER_MONTH)
}

/// A product that stays within bounds.
pub(crate) fn times(a: Amount, b: Amount) -> Result<Amount, Why> {
    a.times(b).ok_or_else(|| {
        Why::new(CostGapReason::InvalidValue, "a quantity is too large to be one.".to_owned())
    })
}

impl<'a> Desk<'a> {
    pub(crate) fn new(
        book: &'a Book,
        plan: &'a Plan,
        settings: &'a CostSettings,
        provider: Provider,
        resource: &'a Resource,
        after: bool,
    ) -> Option<Self> {
        let view = resource.view(after, plan.written(resource))?;
        let sheet = Sheet::default();
        Some(Self { book, plan, settings, provider, resource, after, view, region: None, sheet })
    }

    pub(crate) fn finish(self) -> Sheet<'a> {
        self.sheet
    }

    /// Where it is.
    pub(crate) fn region(&mut self) -> Result<String, Why> {
        if self.region.is_none() {
            let found = region::of(self.provider, self.plan, self.resource, self.view);
            self.settle_region(found);
        }
        match &self.region {
            Some(known) => known.clone(),
            None => Err(Why::new(CostGapReason::NoRegion, String::new())),
        }
    }

    fn settle_region(&mut self, found: Option<String>) {
        let default = self.settings.default_regions.get(self.provider.as_str());
        let region = match (found, default) {
            (Some(region), _) => Ok(region),
            (None, Some(region)) => {
                self.assume(format!(
                    "The plan does not say where it is; the configured region {region} is taken."
                ));
                Ok(region.clone())
            }
            (None, None) => Err(Why::new(
                CostGapReason::NoRegion,
                "the plan does not say in which region it is; set it in the provider's block or a \
                 variable, or give `default_regions`."
                    .to_owned(),
            )),
        };
        self.sheet.region = region.as_ref().ok().cloned();
        self.region = Some(region);
    }

    /// Takes the place of another resource for its own, if it says none itself.
    pub(crate) fn region_of(&mut self, other: &Resource) {
        if region::of(self.provider, self.plan, self.resource, self.view).is_some() {
            return;
        }
        let view = other.view(self.after, self.plan.written(other));
        let view = view.or_else(|| other.view(!self.after, self.plan.written(other)));
        if let Some(found) = view.and_then(|v| region::of(self.provider, self.plan, other, v)) {
            self.settle_region(Some(found));
        }
    }

    /// Takes what is said elsewhere for where it is.
    pub(crate) fn global(&mut self) {
        self.region = Some(Ok("global".to_owned()));
    }

    /// Another resource that this one refers to, as it is on this side, and how many there are.
    pub(crate) fn neighbour(
        &self,
        kind: &'static str,
        names: &[&str],
    ) -> Option<(&'a Resource, View<'a>)> {
        self.plan.neighbours(self.resource, kind, names).into_iter().find_map(|other| {
            let view = other.view(self.after, self.plan.written(other))?;
            Some((other, view))
        })
    }

    /// Says what is taken for granted.
    pub(crate) fn assume(&mut self, text: impl Into<String>) {
        self.sheet.assumptions.insert(text.into());
    }

    /// Prices a part; what goes wrong with it leaves the other parts alone.
    pub(crate) fn part(&mut self, slot: &str, price: impl FnOnce(&mut Self) -> Result<(), Why>) {
        if let Err(why) = price(self) {
            self.gap(slot, why);
        }
    }

    /// A part has no price.
    pub(crate) fn gap(&mut self, slot: &str, why: Why) {
        if self.sheet.gaps.len() < LINES {
            self.sheet.gaps.push((slot.to_owned(), why));
        }
    }

    fn find(&mut self, key: &str, unit: &str) -> Result<(&'a Row, Amount), Why> {
        let region = self.region()?;
        let provider = self.provider;
        let no_price = |text: String| Err(Why::new(CostGapReason::NoPrice, text));
        match self.book.look(provider, key, &region) {
            Looked::Price(row, factor) if row.unit == unit => {
                let price = row.price.times(factor).ok_or_else(|| {
                    Why::new(
                        CostGapReason::InvalidValue,
                        format!("the price of `{key}` is too large."),
                    )
                })?;
                Ok((row, price))
            }
            Looked::Price(row, _) => no_price(format!(
                "the book's price for {provider} `{key}` is by `{}`, and by `{unit}` is needed.",
                row.unit,
                provider = provider.as_str(),
            )),
            Looked::NoRegion => no_price(format!(
                "the book has no price for {region} of {} `{key}`; import the vendor's prices.",
                provider.as_str()
            )),
            Looked::NoKey => no_price(format!(
                "the book has no price of {} `{key}` in any region; import the vendor's prices.",
                provider.as_str()
            )),
        }
    }

    /// A line of a known quantity.
    pub(crate) fn line(
        &mut self,
        slot: &str,
        name: impl Into<String>,
        key: &str,
        unit: &str,
        quantity: Amount,
    ) {
        self.put(slot, name.into(), key, unit, quantity, false);
    }

    fn put(
        &mut self,
        slot: &str,
        name: String,
        key: &str,
        unit: &str,
        quantity: Amount,
        from_usage: bool,
    ) {
        if quantity.is_zero() && !from_usage {
            return;
        }
        match self.find(key, unit) {
            Ok(_) if self.sheet.lines.len() >= LINES => {
                self.gap(slot, Why::not_modelled(format!("it has more than {LINES} parts.")));
            }
            Ok((row, price)) => self.sheet.lines.push(Line {
                slot: slot.to_owned(),
                name,
                quantity,
                row,
                price,
                from_usage,
            }),
            Err(why) => self.gap(slot, why),
        }
    }

    /// A line by the hour, for a number of things that are there all month.
    pub(crate) fn hourly(
        &mut self,
        slot: &str,
        name: impl Into<String>,
        key: &str,
        number: Amount,
    ) {
        match times(number, month()) {
            Ok(hours) => self.line(slot, name, key, "hour", hours),
            Err(why) => self.gap(slot, why),
        }
    }

    /// What the usage document says of a name.
    pub(crate) fn usage(&mut self, key: &'static str) -> Option<Amount> {
        self.sheet.asked.insert(key);
        let usage = &self.settings.usage;
        if usage.resources.is_empty() {
            return usage.types.get(&self.resource.kind)?.get(key).copied();
        }
        let address = &self.resource.address;
        [
            address.clone(),
            format!("{}[*]", address.split_once('[').map_or(address.as_str(), |(a, _)| a)),
        ]
        .iter()
        .chain(std::iter::once(&format!("{}[*]", self.resource.bare)))
        .find_map(|name| usage.resources.get(name)?.get(key))
        .or_else(|| usage.types.get(&self.resource.kind)?.get(key))
        .copied()
    }

    /// A line whose quantity only people know: what the usage document says of `key`, `per` of which
    /// are one unit.
    pub(crate) fn used(
        &mut self,
        slot: &str,
        name: impl Into<String>,
        book_key: &str,
        unit: &str,
        key: &'static str,
        per: u32,
    ) {
        let name = name.into();
        if let Some(quantity) = self.usage(key) {
            let quantity = quantity.by(Amount::whole(per)).unwrap_or_default();
            self.put(slot, name, book_key, unit, quantity, true);
            return;
        }
        match self.find(book_key, unit) {
            Ok((row, _)) => self.sheet.waiting.push(Waiting { name, row, key }),
            // It would be in no total anyway.
            Err(_) => self.assume(format!(
                "{name}: is paid by use, of which nothing was said, and has no price here."
            )),
        }
    }

    /// A line whose quantity was reckoned from the usage document.
    pub(crate) fn reckoned(
        &mut self,
        slot: &str,
        name: impl Into<String>,
        key: &str,
        unit: &str,
        quantity: Amount,
    ) {
        self.put(slot, name.into(), key, unit, quantity, true);
    }
}
