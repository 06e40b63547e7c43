//! What Google's Cloud Billing Catalog API answers.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use slipway_domain::cost::Amount;

use super::Basket;
use crate::book::{Origin, Provider, Row};
use crate::error::BookError;

const FORM: &str = "an answer of Google's Cloud Billing Catalog API";

#[derive(Deserialize)]
struct Document {
    skus: Vec<Sku>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sku {
    #[serde(default)]
    sku_id: String,
    description: String,
    category: Category,
    #[serde(default)]
    service_regions: Vec<String>,
    #[serde(default)]
    pricing_info: Vec<Pricing>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Category {
    #[serde(default)]
    usage_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pricing {
    #[serde(default)]
    effective_time: Option<DateTime<Utc>>,
    pricing_expression: Expression,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expression {
    #[serde(default)]
    usage_unit: String,
    tiered_rates: Vec<Tier>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tier {
    unit_price: Price,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Price {
    currency_code: String,
    /// Whole units, a text.
    #[serde(default)]
    units: Amount,
    #[serde(default)]
    nanos: i64,
}

/// Descriptions begin with these; key, unit, and the vendor's unit.
const WANTED: &[(&str, &str, &str, &str)] = &[
    ("E2 Instance Core running in ", "compute/e2/core", "hour", "h"),
    ("E2 Instance Ram running in ", "compute/e2/ram", "GB-hour", "GiBy.h"),
    ("N1 Predefined Instance Core running in ", "compute/n1/core", "hour", "h"),
    ("N1 Predefined Instance Ram running in ", "compute/n1/ram", "GB-hour", "GiBy.h"),
    ("N2 Instance Core running in ", "compute/n2/core", "hour", "h"),
    ("N2 Instance Ram running in ", "compute/n2/ram", "GB-hour", "GiBy.h"),
    ("N2D AMD Instance Core running in ", "compute/n2d/core", "hour", "h"),
    ("N2D AMD Instance Ram running in ", "compute/n2d/ram", "GB-hour", "GiBy.h"),
    ("T2D AMD Instance Core running in ", "compute/t2d/core", "hour", "h"),
    ("T2D AMD Instance Ram running in ", "compute/t2d/ram", "GB-hour", "GiBy.h"),
    ("Compute optimized Core running in ", "compute/c2/core", "hour", "h"),
    ("Compute optimized Ram running in ", "compute/c2/ram", "GB-hour", "GiBy.h"),
    ("Storage PD Capacity", "disk/pd-standard", "GB-month", "GiBy.mo"),
    ("Balanced PD Capacity", "disk/pd-balanced", "GB-month", "GiBy.mo"),
    ("SSD backed PD Capacity", "disk/pd-ssd", "GB-month", "GiBy.mo"),
];

fn want(sku: &Sku) -> Result<(&'static str, &'static str, &'static str), &'static str> {
    if sku.category.usage_type != "OnDemand" {
        return Err("committed, preemptible and spot prices");
    }
    WANTED
        .iter()
        .find(|(begin, ..)| {
            if begin.ends_with(' ') {
                sku.description.starts_with(begin)
            } else {
                // `Storage PD Capacity` and `Storage PD Capacity in Seoul`, not regional ones.
                sku.description == *begin
                    || sku
                        .description
                        .strip_prefix(begin)
                        .is_some_and(|rest| rest.starts_with(" in "))
            }
        })
        .map(|(_, key, unit, vendor)| (*key, *unit, *vendor))
        .ok_or("SKUs by which no type here is priced")
}

pub(super) fn read(bytes: &[u8], basket: &mut Basket) -> Result<(), BookError> {
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|why| BookError::Form { form: FORM, why: why.to_string() })?;
    let source: Arc<str> = Arc::from("https://cloudbilling.googleapis.com/v1/services");
    for sku in document.skus {
        let (key, unit, vendor_unit) = match want(&sku) {
            Ok(wanted) => wanted,
            Err(reason) => {
                basket.skip(reason);
                continue;
            }
        };
        let place = format!("SKU {} ({key})", sku.sku_id);
        let nonsense = |why: String| super::nonsense(&place, why);
        let Some(pricing) = sku.pricing_info.into_iter().next_back() else {
            return Err(nonsense("it has no price".to_owned()));
        };
        let expression = pricing.pricing_expression;
        if expression.usage_unit.is_empty() {
            return Err(nonsense("its unit is missing".to_owned()));
        }
        if expression.usage_unit != vendor_unit {
            basket.skip(super::other_unit(&expression.usage_unit, vendor_unit));
            continue;
        }
        if expression.tiered_rates.len() != 1 {
            basket.skip("prices in tiers");
            continue;
        }
        let Some(tier) = expression.tiered_rates.into_iter().next() else { continue };
        let nanos = tier.unit_price.nanos;
        if !(-999_999_999..=999_999_999).contains(&nanos) {
            return Err(nonsense(format!("its nanos are {nanos}")));
        }
        let fraction = Amount::parse(&format!("{nanos}e-9"))
            .map_err(|why| nonsense(format!("its price is no price: {why}")))?;
        for region in sku.service_regions {
            let row = Row {
                provider: Provider::Gcp,
                key: key.to_owned(),
                region,
                unit: unit.to_owned(),
                price: tier.unit_price.units.plus(fraction),
                currency: tier.unit_price.currency_code.clone(),
                source: source.clone(),
                as_of: pricing.effective_time.map_or(basket.today, |at| at.date_naive()),
                origin: Origin::Imported,
            };
            basket.take(&place, row)?;
        }
    }
    Ok(())
}
