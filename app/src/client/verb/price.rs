//! `slipway prices`.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use slipway_services::price::{ImportPrices, MAX_BYTES};

use super::{Desk, Items};
use crate::cli::{PricesArgs, PricesVerb};
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::http::mint_idempotency_key;
use crate::client::view;

/// `slipway prices`.
pub(super) async fn prices(desk: &Desk<'_>, args: PricesArgs) -> Result<Exit, ClientError> {
    match args.verb.unwrap_or(PricesVerb::List) {
        PricesVerb::List => {
            let files = desk.client.price_files().await?;
            desk.screen.result(&Items { items: &files }, |_| view::price_files(&files))?;
        }
        PricesVerb::Import { file, format, source, as_of } => {
            let content = read(&file)?;
            let given = ImportPrices { format, source, as_of, content };
            let said = desk.client.import_prices(given, &mint_idempotency_key()).await?;
            desk.screen.result(&said, |_| view::imported_prices(&said))?;
        }
        PricesVerb::Remove { id } => {
            desk.client.remove_prices(id).await?;
            desk.screen.tell(&format!("The price file {id} is gone.\n"))?;
        }
    }
    Ok(Exit::Success)
}

fn read(file: &Path) -> Result<Bytes, ClientError> {
    let wrong = |why: String| ClientError::Input(format!("{}: {why}", file.display()));
    let mut content = Vec::new();
    let most = MAX_BYTES as u64;
    std::fs::File::open(file)
        .and_then(|from| from.take(most + 1).read_to_end(&mut content))
        .map_err(|error| wrong(error.to_string()))?;
    if content.len() > MAX_BYTES {
        return Err(wrong(format!("it has more than {} MiB; split it", MAX_BYTES >> 20)));
    }
    Ok(content.into())
}
