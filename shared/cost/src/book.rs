//! The price book: rows by provider, key and region.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use slipway_domain::cost::Amount;

use crate::error::BookError;
use crate::import::csv as form;
use crate::size::Size;

/// Whose price it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Google Cloud.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// NAVER Cloud Platform.
    Ncp,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Aws, Self::Gcp, Self::Azure, Self::Ncp];

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
            Self::Ncp => "ncp",
        }
    }

    /// From its text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }

    /// The currency in which it lists its prices.
    pub const fn currency(self) -> &'static str {
        match self {
            Self::Ncp => "KRW",
            Self::Aws | Self::Gcp | Self::Azure => "USD",
        }
    }
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It came with the product.
    Shipped,
    /// An operator imported it.
    Imported,
}

/// One price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Whose price it is.
    pub provider: Provider,
    /// What it is the price of, e.g. `ec2/linux/m5.large`.
    pub key: String,
    /// Where it holds; `global` for what has no region.
    pub region: String,
    /// What it is the price of one of, e.g. `hour`.
    pub unit: String,
    /// The price of one.
    pub price: Amount,
    /// Its currency.
    pub currency: String,
    /// Where it is published.
    pub source: Arc<str>,
    /// The day of the price.
    pub as_of: NaiveDate,
    /// Where the row comes from.
    pub origin: Origin,
}

/// What became of imported rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlaid {
    /// Rows that hold now.
    pub taken: usize,
    /// Rows that are older than what the book has.
    pub older: usize,
}

/// The price book.
#[derive(Debug, Clone, Default)]
pub struct Book {
    rows: HashMap<(Provider, String), BTreeMap<String, Row>>,
}

/// What a look into the book gave.
#[derive(Debug)]
pub(crate) enum Looked<'a> {
    /// A price, and how many of it one of what was asked for is.
    Price(&'a Row, Amount),
    /// There is no such key for any region.
    NoKey,
    /// There is none for this region, but for others.
    NoRegion,
}

impl Book {
    /// The rows that come with the product.
    ///
    /// # Errors
    /// A shipped file is not right; a test sees to that it is.
    pub fn shipped() -> Result<Self, BookError> {
        let mut book = Self::default();
        for (provider, text) in [
            (Provider::Aws, include_str!("../book/aws.csv")),
            (Provider::Gcp, include_str!("../book/gcp.csv")),
            (Provider::Azure, include_str!("../book/azure.csv")),
            (Provider::Ncp, include_str!("../book/ncp.csv")),
        ] {
            book.overlay(form::shipped(provider, text)?);
        }
        Ok(book)
    }

    /// Lays rows over the book: a newer one wins, and of two of one day the imported one.
    pub fn overlay(&mut self, rows: impl IntoIterator<Item = Row>) -> Overlaid {
        let mut done = Overlaid::default();
        for row in rows {
            let regions = self.rows.entry((row.provider, row.key.clone())).or_default();
            match regions.get(&row.region) {
                Some(old)
                    if old.as_of > row.as_of
                        || (old.as_of == row.as_of
                            && old.origin == Origin::Imported
                            && row.origin == Origin::Shipped) =>
                {
                    done.older += 1;
                }
                _ => {
                    regions.insert(row.region.clone(), row);
                    done.taken += 1;
                }
            }
        }
        done
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().flat_map(BTreeMap::values)
    }

    /// The row of a key in a region, exactly.
    pub fn row(&self, provider: Provider, key: &str, region: &str) -> Option<&Row> {
        self.rows.get(&(provider, key.to_owned()))?.get(region)
    }

    /// Looks for a key, and if there is none for the size of an AWS class, for its family's `large`.
    pub(crate) fn look(&self, provider: Provider, key: &str, region: &str) -> Looked<'_> {
        let exact = self.rows.get(&(provider, key.to_owned()));
        if let Some(row) = exact.and_then(|regions| regions.get(region)) {
            return Looked::Price(row, Amount::whole(1));
        }
        let family = (provider == Provider::Aws).then(|| Size::of_key(key)).flatten();
        if let Some((large, factor)) = family
            && let Some(regions) = self.rows.get(&(provider, large))
        {
            return match regions.get(region) {
                Some(row) => Looked::Price(row, factor),
                None => Looked::NoRegion,
            };
        }
        if exact.is_some() { Looked::NoRegion } else { Looked::NoKey }
    }
}
