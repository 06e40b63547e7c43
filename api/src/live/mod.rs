//! What is followed while it happens.

pub(crate) mod sse;
