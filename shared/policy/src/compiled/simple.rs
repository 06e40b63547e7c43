//! Terms that are worked out while a pack is prepared, and functions that need no detour.

use super::Node;
use crate::values::{Arena, Val};

/// When a function of one argument gives back what it is given.
pub(super) fn nothing_to_do(path: &str) -> Option<fn(Val<'_>) -> bool> {
    match path {
        "lower" => Some(|value| match value {
            Val::Text(text) => !text.bytes().any(|b| b.is_ascii_uppercase() || !b.is_ascii()),
            _ => false,
        }),
        "upper" => Some(|value| match value {
            Val::Text(text) => !text.bytes().any(|b| b.is_ascii_lowercase() || !b.is_ascii()),
            _ => false,
        }),
        "to_number" => Some(|value| matches!(value, Val::Number(_))),
        _ => None,
    }
}

/// Whether a term is defined wherever `resource` is.
pub(super) fn is_defined(term: &Node, resource: &Node) -> bool {
    match term {
        Node::Const(_) => true,
        Node::Attribute(inner) => match (&inner.0, resource) {
            (Node::Local(a), Node::Local(b)) => a == b,
            _ => false,
        },
        _ => false,
    }
}

/// The functions that are asked for most, which need no detour; the arguments of others are given
/// back.
pub(super) fn simple(path: &str, mut arguments: Vec<Node>) -> Result<Node, Vec<Node>> {
    let kind: fn(Val<'_>) -> bool = match path {
        "is_object" => |value| matches!(value, Val::Object(_)),
        "is_array" => |value| matches!(value, Val::List(_)),
        "is_string" => |value| matches!(value, Val::Text(_)),
        "count" | "array.concat" => |_| false,
        _ => return Err(arguments),
    };
    match (path, arguments.pop(), arguments.pop()) {
        ("count", Some(of), None) => Ok(Node::Count(Box::new(of))),
        ("array.concat", Some(b), Some(a)) => Ok(Node::Joined(Box::new((a, b)))),
        (_, Some(of), None) => Ok(Node::Kind(kind, Box::new(of))),
        (_, last, first) => Err(first.into_iter().chain(last).collect()),
    }
}

fn constants<'n>(nodes: impl Iterator<Item = &'n Node>) -> Option<Vec<Val<'static>>> {
    let value = |node: &Node| match node {
        Node::Const(value) => Some(*value),
        _ => None,
    };
    nodes.map(value).collect()
}

pub(super) fn folded_array(items: Vec<Node>, arena: &'static Arena) -> Node {
    match constants(items.iter()) {
        Some(all) => Node::Const(arena.list(&all)),
        None => Node::Array(items),
    }
}

pub(super) fn folded_set(items: Vec<Node>, arena: &'static Arena) -> Node {
    match constants(items.iter()) {
        Some(all) => Node::Const(arena.set(all)),
        None => Node::Set(items),
    }
}

pub(super) fn folded_object(fields: Vec<(Node, Node)>, arena: &'static Arena) -> Node {
    let keys = constants(fields.iter().map(|(key, _)| key));
    let values = constants(fields.iter().map(|(_, value)| value));
    match (keys, values) {
        (Some(keys), Some(values)) => {
            Node::Const(arena.object(keys.into_iter().zip(values).collect()))
        }
        (Some(keys), None) if differ(&keys) => {
            let values = fields.into_iter().map(|(_, value)| value);
            let mut fields: Vec<(Val<'static>, Node)> = keys.into_iter().zip(values).collect();
            fields.sort_by_key(|(key, _)| *key);
            Node::Shaped(fields)
        }
        _ => Node::Object(fields),
    }
}

fn differ(keys: &[Val<'_>]) -> bool {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    sorted.is_sorted_by(|a, b| a < b)
}
