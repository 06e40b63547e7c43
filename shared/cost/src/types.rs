//! The types that are priced, in one table: what the docs list is what is looked up.

use std::collections::HashMap;

use crate::book::Provider;
use crate::desk::Desk;
use crate::value::Why;
use crate::{aws, azure, free, gcp, ncp};

/// A type that is priced.
#[derive(Debug, Clone, Copy)]
pub struct PricedType {
    /// The type, e.g. `aws_instance`.
    pub name: &'static str,
    /// Whose it is.
    pub provider: Provider,
    /// What of it is priced, in words.
    pub what: &'static str,
    pub(crate) price: fn(&mut Desk<'_>) -> Result<(), Why>,
}

/// All types that are priced, by provider and name.
pub fn priced_types() -> impl Iterator<Item = PricedType> {
    [
        (Provider::Aws, aws::TYPES),
        (Provider::Gcp, gcp::TYPES),
        (Provider::Azure, azure::TYPES),
        (Provider::Ncp, ncp::TYPES),
    ]
    .into_iter()
    .flat_map(|(provider, types)| {
        types.iter().map(move |(name, what, price)| PricedType {
            name,
            provider,
            what,
            price: *price,
        })
    })
}

/// All types that are known to cost nothing by themselves.
pub fn free_types() -> &'static [&'static str] {
    free::TYPES
}

/// One line of a provider's table.
pub(crate) type Entry = (&'static str, &'static str, fn(&mut Desk<'_>) -> Result<(), Why>);

/// The table, to look types up in.
pub(crate) fn by_name() -> HashMap<&'static str, PricedType> {
    priced_types().map(|t| (t.name, t)).collect()
}
