//! Attributes of one side of a resource: known, unknown until apply, or not there.

use serde_json::Value;
use slipway_domain::cost::{Amount, CostGapReason};

use crate::limits::BLOCKS;

/// Why a part cannot be priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) reason: CostGapReason,
    pub(crate) detail: String,
}

impl Why {
    pub(crate) fn new(reason: CostGapReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    pub(crate) fn not_modelled(detail: impl Into<String>) -> Self {
        Self::new(CostGapReason::NotModelled, detail)
    }

    fn unknown(name: &str) -> Self {
        Self::new(CostGapReason::KnownAfterApply, format!("`{name}` is known only after apply."))
    }

    fn invalid(name: &str, value: &Value) -> Self {
        // Only numbers are repeated: a text could be anything.
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(_) => "another text than is understood".to_owned(),
            Value::Bool(_) => "a truth value".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) | Value::Null => "an object".to_owned(),
        };
        Self::new(CostGapReason::InvalidValue, format!("`{name}` is {text}, which makes no sense."))
    }

    fn sensitive(name: &str) -> Self {
        Self::not_modelled(format!("`{name}` is marked as sensitive and is not read."))
    }
}

/// What is known of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found<'a> {
    Known(&'a Value),
    Unknown,
    /// Marked as sensitive.
    Sensitive,
    Absent,
}

/// A block or the whole of a resource, on one side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    values: &'a Value,
    /// The same shape, with `true` where a value is not known yet.
    unknown: &'a Value,
    /// The same shape, with `true` where a value is sensitive.
    sensitive: &'a Value,
    /// How it is written, where that is known.
    written: Option<Path<'a>>,
}

/// The expressions of a resource, and the names of the blocks that lead to a block of it.
#[derive(Debug, Clone, Copy)]
struct Path<'a> {
    expressions: &'a Value,
    names: [&'static str; DEPTH],
    depth: usize,
}

/// Blocks within blocks that are looked into.
const DEPTH: usize = 4;

impl Path<'_> {
    /// Whether an attribute is written, in any of the blocks of that name: blocks of a set come in
    /// another order than they are written in. Where no such block is written (dynamic ones are not
    /// in the plan's configuration), it may be.
    fn has(&self, name: &str) -> bool {
        fn walk(at: &Value, names: &[&str], name: &str, seen: &mut bool) -> bool {
            let Some((first, rest)) = names.split_first() else {
                *seen = true;
                return at.get(name).is_some();
            };
            match at.get(*first) {
                Some(Value::Array(blocks)) => {
                    blocks.iter().take(BLOCKS).any(|block| walk(block, rest, name, seen))
                }
                Some(block @ Value::Object(_)) => walk(block, rest, name, seen),
                _ => false,
            }
        }
        let mut seen = false;
        let names = self.names.get(..self.depth).unwrap_or_default();
        walk(self.expressions, names, name, &mut seen) || !seen
    }

    fn inside(mut self, name: &'static str) -> Option<Self> {
        *self.names.get_mut(self.depth)? = name;
        self.depth += 1;
        Some(self)
    }
}

impl<'a> View<'a> {
    pub(crate) fn new(
        values: &'a Value,
        unknown: &'a Value,
        sensitive: &'a Value,
        expressions: Option<&'a Value>,
    ) -> Self {
        let written =
            expressions.map(|expressions| Path { expressions, names: [""; DEPTH], depth: 0 });
        Self { values, unknown, sensitive, written }
    }

    fn find(&self, name: &str) -> Found<'a> {
        if self.sensitive.get(name).is_some_and(|s| *s == Value::Bool(true)) {
            return Found::Sensitive;
        }
        match self.values.get(name) {
            Some(Value::Null) | None => {}
            Some(value) => return Found::Known(value),
        }
        let unknown = *self.unknown == Value::Bool(true)
            || self.unknown.get(name).is_some_and(|u| *u == Value::Bool(true));
        // What nobody set and the provider will fill in has its default.
        let set = self.written.is_none_or(|written| written.has(name));
        if unknown && set { Found::Unknown } else { Found::Absent }
    }

    /// Whether there is a value, known or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name) != Found::Absent
    }

    /// A text, if it is there. Numbers and truth values are read as texts.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Why> {
        match self.find(name) {
            Found::Known(Value::String(text)) if text.is_empty() => Ok(None),
            Found::Known(Value::String(text)) if text.len() <= 512 => Ok(Some(text.clone())),
            Found::Known(value @ (Value::Number(_) | Value::Bool(_))) => {
                Ok(Some(value.to_string()))
            }
            Found::Known(value) => Err(Why::invalid(name, value)),
            Found::Unknown => Err(Why::unknown(name)),
            Found::Sensitive => Err(Why::sensitive(name)),
            Found::Absent => Ok(None),
        }
    }

    /// A text that must be there.
    pub(crate) fn needed(&self, name: &str) -> Result<String, Why> {
        self.text(name)?
            .ok_or_else(|| Why::new(CostGapReason::InvalidValue, format!("`{name}` is not set.")))
    }

    /// A text, or what the provider takes where there is none.
    pub(crate) fn text_or(&self, name: &str, default: &str) -> Result<String, Why> {
        Ok(self.text(name)?.unwrap_or_else(|| default.to_owned()))
    }

    /// A number that is not negative, if it is there.
    pub(crate) fn number(&self, name: &str) -> Result<Option<Amount>, Why> {
        match self.find(name) {
            Found::Known(Value::String(text)) if text.is_empty() => Ok(None),
            Found::Known(value) => match Amount::of_json(value) {
                Some(n) if !n.is_negative() && n <= Amount::whole(1_000_000_000) => Ok(Some(n)),
                _ => Err(Why::invalid(name, value)),
            },
            Found::Unknown => Err(Why::unknown(name)),
            Found::Sensitive => Err(Why::sensitive(name)),
            Found::Absent => Ok(None),
        }
    }

    /// A number, or what the provider takes where there is none.
    pub(crate) fn number_or(&self, name: &str, default: u32) -> Result<Amount, Why> {
        Ok(self.number(name)?.unwrap_or_else(|| Amount::whole(default)))
    }

    /// A number that must be there.
    pub(crate) fn needed_number(&self, name: &str) -> Result<Amount, Why> {
        self.number(name)?
            .ok_or_else(|| Why::new(CostGapReason::InvalidValue, format!("`{name}` is not set.")))
    }

    /// A truth value; false where there is none.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Why> {
        match self.find(name) {
            Found::Known(Value::Bool(flag)) => Ok(*flag),
            Found::Known(Value::String(text)) if text == "true" => Ok(true),
            Found::Known(Value::String(text)) if text == "false" || text.is_empty() => Ok(false),
            Found::Known(value) => Err(Why::invalid(name, value)),
            Found::Unknown => Err(Why::unknown(name)),
            Found::Sensitive => Err(Why::sensitive(name)),
            Found::Absent => Ok(false),
        }
    }

    /// The texts of a list.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Why> {
        match self.find(name) {
            Found::Known(Value::Array(items)) => Ok(items
                .iter()
                .filter_map(Value::as_str)
                .filter(|text| text.len() <= 512)
                .take(BLOCKS)
                .map(str::to_owned)
                .collect()),
            Found::Known(value) => Err(Why::invalid(name, value)),
            Found::Unknown => Err(Why::unknown(name)),
            Found::Sensitive => Err(Why::sensitive(name)),
            Found::Absent => Ok(Vec::new()),
        }
    }

    /// How many items a list has.
    pub(crate) fn count(&self, name: &str) -> Result<Option<u32>, Why> {
        match self.find(name) {
            Found::Known(Value::Array(items)) => Ok(u32::try_from(items.len()).ok()),
            Found::Known(value) => Err(Why::invalid(name, value)),
            Found::Unknown => Err(Why::unknown(name)),
            Found::Sensitive => Err(Why::sensitive(name)),
            Found::Absent => Ok(None),
        }
    }

    /// The blocks of a name, or the one that is not in a list.
    pub(crate) fn blocks(&self, name: &'static str) -> Result<Vec<View<'a>>, Why> {
        let unknown = self.unknown.get(name).unwrap_or(&Value::Null);
        let sensitive = self.sensitive.get(name).unwrap_or(&Value::Null);
        let written = self.written.and_then(|path| path.inside(name));
        match self.find(name) {
            Found::Known(Value::Array(items)) if items.len() > BLOCKS => Err(Why::new(
                CostGapReason::InvalidValue,
                format!("there are {} blocks `{name}`; at most {BLOCKS} are read.", items.len()),
            )),
            Found::Known(Value::Array(items)) => Ok(items
                .iter()
                .enumerate()
                .map(|(i, item)| Self {
                    values: item,
                    unknown: if *unknown == Value::Bool(true) {
                        unknown
                    } else {
                        unknown.get(i).unwrap_or(&Value::Null)
                    },
                    sensitive: sensitive.get(i).unwrap_or(&Value::Null),
                    written,
                })
                .collect()),
            Found::Known(item @ Value::Object(_)) => {
                Ok(vec![Self { values: item, unknown, sensitive, written }])
            }
            Found::Known(value) => Err(Why::invalid(name, value)),
            Found::Unknown => Err(Why::unknown(name)),
            Found::Sensitive => Err(Why::sensitive(name)),
            Found::Absent => Ok(Vec::new()),
        }
    }

    /// The first block of a name.
    pub(crate) fn block(&self, name: &'static str) -> Result<Option<View<'a>>, Why> {
        Ok(self.blocks(name)?.into_iter().next())
    }

    /// A known text, without a word about what is not known.
    pub(crate) fn peek(&self, name: &str) -> Option<&'a str> {
        match self.find(name) {
            Found::Known(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Whether a value is known only after apply.
    pub(crate) fn is_unknown(&self, name: &str) -> bool {
        self.find(name) == Found::Unknown
    }
}
