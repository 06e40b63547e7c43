//! Reads a report that infracost made (`--format json`, version 0.2).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use slipway_domain::cost::{
    Amount, BookAge, CostComponent, CostGap, CostGapReason, CostReport, CostSide, FreeType,
    ResourceCost, UnsupportedType, UsageBased,
};

use crate::error::BookError;
use crate::limits::Limits;

#[derive(Deserialize)]
struct Document {
    version: String,
    currency: String,
    projects: Vec<Project>,
    #[serde(rename = "totalMonthlyCost")]
    total: Option<Amount>,
    #[serde(rename = "pastTotalMonthlyCost")]
    past: Option<Amount>,
    summary: Option<Summary>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Summary {
    unsupported_resource_counts: BTreeMap<String, u32>,
    no_price_resource_counts: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Project {
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    past_breakdown: Option<Breakdown>,
    breakdown: Option<Breakdown>,
}

/// What infracost says of a project beside its costs. It ends well, with a report that costs nothing,
/// when it could not do its work.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    errors: Option<Vec<Said>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    message: String,
}

#[derive(Deserialize)]
struct Breakdown {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    name: String,
    #[serde(default)]
    resource_type: Option<String>,
    #[serde(default)]
    monthly_cost: Option<Amount>,
    #[serde(default)]
    cost_components: Option<Vec<Component>>,
    #[serde(default)]
    subresources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    name: String,
    unit: String,
    #[serde(default)]
    monthly_quantity: Option<Amount>,
    price: Amount,
    #[serde(default)]
    monthly_cost: Option<Amount>,
    #[serde(default)]
    usage_based: bool,
    #[serde(default)]
    price_not_found: bool,
}

const FORM: &str = "a report of infracost";

/// Longest text of infracost's that is passed on, in characters.
const MAX_SAID: usize = 16 << 10;

fn wrong(why: impl Into<String>) -> BookError {
    BookError::Form { form: FORM, why: why.into() }
}

/// What is gathered of one resource.
#[derive(Default)]
struct Gathered {
    before: Amount,
    after: Amount,
    components: Vec<CostComponent>,
    components_before: Vec<CostComponent>,
    kind: String,
}

/// What is gathered of all, beside the lines that have a price.
#[derive(Default)]
struct Open {
    usage_based: Vec<UsageBased>,
    unpriced: Vec<CostGap>,
}

/// Why a project says itself that it is not what it should be.
fn error_of(project: &Project) -> Option<String> {
    let first = project.metadata.as_ref()?.errors.as_ref()?.first()?;
    // As it is: whoever shows it takes secrets out first, which are not known by their parts.
    Some(first.message.chars().take(MAX_SAID).collect())
}

/// Reads a report.
///
/// # Errors
/// It is too large, no such report, tells of an error of its own, or has amounts that make no sense.
pub fn read(document: &[u8], limits: Limits) -> Result<CostReport, BookError> {
    if document.len() > limits.input_bytes {
        return Err(BookError::TooLarge { limit: limits.input_bytes as u64 });
    }
    let document: Document =
        serde_json::from_slice(document).map_err(|why| wrong(why.to_string()))?;
    if document.version != "0.2" {
        return Err(wrong(format!("its version is {}, and 0.2 is read", document.version)));
    }
    if document.currency.len() != 3 || !document.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(wrong("`currency` is no currency's code"));
    }
    if document.projects.is_empty() {
        return Err(wrong("it has no projects"));
    }
    let mut all: BTreeMap<String, Gathered> = BTreeMap::new();
    let mut open = Open::default();
    let many = document.projects.len() > 1;
    for (i, project) in document.projects.into_iter().enumerate() {
        if let Some(said) = error_of(&project) {
            return Err(wrong(format!("it tells of an error: {said}")));
        }
        // Without what is there now an increase would be none.
        if project.breakdown.is_none() || project.past_breakdown.is_none() {
            return Err(wrong("a project has no breakdown of what is, or of what was"));
        }
        let prefix = if many { format!("project {}: ", i + 1) } else { String::new() };
        for (breakdown, after) in [(project.past_breakdown, false), (project.breakdown, true)] {
            for resource in breakdown.map(|b| b.resources).unwrap_or_default() {
                let address = format!("{prefix}{}", resource.name);
                let gathered = all.entry(address.clone()).or_default();
                if let Some(kind) = &resource.resource_type {
                    gathered.kind.clone_from(kind);
                }
                let cost = resource.monthly_cost.unwrap_or_default();
                if cost.is_negative() {
                    return Err(wrong(format!("`{address}` has a negative cost")));
                }
                let side = if after { CostSide::After } else { CostSide::Before };
                let kind = resource.resource_type.clone().unwrap_or_else(|| kind_of(&address));
                let of = Of { address: &address, kind: &kind, side };
                let mut lines = Vec::new();
                flatten(&resource, "", &of, &mut lines, &mut open, 0)?;
                if after {
                    gathered.after = gathered.after.plus(cost);
                    gathered.components.extend(lines);
                } else {
                    gathered.before = gathered.before.plus(cost);
                    gathered.components_before.extend(lines);
                }
            }
        }
        if all.len() > limits.resources {
            return Err(BookError::TooMany { limit: limits.resources });
        }
    }
    let resources: Vec<ResourceCost> = all
        .into_iter()
        .map(|(address, g)| ResourceCost {
            kind: if g.kind.is_empty() { kind_of(&address) } else { g.kind },
            address,
            region: None,
            monthly_before: g.before,
            monthly_after: g.after,
            monthly_delta: g.after.minus(g.before),
            components: g.components,
            components_before: g.components_before,
        })
        .collect();
    let sum = |of: fn(&ResourceCost) -> Amount| {
        resources.iter().fold(Amount::ZERO, |sum, r| sum.plus(of(r)))
    };
    let (before, after) = (sum(|r| r.monthly_before), sum(|r| r.monthly_after));
    // A total that says otherwise than its parts would be believed by the limits.
    for (name, said, is) in [
        ("totalMonthlyCost", document.total, after),
        ("pastTotalMonthlyCost", document.past, before),
    ] {
        let apart = said.unwrap_or_default().minus(is);
        let apart = if apart.is_negative() { Amount::ZERO.minus(apart) } else { apart };
        if apart > Amount::whole(1) {
            return Err(wrong(format!(
                "`{name}` is {}, and its resources make {}",
                said.unwrap_or_default(),
                is
            )));
        }
    }
    let Open { usage_based, mut unpriced } = open;
    // What has no price on both sides is told once.
    let told: BTreeSet<(String, String)> = unpriced
        .iter()
        .filter(|gap| gap.side == CostSide::After)
        .map(|gap| (gap.address.clone(), gap.component.clone()))
        .collect();
    unpriced.retain(|gap| {
        gap.side == CostSide::After || !told.contains(&(gap.address.clone(), gap.component.clone()))
    });
    let summary = document.summary.ok_or_else(|| wrong("it has no summary"))?;
    let unsupported: Vec<UnsupportedType> = summary
        .unsupported_resource_counts
        .into_iter()
        .map(|(kind, count)| UnsupportedType { kind, count, addresses: Vec::new() })
        .collect();
    Ok(CostReport {
        tool: "infracost".to_owned(),
        currency: document.currency,
        monthly_before: before,
        monthly_after: after,
        monthly_delta: after.minus(before),
        complete: unsupported.is_empty() && unpriced.is_empty(),
        resources,
        unpriced,
        unsupported,
        free: summary
            .no_price_resource_counts
            .into_iter()
            .map(|(kind, count)| FreeType { kind, count })
            .collect(),
        usage_based,
        assumptions: Vec::new(),
        book: BookAge::default(),
        rates: Vec::new(),
        warnings: Vec::new(),
    })
}

/// The type in an address: the last part but one.
fn kind_of(address: &str) -> String {
    let bare = crate::plan::bare(address);
    let mut parts = bare.rsplit('.');
    parts.next();
    parts.next().unwrap_or_default().to_owned()
}

/// Whose lines are read.
struct Of<'a> {
    address: &'a str,
    kind: &'a str,
    side: CostSide,
}

fn flatten(
    resource: &Resource,
    prefix: &str,
    of: &Of<'_>,
    into: &mut Vec<CostComponent>,
    open: &mut Open,
    depth: u8,
) -> Result<(), BookError> {
    let address = of.address;
    if depth > 8 {
        return Err(wrong(format!("`{address}` has parts of parts without end")));
    }
    for line in resource.cost_components.as_deref().unwrap_or_default() {
        let name = format!("{prefix}{}", line.name);
        if line.price.is_negative() || line.monthly_cost.is_some_and(Amount::is_negative) {
            return Err(wrong(format!("`{address}` has a negative price in `{name}`")));
        }
        match (line.monthly_quantity, line.monthly_cost) {
            // It is 0 there, which it is not.
            _ if line.price_not_found => open.unpriced.push(CostGap {
                address: address.to_owned(),
                kind: of.kind.to_owned(),
                detail: "infracost found no price for it".to_owned(),
                component: name,
                reason: CostGapReason::NoPrice,
                side: of.side,
            }),
            (Some(monthly_quantity), Some(monthly_cost)) => into.push(CostComponent {
                name,
                unit: line.unit.clone(),
                monthly_quantity,
                price: line.price,
                monthly_cost,
                listed_price: None,
                listed_currency: None,
                source: "infracost".to_owned(),
                as_of: None,
                from_usage: line.usage_based,
            }),
            _ if of.side == CostSide::After => open.usage_based.push(UsageBased {
                address: address.to_owned(),
                component: name,
                unit: line.unit.clone(),
                price: line.price,
                usage_key: "infracost-usage.yml".to_owned(),
            }),
            _ => {}
        }
    }
    for part in resource.subresources.as_deref().unwrap_or_default() {
        let prefix = format!("{prefix}{}: ", part.name);
        flatten(part, &prefix, of, into, open, depth + 1)?;
    }
    Ok(())
}
