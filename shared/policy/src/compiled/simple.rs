//! Terms that are worked out while a pack is prepared, and functions that need no detour.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;

use super::Node;
use crate::shape::Shape;

/// When a function of one argument gives back what it is given.
pub(super) fn nothing_to_do(path: &str) -> Option<fn(&Value) -> bool> {
    match path {
        "lower" => Some(|value| match value {
            Value::String(text) => !text.bytes().any(|b| b.is_ascii_uppercase() || !b.is_ascii()),
            _ => false,
        }),
        "upper" => Some(|value| match value {
            Value::String(text) => !text.bytes().any(|b| b.is_ascii_lowercase() || !b.is_ascii()),
            _ => false,
        }),
        "to_number" => Some(|value| matches!(value, Value::Number(_))),
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
    let kind: fn(&Value) -> bool = match path {
        "is_object" => |value| matches!(value, Value::Object(_)),
        "is_array" => |value| matches!(value, Value::Array(_)),
        "is_string" => |value| matches!(value, Value::String(_)),
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

fn constants(nodes: &[Node]) -> Option<Vec<Value>> {
    let value = |node: &Node| match node {
        Node::Const(value) => Some(value.clone()),
        _ => None,
    };
    nodes.iter().map(value).collect()
}

pub(super) fn folded_array(items: Vec<Node>) -> Node {
    constants(&items).map_or_else(|| Node::Array(items), |all| Node::Const(all.into()))
}

pub(super) fn folded_set(items: Vec<Node>) -> Node {
    let all = constants(&items).map(|all| all.into_iter().collect::<BTreeSet<_>>());
    all.map_or_else(|| Node::Set(items), |all| Node::Const(all.into()))
}

pub(super) fn folded_object(fields: Vec<(Node, Node)>) -> Node {
    let (keys, values): (Vec<_>, Vec<_>) = fields.iter().cloned().unzip();
    match (constants(&keys), constants(&values)) {
        (Some(keys), Some(values)) => {
            Node::Const(keys.into_iter().zip(values).collect::<BTreeMap<_, _>>().into())
        }
        (Some(keys), None) => match Shape::of(&keys) {
            Some(shape) => Node::Shaped(shape, values),
            None => Node::Object(fields),
        },
        _ => Node::Object(fields),
    }
}
