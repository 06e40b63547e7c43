//! Which attributes the configuration sets, at any depth.
//!
//! Providers mark everything that they will compute as unknown, also what nobody set: the default of
//! `root_block_device.encrypted`, say. Such a value is the provider's default and nobody's secret
//! choice, so it is taken away; what is set and not known yet stays unknown.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::facts::UNKNOWN;
use crate::reading::Tree;

/// Blocks that no provider computes. When one is unknown and does not stand in the configuration, it
/// is a `dynamic` block, which Terraform's document leaves out.
const NEVER_COMPUTED: &[&str] = &[
    "allow",
    "authorized_networks",
    "block_device_mappings",
    "deny",
    "environment",
    "inbound",
    "network_interfaces",
    "outbound",
    "permissions",
    "rule",
    "statement",
];

/// What stands in the configuration under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// A value.
    Value,
    /// Blocks: how many, where that is the same everywhere, and what any of them sets.
    Blocks(Option<usize>, Fields),
}

/// By name.
pub(crate) type Fields = BTreeMap<String, Written>;

/// Reads `expressions` of a resource.
pub(crate) fn read(expressions: &Value) -> Fields {
    let fields = expressions.as_object().into_iter().flatten();
    fields.map(|(name, expression)| (name.clone(), one(expression))).collect()
}

fn one(expression: &Value) -> Written {
    match expression {
        Value::Array(blocks) => {
            let all = blocks.iter().map(read).fold(Fields::new(), join);
            Written::Blocks(Some(blocks.len()), all)
        }
        // A block that can be there only once has no list around it.
        Value::Object(fields)
            if !fields.is_empty()
                && fields.values().all(|inner| inner.is_object() || inner.is_array())
                && !fields.contains_key("references")
                && !fields.contains_key("constant_value") =>
        {
            Written::Blocks(Some(1), read(expression))
        }
        _ => Written::Value,
    }
}

/// What either sets. Sets of blocks have an order of their own in the plan, so blocks cannot be told
/// apart.
fn join(mut a: Fields, b: Fields) -> Fields {
    for (name, theirs) in b {
        let joined = match (a.remove(&name), theirs) {
            (Some(Written::Blocks(m, ours)), Written::Blocks(n, theirs)) => {
                Written::Blocks(m.filter(|_| m == n), join(ours, theirs))
            }
            (_, theirs) => theirs,
        };
        a.insert(name, joined);
    }
    a
}

/// Takes away what is unknown and not set.
pub(crate) fn prune(values: &mut Vec<(Arc<str>, Tree)>, written: &Fields) {
    values.retain(|(name, value)| {
        value.text().is_none_or(|text| **text != *UNKNOWN)
            || written.contains_key(&**name)
            || NEVER_COMPUTED.contains(&&**name)
    });
    for (name, value) in values {
        let Some(Written::Blocks(number, fields)) = written.get(&**name) else { continue };
        match value {
            // More blocks than are written come from `dynamic`; what those set is not known here.
            Tree::List(blocks) if *number == Some(blocks.len()) => {
                for block in blocks {
                    if let Tree::Fields(block) = block {
                        prune(block, fields);
                    }
                }
            }
            Tree::Fields(block) if *number == Some(1) => prune(block, fields),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Names, TreeOf};
    use serde::de::DeserializeSeed as _;
    use serde_json::json;

    fn pruned(expressions: &Value, values: Value) -> Value {
        let values = TreeOf(&Names::default()).deserialize(values).expect("a value");
        let Tree::Fields(mut fields) = values else { panic!("no object") };
        prune(&mut fields, &read(expressions));
        serde_json::to_value(Tree::Fields(fields).into_value()).expect("JSON")
    }

    #[test]
    fn what_nobody_set_is_taken_away_at_any_depth() {
        let expressions = json!({"name": {"references": ["var.a"]},
            "disk": [{"size": {"constant_value": 8}, "key": {"references": ["var.k"]}}, {}]});
        let disk = json!({"size": 8, "encrypted": UNKNOWN, "key": UNKNOWN});
        assert_eq!(
            pruned(
                &expressions,
                json!({"name": UNKNOWN, "arn": UNKNOWN, "disk": [disk, {"encrypted": UNKNOWN}]})
            ),
            json!({"name": UNKNOWN, "disk": [{"size": 8, "key": UNKNOWN}, {}]})
        );
        let once = json!({"spec": {"node": [{"zone": {}}], "name": {"constant_value": "x"}}});
        assert_eq!(
            pruned(
                &once,
                json!({"spec": {"node": [{"zone": UNKNOWN, "id": UNKNOWN}], "uid": UNKNOWN}})
            ),
            json!({"spec": {"node": [{"zone": UNKNOWN}]}})
        );
    }

    #[test]
    fn what_a_dynamic_block_may_have_set_stays() {
        // Terraform's document says nothing of `dynamic`: neither the block nor what is in it.
        for (expressions, values) in [
            (json!({}), json!({"allow": UNKNOWN})),
            (json!({}), json!({"disk": [{"encrypted": UNKNOWN}]})),
            (json!({"disk": [{}]}), json!({"disk": [{"a": UNKNOWN}, {"encrypted": UNKNOWN}]})),
        ] {
            assert_eq!(pruned(&expressions, values.clone()), values);
        }
    }
}
