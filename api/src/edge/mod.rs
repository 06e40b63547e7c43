//! The edge: who is at the other end, what they may send and how much of it, before any door looks
//! at what they ask for.

pub(crate) mod cors;
pub(crate) mod csrf;
pub(crate) mod limit;
pub(crate) mod peer;
pub(crate) mod tls;
