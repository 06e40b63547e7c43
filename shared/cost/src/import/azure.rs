//! What Azure's Retail Prices API answers.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use slipway_domain::cost::Amount;

use super::Basket;
use crate::book::{Origin, Provider, Row};
use crate::error::BookError;

const FORM: &str = "an answer of Azure's Retail Prices API";

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Items")]
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    sku_id: String,
    retail_price: Amount,
    currency_code: String,
    #[serde(default)]
    arm_region_name: String,
    #[serde(default)]
    arm_sku_name: Option<String>,
    service_name: String,
    #[serde(default)]
    product_name: String,
    #[serde(default)]
    sku_name: String,
    #[serde(default)]
    meter_name: String,
    unit_of_measure: Option<String>,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    effective_start_date: Option<DateTime<Utc>>,
    #[serde(default)]
    tier_minimum_units: Option<Amount>,
}

/// Key, unit and the vendor's unit of an item, or why it is of no use.
fn want(item: &Item) -> Result<(String, &'static str, &'static str), String> {
    if !matches!(item.kind.as_str(), "Consumption" | "") {
        return Err("reserved, spot and development prices".to_owned());
    }
    if item.tier_minimum_units.is_some_and(|from| !from.is_zero()) {
        return Err("prices in tiers".to_owned());
    }
    match item.service_name.as_str() {
        "Virtual Machines" => {
            let odd = ["Spot", "Low Priority"];
            if odd.iter().any(|o| item.sku_name.contains(o) || item.meter_name.contains(o)) {
                return Err("reserved, spot and development prices".to_owned());
            }
            let class = item.arm_sku_name.as_deref().unwrap_or_default();
            if !class.starts_with("Standard_") || item.product_name.contains("CloudServices") {
                return Err("machines of other kinds".to_owned());
            }
            let os = if item.product_name.ends_with("Windows") { "windows" } else { "linux" };
            Ok((format!("vm/{os}/{class}"), "hour", "1 Hour"))
        }
        "Storage" => {
            let disks = [
                "Premium SSD Managed Disks",
                "Standard SSD Managed Disks",
                "Standard HDD Managed Disks",
            ];
            if !disks.contains(&item.product_name.as_str()) {
                return Err("storage of other kinds".to_owned());
            }
            let mut parts = item.sku_name.split_whitespace();
            let (Some(tier), Some(redundancy), None) = (parts.next(), parts.next(), parts.next())
            else {
                return Err("storage of other kinds".to_owned());
            };
            // Mounts, snapshots and operations are other meters of the same SKU.
            let disk = [
                format!("{tier} Disk"),
                format!("{tier} Disks"),
                format!("{tier} {redundancy} Disk"),
                format!("{tier} {redundancy} Disks"),
            ];
            if !disk.contains(&item.meter_name) {
                return Err("other meters of disks".to_owned());
            }
            Ok((format!("disk/{tier}/{redundancy}"), "disk-month", "1/Month"))
        }
        "Azure Kubernetes Service" if item.meter_name == "Standard Uptime SLA" => {
            Ok(("aks/standard".to_owned(), "hour", "1 Hour"))
        }
        other => Err(format!(
            "service `{}`: no type here is priced by it",
            other.chars().take(60).collect::<String>()
        )),
    }
}

pub(super) fn read(bytes: &[u8], basket: &mut Basket) -> Result<(), BookError> {
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|why| BookError::Form { form: FORM, why: why.to_string() })?;
    let source: Arc<str> = Arc::from("https://prices.azure.com/api/retail/prices");
    for (i, item) in document.items.into_iter().enumerate() {
        let (key, unit, vendor_unit) = match want(&item) {
            Ok(wanted) => wanted,
            Err(reason) => {
                basket.skip(reason);
                continue;
            }
        };
        let place = format!("item {} ({key}, {})", i + 1, item.sku_id);
        match item.unit_of_measure.as_deref() {
            Some(given) if given == vendor_unit => {}
            Some("") | None => {
                return Err(super::nonsense(&place, "its unit is missing".to_owned()));
            }
            Some(given) => {
                basket.skip(super::other_unit(given, vendor_unit));
                continue;
            }
        }
        if item.arm_region_name.is_empty() || item.arm_region_name == "Global" {
            basket.skip("prices without a region");
            continue;
        }
        let row = Row {
            provider: Provider::Azure,
            key,
            region: item.arm_region_name,
            unit: unit.to_owned(),
            price: item.retail_price,
            currency: item.currency_code,
            source: source.clone(),
            as_of: item.effective_start_date.map_or(basket.today, |at| at.date_naive()),
            origin: Origin::Imported,
        };
        basket.take(&place, row)?;
    }
    Ok(())
}
