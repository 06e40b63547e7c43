//! Cost: what a plan makes a month cost, how that was reckoned, and what is not known about it.
//!
//! The report is made by the price book (`shared/cost`) or read from infracost; [`CostLimits`] and
//! [`judge`] say what follows. Amounts are exact; whoever shows them to people rounds them.

mod amount;
mod infracost;
mod judge;
mod settings;

use std::fmt::Write as _;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use amount::Amount;
pub use judge::{
    COST_ERROR, CostConsequence, CostLimit, CostLimits, CostTolerance, Judgement, cost_error, judge,
};
pub use settings::{CostSettings, ExchangeRate, INFRACOST_TIME_LIMIT_S, InfracostSettings, Usage};

/// Hours of a month, as the vendors' own calculators have it.
pub const HOURS_PER_MONTH: u32 = 730;

/// What a plan makes a month cost.
///
/// What could not be priced is in `unsupported`, `unpriced` and `usage_based`, never a 0 in the
/// totals. A part that is priced on one side only because the other side is not known is left out on
/// both, so that not knowing never looks like saving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct CostReport {
    /// Who reckoned it: `slipway` or `infracost`.
    pub tool: String,
    /// Currency of every amount that names no other (ISO 4217).
    pub currency: String,
    /// A month as it is now.
    pub monthly_before: Amount,
    /// A month after the apply.
    pub monthly_after: Amount,
    /// The difference.
    pub monthly_delta: Amount,
    /// Whether everything that costs by the hour or by its size is in the totals: nothing is
    /// unsupported or unpriced. What depends on use alone does not count.
    pub complete: bool,
    /// What is priced, by address.
    pub resources: Vec<ResourceCost>,
    /// Parts that could not be priced, and why.
    pub unpriced: Vec<CostGap>,
    /// Types that the book does not know.
    pub unsupported: Vec<UnsupportedType>,
    /// Types that are known to cost nothing by themselves.
    pub free: Vec<FreeType>,
    /// Parts whose price is known and whose use is not; not in the totals.
    pub usage_based: Vec<UsageBased>,
    /// What was taken for granted, in words.
    pub assumptions: Vec<CostAssumption>,
    /// How old the prices are that were used.
    pub book: BookAge,
    /// Rates by which amounts were converted.
    pub rates: Vec<ExchangeRate>,
    /// What a reader should know first.
    pub warnings: Vec<String>,
}

/// What one resource costs a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct ResourceCost {
    /// Its address.
    pub address: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A month as it is now; 0 if it is not there yet.
    pub monthly_before: Amount,
    /// A month after the apply; 0 if it goes.
    pub monthly_after: Amount,
    /// The difference.
    pub monthly_delta: Amount,
    /// What makes up `monthly_after`.
    pub components: Vec<CostComponent>,
    /// What makes up `monthly_before`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components_before: Vec<CostComponent>,
}

/// One line of a resource's bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct CostComponent {
    /// What is paid for, e.g. `Instance (Linux, on demand, m5.large)`.
    pub name: String,
    /// What the price is for one of, e.g. `hour` or `GB-month`.
    pub unit: String,
    /// How many of it a month.
    pub monthly_quantity: Amount,
    /// Price of one, in the report's currency.
    pub price: Amount,
    /// Quantity times price.
    pub monthly_cost: Amount,
    /// The price as the vendor lists it, if the report is in another currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_price: Option<Amount>,
    /// The currency of `listed_price`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_currency: Option<String>,
    /// Where the price is published.
    pub source: String,
    /// The day of the price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<NaiveDate>,
    /// Whether the quantity comes from the usage document.
    #[serde(default)]
    pub from_usage: bool,
}

/// Which of two states of the world.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CostSide {
    /// As it is now.
    Before,
    /// After the apply.
    After,
}

/// Why a part has no price.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CostGapReason {
    /// A value that decides about the price is known only after apply.
    KnownAfterApply,
    /// The plan does not say where it is.
    NoRegion,
    /// The book has no price for it, or none in its region.
    NoPrice,
    /// The price is in a currency for which there is no rate.
    NoRate,
    /// A form of the resource that the book does not price, e.g. dedicated hosts.
    NotModelled,
    /// A value that makes no sense, e.g. a negative size.
    InvalidValue,
}

impl CostGapReason {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KnownAfterApply => "known_after_apply",
            Self::NoRegion => "no_region",
            Self::NoPrice => "no_price",
            Self::NoRate => "no_rate",
            Self::NotModelled => "not_modelled",
            Self::InvalidValue => "invalid_value",
        }
    }
}

/// A part of a resource that could not be priced.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema, JsonSchema,
)]
pub struct CostGap {
    /// Address of the resource.
    pub address: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The part; empty when it is the whole resource.
    pub component: String,
    /// Why.
    pub reason: CostGapReason,
    /// Why, in words: what is missing and what to do.
    pub detail: String,
    /// Which side; `after` when it is the same on both.
    pub side: CostSide,
}

/// A type that the book does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct UnsupportedType {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many resources of it.
    pub count: u32,
    /// Their addresses, the first of them.
    pub addresses: Vec<String>,
}

/// A type that is known to cost nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct FreeType {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many resources of it.
    pub count: u32,
}

/// A part whose price is known and whose use is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct UsageBased {
    /// Address of the resource.
    pub address: String,
    /// The part.
    pub component: String,
    /// What the price is for one of.
    pub unit: String,
    /// Price of one, in the report's currency.
    pub price: Amount,
    /// The name in the usage document that gives the quantity.
    pub usage_key: String,
}

/// Something that was taken for granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct CostAssumption {
    /// What, in a sentence.
    pub text: String,
    /// For how many resources.
    pub resources: u32,
    /// The first of them.
    pub example: String,
}

/// How old the prices are that were used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct BookAge {
    /// Day of the oldest price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<NaiveDate>,
    /// Day of the newest price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<NaiveDate>,
    /// How many different prices came with the product.
    pub shipped_prices: u32,
    /// How many were imported by an operator.
    pub imported_prices: u32,
}

impl CostReport {
    /// The report in one line, e.g. `830.00 USD a month (+70.08, from 759.92)`.
    pub fn line(&self) -> String {
        let mut text = format!(
            "{} {} a month ({}, from {})",
            self.monthly_after.shown(),
            self.currency,
            self.monthly_delta.shown_signed(),
            self.monthly_before.shown()
        );
        let missing =
            self.unpriced.len() + self.unsupported.iter().map(|u| u.count as usize).sum::<usize>();
        if missing > 0 {
            let _ = write!(text, "; {missing} without a price");
        }
        text
    }
}
