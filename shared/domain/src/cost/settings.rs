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

/// Shortest and longest time that infracost may be given, in seconds.
pub const INFRACOST_TIME_LIMIT_S: std::ops::RangeInclusive<u32> = 1..=3600;

/// How infracost is asked what a plan costs. Where it answers, its report is judged instead of the
/// price book's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InfracostSettings {
    /// Whether the gate denies when it is missing, takes too long or fails. Otherwise the price book
    /// judges, and that infracost did not is on record.
    pub required: bool,
    /// How long it may take, in seconds.
    #[schema(minimum = 1, maximum = 3600)]
    #[schemars(range(min = 1, max = 3600))]
    pub time_limit_s: u32,
}

impl Default for InfracostSettings {
    fn default() -> Self {
        Self { required: false, time_limit_s: 120 }
    }
}

impl InfracostSettings {
    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<FieldError> {
        if INFRACOST_TIME_LIMIT_S.contains(&self.time_limit_s) {
            return Vec::new();
        }
        let (least, most) = INFRACOST_TIME_LIMIT_S.into_inner();
        let what = format!("infracost may be given {least} to {most} seconds");
        vec![FieldError::at("/time_limit_s", what)]
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

    #[test]
    fn infracost_has_defaults_and_bounds() {
        let read = |text: &str| serde_json::from_str::<InfracostSettings>(text);
        let settings = read("{}").unwrap();
        assert_eq!((settings.required, settings.time_limit_s), (false, 120));
        for (limit, good) in [(0, false), (1, true), (3600, true), (3601, false)] {
            let settings = InfracostSettings { time_limit_s: limit, ..settings.clone() };
            let at: Vec<_> = settings.problems().into_iter().map(|p| p.pointer).collect();
            assert_eq!(at.is_empty(), good, "{limit}");
            assert!(at.iter().all(|at| at == "/time_limit_s"), "{at:?}");
        }
        for bad in [r#"{"requird": true}"#, r#"{"time_limit_s": -1}"#, r#"{"required": null}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
