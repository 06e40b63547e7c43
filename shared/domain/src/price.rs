//! Price files of vendors that an operator imported.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::id::PriceFileId;

/// The form of a price file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceFormat {
    /// An AWS offer file (`index.json` of a service, or of one region of it).
    AwsOffer,
    /// What Azure's Retail Prices API answers (`Items`).
    AzureRetail,
    /// What Google's Cloud Billing Catalog API answers (`skus`).
    GcpSkus,
    /// Our own form: CSV with `provider,key,region,unit,price,currency,source,as_of`.
    Csv,
}

impl PriceFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AwsOffer, Self::AzureRetail, Self::GcpSkus, Self::Csv];

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsOffer => "aws_offer",
            Self::AzureRetail => "azure_retail",
            Self::GcpSkus => "gcp_skus",
            Self::Csv => "csv",
        }
    }

    /// From its text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == text)
    }
}

/// A price file that was imported. Its rows go before those that come with the product, where they
/// are of the same day or later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceFile {
    /// Its id.
    pub id: PriceFileId,
    /// The form in which it was given.
    pub format: PriceFormat,
    /// Where it is from, as whoever imported it says.
    pub source: String,
    /// The day of its prices that carry none.
    pub as_of: NaiveDate,
    /// Of its rows: the same prices have the same one. Also its entity tag.
    pub digest: String,
    /// How many prices were taken from it.
    pub rows: u32,
    /// The day of its oldest price.
    pub oldest: NaiveDate,
    /// The day of its newest price.
    pub newest: NaiveDate,
    /// What was not taken: reason → how many.
    pub skipped: BTreeMap<String, u64>,
    /// Since when it counts.
    pub created_at: DateTime<Utc>,
    /// Who imported it.
    pub created_by: Actor,
}
