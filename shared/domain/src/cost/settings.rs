//! What people say about costs beside the limits: use, currency, rates, regions.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Amount;
use crate::fault::FieldError;

/// How much is used a month, of what is paid by use.
///
/// The names are those of the report's `usage_based[].usage_key`. What `resources` says goes before
/// what `types` says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// By address. `module.a.aws_lambda_function.f[*]` stands for all instances.
    #[serde(default)]
    pub resources: BTreeMap<String, BTreeMap<String, Amount>>,
    /// By type.
    #[serde(default)]
    pub types: BTreeMap<String, BTreeMap<String, Amount>>,
}

/// One rate between two currencies: 1 `from` is `rate` `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeRate {
    /// The currency of which there is one, e.g. `USD`.
    #[schema(example = "USD")]
    pub from: String,
    /// The currency in which it is paid, e.g. `KRW`.
    #[schema(example = "KRW")]
    pub to: String,
    /// How many `to` for one `from`.
    #[schema(example = "1380")]
    pub rate: Amount,
    /// The day of the rate.
    pub as_of: NaiveDate,
}

/// What people say about costs beside the limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CostSettings {
    /// The currency of reports.
    pub currency: String,
    /// Rates to convert by; each serves in both directions.
    pub rates: Vec<ExchangeRate>,
    /// How much is used a month.
    pub usage: Usage,
    /// Where resources are whose plan does not say it (e.g. because the region comes from the
    /// environment), by provider: `aws`, `gcp`, `azure`, `ncp`.
    pub default_regions: BTreeMap<String, String>,
}

impl Default for CostSettings {
    fn default() -> Self {
        Self {
            currency: "USD".to_owned(),
            rates: Vec::new(),
            usage: Usage::default(),
            default_regions: BTreeMap::new(),
        }
    }
}

/// Most entries of any list here.
const MOST: usize = 10_000;

/// Whether a text has the form of a currency's code.
pub(super) fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase())
}

impl CostSettings {
    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut say =
            |pointer: String, detail: &str| problems.push(FieldError::at(pointer, detail));
        if !is_currency(&self.currency) {
            say("/currency".to_owned(), "must be a currency's code, e.g. USD");
        }
        if self.rates.len() > 64 {
            say("/rates".to_owned(), "must have at most 64 entries");
        }
        for (i, rate) in self.rates.iter().enumerate().take(64) {
            for (name, code) in [("from", &rate.from), ("to", &rate.to)] {
                if !is_currency(code) {
                    say(format!("/rates/{i}/{name}"), "must be a currency's code, e.g. KRW");
                }
            }
            if rate.from == rate.to {
                say(format!("/rates/{i}/to"), "must be another currency than `from`");
            }
            if rate.rate <= Amount::ZERO || rate.rate > Amount::whole(1_000_000) {
                say(format!("/rates/{i}/rate"), "must be above 0 and at most 1000000");
            }
        }
        for (name, entries) in [("resources", &self.usage.resources), ("types", &self.usage.types)]
        {
            if entries.len() > MOST {
                say(format!("/usage/{name}"), "must have at most 10000 entries");
                continue;
            }
            for (entry, values) in entries {
                let place = entry.replace('~', "~0").replace('/', "~1");
                if values.len() > 100 {
                    say(format!("/usage/{name}/{place}"), "must have at most 100 quantities");
                }
                for (key, value) in values.iter().take(100) {
                    if value.is_negative() {
                        say(format!("/usage/{name}/{place}/{key}"), "must not be negative");
                    }
                }
            }
        }
        for provider in self.default_regions.keys() {
            if !matches!(provider.as_str(), "aws" | "gcp" | "azure" | "ncp") {
                say("/default_regions".to_owned(), "providers are aws, gcp, azure and ncp");
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let settings: CostSettings = serde_json::from_str(
            r#"{"currency": "usd",
                "rates": [{"from": "USD", "to": "USD", "rate": "0", "as_of": "2026-01-01"}],
                "usage": {"resources": {"a/b": {"requests": -1}}},
                "default_regions": {"aws": "eu-west-1", "oci": "x"}}"#,
        )
        .unwrap();
        let places: Vec<_> = settings.problems().into_iter().map(|p| p.pointer).collect();
        assert_eq!(
            places,
            [
                "/currency",
                "/rates/0/to",
                "/rates/0/rate",
                "/usage/resources/a~1b/requests",
                "/default_regions"
            ]
        );
        assert_eq!(CostSettings::default().problems(), []);
        assert!(serde_json::from_str::<CostSettings>(r#"{"curency": "USD"}"#).is_err());
    }
}
