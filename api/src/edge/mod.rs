//! The edge: who is at the other end, what they may send and how much of it, before any door looks
//! at what they ask for.

pub(crate) mod peer;
