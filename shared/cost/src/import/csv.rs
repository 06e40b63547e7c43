//! Our own form of price files, which is that of the shipped book too.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDate;
use slipway_domain::cost::Amount;

use super::Basket;
use crate::book::{Book, Origin, Provider, Row};
use crate::error::BookError;

const FORM: &str = "a price file in CSV";

fn wrong(why: impl Into<String>) -> BookError {
    BookError::Form { form: FORM, why: why.into() }
}

/// One line of a file, by the names of its head.
struct Columns {
    provider: Option<usize>,
    key: usize,
    region: usize,
    unit: usize,
    price: usize,
    currency: usize,
    source: usize,
    as_of: usize,
}

impl Columns {
    fn of(head: &::csv::StringRecord) -> Result<Self, BookError> {
        let find = |name: &str| head.iter().position(|column| column.trim() == name);
        let must = |name: &str| {
            find(name).ok_or_else(|| wrong(format!("its first line lacks the column `{name}`")))
        };
        Ok(Self {
            provider: find("provider"),
            key: must("key")?,
            region: must("region")?,
            unit: must("unit")?,
            price: must("price")?,
            currency: must("currency")?,
            source: must("source")?,
            as_of: must("as_of")?,
        })
    }
}

impl Columns {
    /// Which column a part of a row is, from 1.
    fn number(&self, field: &str) -> Option<u32> {
        let index = match field {
            "provider" => self.provider?,
            "key" => self.key,
            "region" => self.region,
            "unit" => self.unit,
            "price" => self.price,
            "currency" => self.currency,
            "source" => self.source,
            "as_of" => self.as_of,
            _ => return None,
        };
        u32::try_from(index + 1).ok()
    }
}

/// Reads lines, one row each.
fn rows(
    text: &[u8],
    provider: Option<Provider>,
    origin: Origin,
    mut take: impl FnMut(&str, Row) -> Result<(), BookError>,
) -> Result<(), BookError> {
    let mut reader =
        ::csv::ReaderBuilder::new().comment(Some(b'#')).trim(::csv::Trim::All).from_reader(text);
    let columns = Columns::of(reader.headers().map_err(|why| wrong(why.to_string()))?)?;
    if provider.is_none() && columns.provider.is_none() {
        return Err(wrong("its first line lacks the column `provider`"));
    }
    let mut last_source: Arc<str> = Arc::from("");
    let mut record = ::csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|why| wrong(why.to_string()))? {
        let line = record.position().map_or(0, ::csv::Position::line);
        let place = format!("line {line}");
        let located = |field: &'static str, why: String| {
            let at = columns.number(field).map(|column| (line, column));
            BookError::Nonsense { place: place.clone(), why, field: Some(field), at }
        };
        let get = |i: usize| record.get(i).unwrap_or_default();
        let whose = match (provider, columns.provider) {
            (Some(provider), _) => provider,
            (None, Some(i)) => Provider::parse(get(i)).ok_or_else(|| {
                let why = "its provider is none of aws, gcp, azure and ncp";
                located("provider", why.to_owned())
            })?,
            (None, None) => return Err(wrong("it names no provider")),
        };
        let price = Amount::parse(get(columns.price))
            .map_err(|why| located("price", format!("its price is no price: {why}")))?;
        let as_of: NaiveDate = get(columns.as_of)
            .parse()
            .map_err(|_| located("as_of", "its as_of is no day, e.g. 2026-01-31".to_owned()))?;
        let source = get(columns.source);
        if *last_source != *source {
            last_source = Arc::from(source);
        }
        let row = Row {
            provider: whose,
            key: get(columns.key).to_owned(),
            region: get(columns.region).to_owned(),
            unit: get(columns.unit).to_owned(),
            price,
            currency: get(columns.currency).to_owned(),
            source: last_source.clone(),
            as_of,
            origin,
        };
        take(&place, row).map_err(|error| match error {
            BookError::Nonsense { why, field: Some(field), .. } => located(field, why),
            other => other,
        })?;
    }
    Ok(())
}

/// A file of the shipped book.
pub(crate) fn shipped(provider: Provider, text: &str) -> Result<Vec<Row>, BookError> {
    let mut all = Vec::new();
    rows(text.as_bytes(), Some(provider), Origin::Shipped, |_, row| {
        all.push(row);
        Ok(())
    })?;
    Ok(all)
}

/// A file that an operator gives.
pub(super) fn read(bytes: &[u8], basket: &mut Basket) -> Result<(), BookError> {
    // Keys are known by the shipped book: by their first part, or exactly.
    let book = Book::shipped()?;
    let family = |key: &str| key.split('/').next().unwrap_or_default().to_owned();
    let mut families = HashSet::new();
    let mut units = HashMap::new();
    for row in book.rows() {
        families.insert((row.provider, family(&row.key)));
        units.insert((row.provider, row.key.as_str()), row.unit.as_str());
    }
    rows(bytes, None, Origin::Imported, |place, row| {
        if !families.contains(&(row.provider, family(&row.key))) {
            basket.skip(format!(
                "no type here is priced by keys of {} that begin with `{}`",
                row.provider.as_str(),
                family(&row.key).chars().take(40).collect::<String>()
            ));
            return Ok(());
        }
        if let Some(unit) = units.get(&(row.provider, row.key.as_str()))
            && **unit != row.unit
            && !row.unit.is_empty()
        {
            return Err(BookError::Nonsense {
                place: place.to_owned(),
                why: format!("its unit is not `{unit}`, by which `{}` is priced", row.key),
                field: Some("unit"),
                at: None,
            });
        }
        basket.take(place, row)
    })
}

/// Writes rows with every column.
pub(super) fn write(rows: &[Row]) -> Result<String, BookError> {
    let failed = |why: &dyn std::fmt::Display| wrong(why.to_string());
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let head = ["provider", "key", "region", "unit", "price", "currency", "source", "as_of"];
    writer.write_record(head).map_err(|e| failed(&e))?;
    for row in rows {
        let (price, as_of) = (row.price.to_string(), row.as_of.to_string());
        writer
            .write_record([
                row.provider.as_str(),
                &row.key,
                &row.region,
                &row.unit,
                &price,
                &row.currency,
                &row.source,
                &as_of,
            ])
            .map_err(|e| failed(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    String::from_utf8(bytes).map_err(|e| failed(&e))
}

/// Reads what [`write`] wrote.
pub(super) fn kept(text: &str) -> Result<Vec<Row>, BookError> {
    let mut all = Vec::new();
    rows(text.as_bytes(), None, Origin::Imported, |_, row| {
        all.push(row);
        Ok(())
    })?;
    Ok(all)
}
