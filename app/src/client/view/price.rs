//! Price files, for a person.

use std::fmt::Write as _;

use slipway_domain::price::PriceFile;
use slipway_services::price::ImportedPrices;

use super::plain;

/// What was imported.
pub fn price_files(files: &[PriceFile]) -> String {
    if files.is_empty() {
        return "No price file was imported; the prices that come with Slipway count. See: slipway \
                prices import --help\n"
            .to_owned();
    }
    let mut out = String::new();
    for file in files {
        let _ = writeln!(
            out,
            "{} {} {} prices of {} to {}, from {} (by {})",
            file.id,
            file.format.as_str(),
            file.rows,
            file.oldest,
            file.newest,
            plain(&file.source),
            plain(&file.created_by.id)
        );
    }
    out
}

/// What an import came to.
pub fn imported_prices(said: &ImportedPrices) -> String {
    let mut out = format!(
        "{}: {} prices, {} of them count from now on, {} are older than what was there.\n",
        said.file.id, said.file.rows, said.taken, said.older
    );
    for (why, number) in &said.file.skipped {
        let _ = writeln!(out, "not taken: {number} × {}", plain(why));
    }
    out
}
