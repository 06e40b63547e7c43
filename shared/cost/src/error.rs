//! What can be wrong with a plan's document or with a book.

/// A plan that cannot be priced at all. The gate must not pass then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// The document is larger than the limits allow.
    #[error("the plan's document has {bytes} bytes; at most {limit} are read")]
    TooLarge {
        /// Bytes of the document.
        bytes: usize,
        /// Bytes that are read.
        limit: usize,
    },
    /// There are more resources than the limits allow.
    #[error("the plan has more than {limit} resources; more are not priced")]
    TooMany {
        /// Resources that are priced.
        limit: usize,
    },
    /// There are more lines than the limits allow.
    #[error("the plan's bill has more than {limit} lines; more are not reckoned")]
    TooManyLines {
        /// Lines that are reckoned.
        limit: usize,
    },
    /// The document is not what `terraform show -json PLANFILE` prints.
    #[error("the document is not a Terraform plan in JSON: {0}")]
    NotAPlan(String),
    /// The settings cannot be used.
    #[error("the cost settings cannot be used: {0}")]
    Settings(String),
}

/// A book or price file that cannot be used. Nothing of it is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The file is larger than is read.
    #[error("the price file is larger than {limit} bytes; split it, e.g. by region")]
    TooLarge {
        /// Bytes that are read.
        limit: u64,
    },
    /// There are more prices than are kept.
    #[error("the price file has more than {limit} prices of use; split it, e.g. by region")]
    TooMany {
        /// Prices that are kept.
        limit: usize,
    },
    /// It cannot be read.
    #[error("the price file could not be read: {0}")]
    Unreadable(String),
    /// It is not of the form that was said.
    #[error("the price file is not {form}: {why}")]
    Form {
        /// The form, e.g. `an AWS offer file`.
        form: &'static str,
        /// What is wrong, with its place.
        why: String,
    },
    /// A price that makes no sense.
    #[error("the price file has nonsense at {place}: {why}; nothing was taken from it")]
    Nonsense {
        /// Which row, SKU or line.
        place: String,
        /// What is wrong.
        why: String,
        /// Which of its parts, by the name that our own form has for it.
        field: Option<&'static str>,
        /// Line and column (counted in fields), both from 1, where the file has such.
        at: Option<(u64, u32)>,
    },
    /// Nothing in it is of use.
    #[error("the price file has no price that is of use here: {why}")]
    Empty {
        /// What was in it instead.
        why: String,
    },
}
