//! How much is read.

/// Limits of one estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the plan's document.
    pub input_bytes: usize,
    /// Resources of a plan.
    pub resources: usize,
    /// Lines of all bills together, with and without a price.
    pub lines: usize,
    /// Addresses that are named of an unsupported type.
    pub addresses: usize,
    /// Days after which a price is called old.
    pub old_days: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            input_bytes: 64 << 20,
            resources: 20_000,
            lines: 200_000,
            addresses: 50,
            old_days: 90,
        }
    }
}

/// Lines of one resource; more blocks than this are not read one by one.
pub(crate) const LINES: usize = 256;

/// Blocks of one kind of a resource.
pub(crate) const BLOCKS: usize = 128;
