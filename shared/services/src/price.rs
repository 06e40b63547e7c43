//! Prices: importing vendors' price files, and the book that plans are priced by.
//!
//! The book is the shipped rows with those of every imported file laid over them, in the order in
//! which they were imported. Each process puts it together when the files are others than they were.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::{NaiveDate, SubsecRound as _};
use serde::{Deserialize, Serialize};
use slipway_cost::{Book, BookError, import};
use slipway_domain::access::{Principal, Scope};
use slipway_domain::artifact::digest;
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::id::PriceFileId;
use slipway_domain::price::{PriceFile, PriceFormat};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::Ctx;
use crate::change::audit;
use crate::idempotency::Guard;
use crate::source::blocking;

/// Bytes of a price file.
pub const MAX_BYTES: usize = 128 << 20;
/// Files that are kept.
const MAX_FILES: usize = 50;
/// Prices of all files together.
const MAX_ROWS: u64 = 400_000;
/// Bytes of the text that says where a file is from.
const MAX_SOURCE: usize = 1024;

/// The digests of the files that a book was made of, and the book.
type Made = (Vec<String>, Arc<Book>);

/// The price book of this process.
#[derive(Debug, Clone)]
pub(crate) struct Prices {
    /// The digests that it was made of, and the book.
    last: Arc<Mutex<Option<Made>>>,
    /// One is put together at a time, and one file is read at a time.
    turns: Arc<Semaphore>,
}

impl Default for Prices {
    fn default() -> Self {
        Self { last: Arc::default(), turns: Arc::new(Semaphore::new(1)) }
    }
}

impl Prices {
    fn known(&self, digests: &[String]) -> Option<Arc<Book>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(of, _)| of == digests).map(|(_, book)| book.clone())
    }

    fn keep(&self, digests: Vec<String>, book: Arc<Book>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((digests, book));
    }
}

/// The book as it is now. The inner error says why there is none: then nothing can be priced.
pub(crate) async fn book(cx: &Ctx) -> Result<Result<Arc<Book>, String>, Fault> {
    let prices = &cx.gathered.prices;
    let digests = cx.store.read().await?.price_digests().await?;
    if let Some(book) = prices.known(&digests) {
        return Ok(Ok(book));
    }
    let _turn = prices.turns.acquire().await.map_err(Fault::internal)?;
    if let Some(book) = prices.known(&digests) {
        return Ok(Ok(book));
    }
    let mut texts = Vec::new();
    let mut tx = cx.store.read().await?;
    for digest in &digests {
        // One that was removed meanwhile is left out now; the next look has other digests.
        texts.extend(tx.price_rows(digest).await?);
    }
    drop(tx);
    let made = blocking(move || {
        let mut book = Book::shipped()?;
        for text in texts {
            book.overlay(import::kept(&text)?);
        }
        Ok::<_, BookError>(Arc::new(book))
    })
    .await?;
    match made {
        Ok(book) => {
            prices.keep(digests, book.clone());
            Ok(Ok(book))
        }
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// A price file that is to be imported.
#[derive(Debug, Clone)]
pub struct ImportPrices {
    /// Its form.
    pub format: PriceFormat,
    /// Where it is from, e.g. its address.
    pub source: String,
    /// The day of prices that carry none; today when absent.
    pub as_of: Option<NaiveDate>,
    /// The file.
    pub content: Bytes,
}

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportedPrices {
    /// The file as it is kept.
    pub file: PriceFile,
    /// How many of its prices count from now on.
    pub taken: u32,
    /// How many are older than what the book has, and do not count.
    pub older: u32,
}

/// What an importer gets.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What it came to.
    pub answer: ImportedPrices,
    /// Whether it is new; it is not when a file with these very prices is there.
    pub created: bool,
    /// Whether this is the stored answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Imports a price file: the whole of it is checked before anything is kept. Plans that are made from
/// now on are priced by it.
pub async fn import(
    cx: &Ctx,
    who: &Principal,
    given: ImportPrices,
    idempotency_key: Option<&str>,
) -> Result<Imported, Fault> {
    who.need(Scope::GatesWrite)?;
    let now = cx.now().trunc_subsecs(6);
    let today = now.date_naive();
    let as_of = given.as_of.unwrap_or(today);
    let source = given.source.trim().to_owned();
    let mut problems = Vec::new();
    if source.is_empty() || source.len() > MAX_SOURCE || source.chars().any(char::is_control) {
        problems.push(FieldError::at("/source", format!("1 to {MAX_SOURCE} bytes of text")));
    }
    if as_of > today {
        problems.push(FieldError::at("/as_of", format!("{as_of} is after today, {today}")));
    }
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let guard = match idempotency_key {
        None => None,
        key => {
            let asked = (given.format, &source, given.as_of, digest(&given.content));
            Guard::new(who, "price.import", key, &asked)?
        }
    };
    if let Some(guard) = &guard
        && let Some((answer, created)) = guard.answer(cx, &mut cx.store.read().await?).await?
    {
        return Ok(Imported { answer, created, replayed: true });
    }
    let (format, content) = (given.format, given.content);
    let (taken, text) = {
        let _turn = cx.gathered.prices.turns.acquire().await.map_err(Fault::internal)?;
        let read = blocking(move || {
            let bounds = import::Bounds { bytes: MAX_BYTES as u64, ..import::Bounds::default() };
            let taken = import::read(format, content.as_ref(), as_of, bounds)?;
            let text = import::to_csv(&taken.rows)?;
            Ok::<_, BookError>((taken, text))
        });
        read.await?.map_err(refused)?
    };
    let rows = u32::try_from(taken.rows.len()).unwrap_or(u32::MAX);
    let days = || taken.rows.iter().map(|row| row.as_of);
    let file = PriceFile {
        id: PriceFileId::new(&*cx.mint),
        format,
        source,
        as_of,
        digest: digest(text.as_bytes()),
        rows,
        oldest: days().min().unwrap_or(as_of),
        newest: days().max().unwrap_or(as_of),
        skipped: taken.skipped,
        created_at: now,
        created_by: who.actor.clone(),
    };
    let before = match book(cx).await? {
        Ok(book) => book,
        Err(why) => return Err(Fault::internal(why)),
    };
    let mut after = Book::clone(&before);
    let laid = after.overlay(taken.rows);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let answer = ImportedPrices { file, taken: count(laid.taken), older: count(laid.older) };
    keep(cx, who, answer, &text, guard).await
}

async fn keep(
    cx: &Ctx,
    who: &Principal,
    answer: ImportedPrices,
    text: &str,
    guard: Option<Guard>,
) -> Result<Imported, Fault> {
    let mut tx = cx.store.begin().await?;
    let files = tx.price_files().await?;
    let same = files.iter().find(|file| file.digest == answer.file.digest).cloned();
    let (answer, created) = if let Some(file) = same {
        (ImportedPrices { file, ..answer }, false)
    } else {
        let rows: u64 = files.iter().map(|file| u64::from(file.rows)).sum();
        if files.len() >= MAX_FILES || rows + u64::from(answer.file.rows) > MAX_ROWS {
            return Err(Fault::new(
                Code::Conflict,
                format!(
                    "There are {} price files with {rows} prices; {MAX_FILES} files and {MAX_ROWS} \
                     prices are the most. Remove old ones first.",
                    files.len()
                ),
            ));
        }
        if !tx.insert_price_file(&answer.file, text).await? {
            return Err(Fault::new(Code::Conflict, "Somebody imports the same prices now."));
        }
        let detail = serde_json::json!({
            "format": answer.file.format, "source": answer.file.source, "rows": answer.file.rows,
            "digest": answer.file.digest,
        });
        audit(cx, &mut tx, who, "price.import", answer.file.id.to_string(), detail).await?;
        (answer, true)
    };
    let stored = (answer, created);
    if let Some(guard) = &guard
        && !guard.keep(cx, &mut tx, &stored).await?
    {
        // Somebody sent the same request at the same time and was first.
        tx.rollback().await?;
        let told = guard.answer(cx, &mut cx.store.read().await?).await?;
        let (answer, created) = told.ok_or_else(|| {
            Fault::new(
                Code::IdempotencyInFlight,
                "A request with this idempotency key is being answered. Try again in a moment.",
            )
        })?;
        return Ok(Imported { answer, created, replayed: true });
    }
    tx.commit().await?;
    let (answer, created) = stored;
    if created {
        let (rows, digest) = (answer.file.rows, &answer.file.digest);
        tracing::info!(rows, digest, by = who.actor.id, "price file imported");
    }
    Ok(Imported { answer, created, replayed: false })
}

/// What is wrong with a file, with line and column where it has such.
fn refused(error: BookError) -> Fault {
    let mut wrong = FieldError::at("", error.to_string());
    if let BookError::Nonsense { field, at, .. } = &error {
        if let Some(field) = field {
            wrong.pointer = format!("/{field}");
        }
        if let Some((line, column)) = at {
            wrong.line = u32::try_from(*line).ok();
            wrong.column = Some(*column);
        }
    }
    if let BookError::TooLarge { .. } = error {
        return Fault::new(Code::TooLarge, error.to_string());
    }
    Fault::fields(Code::InvalidInput, vec![wrong])
}

/// Every price file, in the order in which they were imported.
pub async fn list(cx: &Ctx, who: &Principal) -> Result<Vec<PriceFile>, Fault> {
    who.need_somewhere(Scope::GatesRead)?;
    Ok(cx.store.read().await?.price_files().await?)
}

/// One price file.
pub async fn get(cx: &Ctx, who: &Principal, id: PriceFileId) -> Result<PriceFile, Fault> {
    who.need_somewhere(Scope::GatesRead)?;
    let found = cx.store.read().await?.price_file(id).await?;
    found.ok_or_else(|| Fault::not_found("price file", id))
}

/// Removes a price file: what was under it counts again. `from` is the digest that was read.
pub async fn remove(
    cx: &Ctx,
    who: &Principal,
    id: PriceFileId,
    from: Option<&str>,
) -> Result<(), Fault> {
    who.need(Scope::GatesWrite)?;
    let mut tx = cx.store.begin().await?;
    let Some(file) = tx.price_file(id).await? else {
        return Err(Fault::not_found("price file", id));
    };
    if from.is_some_and(|from| from != file.digest) {
        return Err(Fault::new(
            Code::PreconditionFailed,
            format!(
                "The price file {id} has the digest {}, and another one was named.",
                file.digest
            ),
        ));
    }
    tx.delete_price_file(id).await?;
    let detail = serde_json::json!({"source": file.source, "digest": file.digest});
    audit(cx, &mut tx, who, "price.remove", id.to_string(), detail).await?;
    tx.commit().await?;
    tracing::info!(price_file_id = %id, by = who.actor.id, "price file removed");
    Ok(())
}
