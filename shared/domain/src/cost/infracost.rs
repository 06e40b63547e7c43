//! A report in the shape of infracost's JSON (version 0.2), so that scripts written for it go on
//! working. Money and quantities are decimal texts there too.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::{Amount, CostComponent, CostReport, HOURS_PER_MONTH, ResourceCost, UsageBased};

/// A month's amount, by the hour.
fn hourly(monthly: Amount) -> String {
    monthly.by(Amount::whole(HOURS_PER_MONTH)).unwrap_or_default().to_string()
}

fn component(line: &CostComponent, sign: Amount) -> Value {
    let quantity = line.monthly_quantity.times(sign).unwrap_or_default();
    let cost = line.monthly_cost.times(sign).unwrap_or_default();
    json!({
        "name": line.name,
        "unit": line.unit,
        "hourlyQuantity": hourly(quantity),
        "monthlyQuantity": quantity.to_string(),
        "price": line.price.to_string(),
        "hourlyCost": hourly(cost),
        "monthlyCost": cost.to_string(),
        "priceNotFound": false,
        "usageBased": line.from_usage,
    })
}

fn by_use(line: &UsageBased) -> Value {
    json!({
        "name": line.component,
        "unit": line.unit,
        "hourlyQuantity": null,
        "monthlyQuantity": null,
        "price": line.price.to_string(),
        "hourlyCost": null,
        "monthlyCost": null,
        "priceNotFound": false,
        "usageBased": true,
    })
}

fn resource(address: &str, kind: &str, monthly: Option<Amount>, components: Vec<Value>) -> Value {
    json!({
        "name": address,
        "resourceType": kind,
        "metadata": {},
        "hourlyCost": monthly.map(hourly),
        "monthlyCost": monthly.map(|m| m.to_string()),
        "costComponents": components,
        "subresources": [],
    })
}

fn breakdown(resources: Vec<Value>, total: Amount, by_use: Amount) -> Value {
    json!({
        "resources": resources,
        "totalHourlyCost": hourly(total),
        "totalMonthlyCost": total.to_string(),
        "totalMonthlyUsageCost": by_use.to_string(),
    })
}

/// What of some lines comes from the usage document.
fn use_cost(lines: &[CostComponent]) -> Amount {
    lines
        .iter()
        .filter(|line| line.from_usage)
        .fold(Amount::ZERO, |sum, line| sum.plus(line.monthly_cost))
}

/// The differences of one resource, line by line.
fn difference(r: &ResourceCost) -> Vec<Value> {
    let minus = Amount::ZERO.minus(Amount::whole(1));
    let mut lines = Vec::new();
    for after in &r.components {
        let before = r.components_before.iter().find(|b| b.name == after.name);
        match before {
            None => lines.push(component(after, Amount::whole(1))),
            Some(before) if before == after => {}
            Some(before) => lines.push(component(
                &CostComponent {
                    monthly_quantity: after.monthly_quantity.minus(before.monthly_quantity),
                    monthly_cost: after.monthly_cost.minus(before.monthly_cost),
                    ..after.clone()
                },
                Amount::whole(1),
            )),
        }
    }
    for before in &r.components_before {
        if !r.components.iter().any(|after| after.name == before.name) {
            lines.push(component(before, minus));
        }
    }
    lines
}

impl CostReport {
    /// The report in the shape of infracost's JSON.
    pub fn to_infracost(&self, project: &str, at: DateTime<Utc>) -> Value {
        let mut waiting: BTreeMap<&str, Vec<&UsageBased>> = BTreeMap::new();
        for line in &self.usage_based {
            waiting.entry(&line.address).or_default().push(line);
        }
        let (mut past, mut now, mut diff) = (Vec::new(), Vec::new(), Vec::new());
        let (mut use_before, mut use_after) = (Amount::ZERO, Amount::ZERO);
        for r in &self.resources {
            use_before = use_before.plus(use_cost(&r.components_before));
            use_after = use_after.plus(use_cost(&r.components));
            if !r.components_before.is_empty() {
                let lines = r.components_before.iter().map(|c| component(c, Amount::whole(1)));
                past.push(resource(&r.address, &r.kind, Some(r.monthly_before), lines.collect()));
            }
            let open = waiting.remove(r.address.as_str()).unwrap_or_default();
            if !r.components.is_empty() || !open.is_empty() {
                let lines = r.components.iter().map(|c| component(c, Amount::whole(1)));
                let lines = lines.chain(open.into_iter().map(by_use)).collect();
                let monthly = (!r.components.is_empty()).then_some(r.monthly_after);
                now.push(resource(&r.address, &r.kind, monthly, lines));
            }
            let changes = difference(r);
            if !changes.is_empty() {
                diff.push(resource(&r.address, &r.kind, Some(r.monthly_delta), changes));
            }
        }
        let summary = self.summary();
        json!({
            "version": "0.2",
            "metadata": {"infracostCommand": "diff", "tool": self.tool},
            "currency": self.currency,
            "projects": [{
                "name": project,
                "displayName": project,
                "metadata": {"type": "terraform_plan_json"},
                "pastBreakdown": breakdown(past, self.monthly_before, use_before),
                "breakdown": breakdown(now, self.monthly_after, use_after),
                "diff": breakdown(diff, self.monthly_delta, use_after.minus(use_before)),
                "summary": summary,
            }],
            "totalHourlyCost": hourly(self.monthly_after),
            "totalMonthlyCost": self.monthly_after.to_string(),
            "totalMonthlyUsageCost": use_after.to_string(),
            "pastTotalHourlyCost": hourly(self.monthly_before),
            "pastTotalMonthlyCost": self.monthly_before.to_string(),
            "pastTotalMonthlyUsageCost": use_before.to_string(),
            "diffTotalHourlyCost": hourly(self.monthly_delta),
            "diffTotalMonthlyCost": self.monthly_delta.to_string(),
            "diffTotalMonthlyUsageCost": use_after.minus(use_before).to_string(),
            "timeGenerated": at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "summary": summary,
        })
    }

    fn summary(&self) -> Value {
        let unsupported: Map<_, _> =
            self.unsupported.iter().map(|u| (u.kind.clone(), json!(u.count))).collect();
        let free: Map<_, _> = self.free.iter().map(|f| (f.kind.clone(), json!(f.count))).collect();
        let unsupported_count: u32 = self.unsupported.iter().map(|u| u.count).sum();
        let free_count: u32 = self.free.iter().map(|f| f.count).sum();
        // What is priced in part, not at all for want of a value, or by use alone is of a type that
        // is known, which is what infracost calls supported.
        let known: BTreeSet<&str> = self
            .resources
            .iter()
            .map(|r| r.address.as_str())
            .chain(self.unpriced.iter().map(|g| g.address.as_str()))
            .chain(self.usage_based.iter().map(|u| u.address.as_str()))
            .collect();
        let by_use: BTreeSet<&str> = self
            .resources
            .iter()
            .filter(|r| r.components.iter().any(|c| c.from_usage))
            .map(|r| r.address.as_str())
            .chain(self.usage_based.iter().map(|u| u.address.as_str()))
            .collect();
        let known = u32::try_from(known.len()).unwrap_or(u32::MAX);
        json!({
            "totalDetectedResources": known.saturating_add(unsupported_count).saturating_add(free_count),
            "totalSupportedResources": known,
            "totalUnsupportedResources": unsupported_count,
            "totalUsageBasedResources": by_use.len(),
            "totalNoPriceResources": free_count,
            "unsupportedResourceCounts": unsupported,
            "noPriceResourceCounts": free,
        })
    }
}
