//! Price files of vendors, and our own form.
//!
//! A file is read whole and within bounds. Whatever makes no sense in what would be taken (a price
//! that is negative, huge or no number, a missing unit, another currency) refuses the whole file:
//! nothing of it is taken. What is not of use here is skipped and counted, with the reason: also what
//! is priced by another unit, or twice.

mod aws;
mod azure;
pub(crate) mod csv;
mod gcp;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use chrono::NaiveDate;
use slipway_domain::cost::Amount;

use crate::book::{Provider, Row};
use crate::error::BookError;

pub use slipway_domain::price::PriceFormat as Format;

/// Rows in our own form, to keep them: [`kept`] reads them again.
///
/// # Errors
/// They cannot be written.
pub fn to_csv(rows: &[Row]) -> Result<String, BookError> {
    csv::write(rows)
}

/// Rows that [`to_csv`] wrote. They were checked when they were taken.
///
/// # Errors
/// It is no such text.
pub fn kept(text: &str) -> Result<Vec<Row>, BookError> {
    csv::kept(text)
}

/// How much of a price file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes.
    pub bytes: u64,
    /// Prices that are taken.
    pub rows: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 256 << 20, rows: 200_000 }
    }
}

/// What was taken from a price file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// The rows, by provider, key and region; lay them over the book with
    /// [`Book::overlay`](crate::Book::overlay).
    pub rows: Vec<Row>,
    /// What was not taken: reason → how many.
    pub skipped: BTreeMap<String, u64>,
}

/// Reads a price file.
///
/// `today` is the day of prices that carry none, and no price may be of a later one.
///
/// # Errors
/// The file is too large, of another form, broken, or has nonsense in it.
pub fn read(
    format: Format,
    from: impl Read,
    today: NaiveDate,
    bounds: Bounds,
) -> Result<Taken, BookError> {
    let mut bytes = Vec::new();
    from.take(bounds.bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|why| BookError::Unreadable(why.to_string()))?;
    if bytes.len() as u64 > bounds.bytes {
        return Err(BookError::TooLarge { limit: bounds.bytes });
    }
    let mut basket = Basket {
        rows: BTreeMap::new(),
        twice: BTreeSet::new(),
        skipped: BTreeMap::new(),
        today,
        bounds,
    };
    match format {
        Format::AwsOffer => aws::read(&bytes, &mut basket)?,
        Format::AzureRetail => azure::read(&bytes, &mut basket)?,
        Format::GcpSkus => gcp::read(&bytes, &mut basket)?,
        Format::Csv => csv::read(&bytes, &mut basket)?,
    }
    basket.finish()
}

/// Most different reasons that are counted one by one.
const REASONS: usize = 200;

/// Why neither of two prices is taken.
const TWICE: &str = "two different prices for one thing and day: neither was taken";

/// Gathers rows, and checks each.
struct Basket {
    rows: BTreeMap<(Provider, String, String), Row>,
    /// Things with two prices of one day.
    twice: BTreeSet<(Provider, String, String)>,
    skipped: BTreeMap<String, u64>,
    today: NaiveDate,
    bounds: Bounds,
}

/// Why a price by another unit is not taken.
fn other_unit(given: &str, needed: &str) -> String {
    let given: String = given.chars().filter(|c| !c.is_control()).take(32).collect();
    format!("prices by `{given}` where `{needed}` is needed")
}

/// Something that makes no sense, at a place that has no line.
fn nonsense(place: &str, why: String) -> BookError {
    BookError::Nonsense { place: place.to_owned(), why, field: None, at: None }
}

/// Prices of one thing above which a file is not believed.
fn most(currency: &str) -> Amount {
    // The dearest things on the price lists are a few hundred dollars an hour, or some ten thousand
    // a month; the won has three digits more.
    if matches!(currency, "KRW" | "JPY") {
        Amount::whole(1_000_000_000)
    } else {
        Amount::whole(1_000_000)
    }
}

impl Basket {
    fn skip(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.skipped.len() >= REASONS && !self.skipped.contains_key(&reason) {
            *self.skipped.entry("other reasons".to_owned()).or_default() += 1;
        } else {
            *self.skipped.entry(reason).or_default() += 1;
        }
    }

    /// Takes a row, or refuses the file.
    fn take(&mut self, place: &str, row: Row) -> Result<(), BookError> {
        let nonsense = |field: &'static str, why: String| {
            let mut place = place.to_owned();
            if place.len() > 200 {
                place.truncate(place.floor_char_boundary(200));
            }
            Err(BookError::Nonsense { place, why, field: Some(field), at: None })
        };
        let short = |text: &str| {
            !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control)
        };
        if !short(&row.key) || !short(&row.region) {
            return nonsense(
                if short(&row.key) { "region" } else { "key" },
                "its key or region is empty, longer than 256 bytes, or has control characters"
                    .to_owned(),
            );
        }
        if !short(&row.unit) {
            return nonsense("unit", "its unit is missing".to_owned());
        }
        if row.source.len() > 1024 || row.source.is_empty() {
            return nonsense(
                "source",
                "its source is missing or longer than 1024 bytes".to_owned(),
            );
        }
        if row.currency != row.provider.currency() {
            return nonsense(
                "currency",
                format!(
                    "its currency is `{}`, and prices of {} are kept in {}",
                    row.currency.chars().take(16).collect::<String>(),
                    row.provider.as_str(),
                    row.provider.currency()
                ),
            );
        }
        if row.price.is_negative() {
            return nonsense("price", format!("its price {} is negative", row.price));
        }
        if row.price > most(&row.currency) {
            return nonsense(
                "price",
                format!("its price {} {} is too large to be one", row.price, row.currency),
            );
        }
        if row.as_of > self.today {
            return nonsense("as_of", format!("its day {} is after today", row.as_of));
        }
        if row.price.is_zero() {
            self.skip("price 0: a price list's way to say that it is paid elsewhere");
            return Ok(());
        }
        let id = (row.provider, row.key.clone(), row.region.clone());
        match self.rows.get(&id) {
            _ if self.twice.contains(&id) => self.skip(TWICE),
            // Which of them is meant cannot be told, so neither is taken.
            Some(old) if old.price != row.price && old.as_of == row.as_of => {
                self.rows.remove(&id);
                self.twice.insert(id);
                self.skip(TWICE);
                self.skip(TWICE);
            }
            Some(old) if old.as_of > row.as_of => self.skip("a newer price is in the same file"),
            _ => {
                self.rows.insert(id, row);
            }
        }
        if self.rows.len() > self.bounds.rows {
            return Err(BookError::TooMany { limit: self.bounds.rows });
        }
        Ok(())
    }

    fn finish(self) -> Result<Taken, BookError> {
        if self.rows.is_empty() {
            let mut why: Vec<_> = self.skipped.iter().collect();
            why.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
            let why: Vec<_> = why.into_iter().take(5).map(|(r, n)| format!("{n} × {r}")).collect();
            let why = if why.is_empty() { "it is empty".to_owned() } else { why.join("; ") };
            return Err(BookError::Empty { why });
        }
        Ok(Taken { rows: self.rows.into_values().collect(), skipped: self.skipped })
    }
}

#[cfg(test)]
mod tests;
