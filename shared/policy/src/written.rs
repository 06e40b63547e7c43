//! Which attributes the configuration sets, at any depth.
//!
//! Providers mark everything that they will compute as unknown, also what nobody set: the default of
//! `root_block_device.encrypted`, say. Such a value is the provider's default and nobody's secret
//! choice, so it is taken away; what is set and not known yet stays unknown.

use crate::facts::UNKNOWN;
use crate::values::{Arena, Field, Val};

/// Blocks that no provider computes. When one is unknown and does not stand in the configuration, it
/// is a `dynamic` block, which Terraform's document leaves out.
const NEVER_COMPUTED: &[&str] = &[
    "allow",
    "authorized_networks",
    "block_device_mappings",
    "default_action",
    "deny",
    "ebs",
    "environment",
    "inbound",
    "layer4_configs",
    "listener",
    "match",
    "network_interfaces",
    "outbound",
    "permissions",
    "policy_attribute",
    "rule",
    "statement",
];

/// What stands in the configuration under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written<'a> {
    /// A value.
    Value,
    /// Blocks: how many, where that is the same everywhere, and what any of them sets.
    Blocks(Option<usize>, Fields<'a>),
}

/// By name, in order.
pub(crate) type Fields<'a> = Vec<(&'a str, Written<'a>)>;

/// Reads `expressions` of a resource.
pub(crate) fn read(expressions: Val<'_>) -> Fields<'_> {
    expressions.named().map(|(name, expression)| (name, one(expression))).collect()
}

fn one(expression: Val<'_>) -> Written<'_> {
    match expression {
        Val::List(blocks) => {
            let all = blocks.iter().map(|block| read(*block)).fold(Fields::new(), join);
            Written::Blocks(Some(blocks.len()), all)
        }
        // A block that can be there only once has no list around it.
        Val::Object(fields)
            if !fields.is_empty()
                && fields
                    .iter()
                    .all(|(_, inner)| matches!(inner, Val::Object(_) | Val::List(_)))
                && expression.field("references").is_none()
                && expression.field("constant_value").is_none() =>
        {
            Written::Blocks(Some(1), read(expression))
        }
        _ => Written::Value,
    }
}

/// What either sets. Sets of blocks have an order of their own in the plan, so blocks cannot be told
/// apart.
fn join<'a>(mut a: Fields<'a>, b: Fields<'a>) -> Fields<'a> {
    for (name, theirs) in b {
        match a.binary_search_by(|(ours, _)| (**ours).cmp(name)) {
            Err(at) => a.insert(at, (name, theirs)),
            Ok(at) => {
                let Some((_, ours)) = a.get_mut(at) else { continue };
                *ours = match (std::mem::replace(ours, Written::Value), theirs) {
                    (Written::Blocks(m, ours), Written::Blocks(n, theirs)) => {
                        Written::Blocks(m.filter(|_| m == n), join(ours, theirs))
                    }
                    (_, theirs) => theirs,
                };
            }
        }
    }
    a
}

fn set<'w, 'a>(written: &'w Fields<'a>, name: &str) -> Option<&'w Written<'a>> {
    let at = written.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
    written.get(at).map(|(_, it)| it)
}

/// Takes away what is unknown and not set.
pub(crate) fn prune<'a>(
    values: &'a [Field<'a>],
    written: &Fields<'_>,
    arena: &'a Arena,
) -> Vec<Field<'a>> {
    let mut kept = Vec::with_capacity(values.len());
    for (key, value) in values {
        let name = key.text().unwrap_or_default();
        let written = set(written, name);
        if value.is(UNKNOWN) && written.is_none() && !NEVER_COMPUTED.contains(&name) {
            continue;
        }
        let inside = |value: Val<'a>, fields: &Fields<'_>| match value {
            Val::Object(block) => arena.fields(&prune(block, fields, arena)),
            other => other,
        };
        let value = match (written, value) {
            // More blocks than are written come from `dynamic`; what those set is not known here.
            (Some(Written::Blocks(number, fields)), Val::List(blocks))
                if *number == Some(blocks.len()) =>
            {
                let blocks = blocks.iter().map(|block| inside(*block, fields));
                arena.list(&blocks.collect::<Vec<_>>())
            }
            (Some(Written::Blocks(Some(1), fields)), block) => inside(*block, fields),
            (_, value) => *value,
        };
        kept.push((*key, value));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Reader;
    use serde_json::{Value, json};

    fn pruned(expressions: &Value, values: Value) -> Value {
        let arena = Arena::default();
        let reader = Reader::new(&arena);
        let values = reader.read(values).expect("a value");
        let expressions = reader.read(expressions.clone()).expect("a value");
        arena.fields(&prune(values.fields(), &read(expressions), &arena)).to_json()
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
            (json!({}), json!({"allow": UNKNOWN, "default_action": UNKNOWN, "listener": UNKNOWN})),
            (json!({}), json!({"disk": [{"encrypted": UNKNOWN}]})),
            (json!({"disk": [{}]}), json!({"disk": [{"a": UNKNOWN}, {"encrypted": UNKNOWN}]})),
        ] {
            assert_eq!(pruned(&expressions, values.clone()), values);
        }
    }
}
