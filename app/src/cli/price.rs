//! `slipway prices`.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use slipway_domain::id::PriceFileId;
use slipway_domain::price::PriceFormat;

/// `slipway prices`.
#[derive(Debug, Clone, Args)]
pub struct PricesArgs {
    /// What to do; lists them when nothing is said
    #[command(subcommand)]
    pub verb: Option<PricesVerb>,
}

/// What can be done with price files.
#[derive(Debug, Clone, Subcommand)]
pub enum PricesVerb {
    /// List the price files that were imported
    List,
    /// Import a vendor's price file; nonsense in it refuses the whole
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its form: `aws_offer`, `azure_retail`, `gcp_skus` or csv
        #[arg(long, value_parser = format)]
        format: PriceFormat,
        /// Where it is from, e.g. the vendor's address
        #[arg(long, value_name = "TEXT")]
        source: String,
        /// The day of prices that carry none; today if not given
        #[arg(long, value_name = "YYYY-MM-DD")]
        as_of: Option<NaiveDate>,
    },
    /// Remove a price file; what it was laid over counts again
    Remove {
        /// The file's id (prc_…)
        #[arg(value_name = "FILE")]
        id: PriceFileId,
    },
}

fn format(text: &str) -> Result<PriceFormat, String> {
    PriceFormat::parse(text).ok_or_else(|| {
        let all: Vec<_> = PriceFormat::ALL.iter().map(|format| format.as_str()).collect();
        format!("one of {}", all.join(", "))
    })
}
