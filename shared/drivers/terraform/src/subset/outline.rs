//! What recovery asks of a plan: where it changes something, what it does there, and what belongs
//! to it that no plan shows.

use slipway_domain::plan::Action;

use super::document::{Act, Document, Key};
use super::json::Json;
use crate::recovery::Address;

/// What stands at an address until it is replaced.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub(crate) id: Option<String>,
}

impl Document {
    /// Addresses where an apply changes the world, and so says so in its journal.
    pub(crate) fn changing(&self) -> impl Iterator<Item = &str> {
        let changing = self
            .effective()
            .filter(|(_, change)| change.act.weight() > 0 && change.act != Act::Forget);
        changing.map(|(key, _)| key.address.as_str())
    }

    /// What is replaced at an address where something is made anew.
    pub(crate) fn predecessor(&self, address: &str) -> Option<Predecessor> {
        let change = self.changes.get(&Key::of(address)).filter(|change| change.act.makes())?;
        if *change.before() == Json::Null {
            return None;
        }
        let id = change.before().get("id").and_then(Json::str).map(str::to_owned);
        Some(Predecessor { id })
    }

    /// How an apply changes the world at an address; at a deposed object, if nothing else.
    pub(crate) fn action(&self, address: &str) -> Option<Action> {
        self.at(address).find_map(|(_, change)| match change.act {
            Act::Create | Act::CreateForget | Act::ForgetCreate => Some(Action::Create),
            Act::Update => Some(Action::Update),
            Act::DeleteCreate => Some(Action::DeleteThenCreate),
            Act::CreateDelete => Some(Action::CreateThenDelete),
            Act::Delete => Some(Action::Delete),
            Act::Nothing | Act::Read | Act::Forget => None,
        })
    }

    /// What the plan takes into the state: address and id.
    pub(crate) fn imports(&self) -> impl Iterator<Item = (&str, &str)> {
        self.changes.iter().filter_map(|(key, change)| {
            Some((key.address.as_str(), change.importing()?.get("id")?.str()?))
        })
    }

    /// The full name of the provider of what changes at an address.
    pub(crate) fn provider(&self, address: &str) -> Option<&str> {
        self.at(address).find_map(|(_, change)| change.field("provider_name").str())
    }

    /// Whether the configuration has provisioners for a resource; `None` when it has no such
    /// resource.
    pub(crate) fn provisioners(&self, address: &Address) -> Option<bool> {
        let mut module = self.top("configuration").get("root_module")?;
        for (name, _) in &address.modules {
            module = module.get("module_calls")?.get(name)?.get("module")?;
        }
        let Json::Array(resources) = module.get("resources")? else { return None };
        let is = |resource: &Json, name: &str, value: &str| {
            resource.get(name).and_then(Json::str) == Some(value)
        };
        let found = resources.iter().find(|resource| {
            is(resource, "mode", "managed")
                && is(resource, "type", &address.kind)
                && is(resource, "name", &address.name)
        })?;
        Some(found.get("provisioners").is_some_and(|list| !list.is_nothing()))
    }
}
