//! Price files that were imported.

use chrono::{DateTime, NaiveDate, Utc};
use slipway_domain::id::PriceFileId;
use slipway_domain::price::{PriceFile, PriceFormat};

use crate::db::{Tx, sql};
use crate::deployment::to_json;
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    id: PriceFileId,
    format: String,
    source: String,
    as_of: String,
    digest: String,
    taken: i32,
    oldest: String,
    newest: String,
    skipped: String,
    created_by: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for PriceFile {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let corrupt = |e: serde_json::Error| Error::corrupt("price_files", e);
        let day =
            |text: &str| text.parse::<NaiveDate>().map_err(|e| Error::corrupt("price_files", e));
        Ok(Self {
            id: row.id,
            format: PriceFormat::parse(&row.format)
                .ok_or_else(|| Error::corrupt("price_files", format!("format {:?}", row.format)))?,
            as_of: day(&row.as_of)?,
            oldest: day(&row.oldest)?,
            newest: day(&row.newest)?,
            skipped: serde_json::from_str(&row.skipped).map_err(corrupt)?,
            created_by: serde_json::from_str(&row.created_by).map_err(corrupt)?,
            source: row.source,
            digest: row.digest,
            rows: u32::try_from(row.taken).unwrap_or_default(),
            created_at: row.created_at,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, format, source, as_of, digest, taken, oldest, newest, skipped, created_by, ",
            "created_at from price_files ",
            $rest
        )
    };
}

impl Tx {
    /// Adds a price file with its rows. `false` when there is one with these very rows.
    pub async fn insert_price_file(&mut self, file: &PriceFile, content: &str) -> Result<bool> {
        let added = sql!(execute self,
            "insert into price_files (id, format, source, as_of, digest, taken, oldest, newest,
                 skipped, content, created_by, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             on conflict (digest) do nothing",
            file.id, file.format.as_str(), file.source.as_str(), file.as_of.to_string(),
            file.digest.as_str(), i32::try_from(file.rows).unwrap_or(i32::MAX),
            file.oldest.to_string(), file.newest.to_string(), to_json(&file.skipped)?, content,
            to_json(&file.created_by)?, file.created_at)?;
        Ok(added == 1)
    }

    /// All price files, in the order in which they were imported.
    pub async fn price_files(&mut self) -> Result<Vec<PriceFile>> {
        sql!(all Row, self, select!("order by id"))?.into_iter().map(PriceFile::try_from).collect()
    }

    /// The digests of all price files, in that order.
    pub async fn price_digests(&mut self) -> Result<Vec<String>> {
        type Digest = (String,);
        let rows = sql!(all Digest, self, "select digest from price_files order by id")?;
        Ok(rows.into_iter().map(|(digest,)| digest).collect())
    }

    /// One of them.
    pub async fn price_file(&mut self, id: PriceFileId) -> Result<Option<PriceFile>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(PriceFile::try_from).transpose()
    }

    /// The rows of a file.
    pub async fn price_rows(&mut self, digest: &str) -> Result<Option<String>> {
        sql!(scalar_maybe String, self,
            "select content from price_files where digest = $1", digest)
    }

    /// Removes a file. `false` when there is none.
    pub async fn delete_price_file(&mut self, id: PriceFileId) -> Result<bool> {
        Ok(sql!(execute self, "delete from price_files where id = $1", id)? == 1)
    }
}
