//! Reads parts of Terraform's document straight into values of the interpreter.
//!
//! A plan says the same few names thousands of times, so names are kept once. Attributes are read as
//! [`Tree`]s, whose fields are in order: what is unknown is put into them, and what nobody set is
//! taken out, before they become values.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use regorus::Value;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Under this name `serde_json` hands over numbers when it is built to keep their digits.
const NUMBER: &str = "$serde_json::private::Number";

/// Names that have been read.
#[derive(Default)]
pub(crate) struct Names(RefCell<HashSet<Arc<str>>>);

impl Names {
    /// The one of this name.
    pub(crate) fn get(&self, name: &str) -> Arc<str> {
        let mut known = self.0.borrow_mut();
        if let Some(known) = known.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        known.insert(name.clone());
        name
    }
}

/// Attributes that are still worked on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// Whatever holds nothing.
    Leaf(Value),
    /// A list.
    List(Vec<Tree>),
    /// An object, ordered by name.
    Fields(Vec<(Arc<str>, Tree)>),
}

impl Tree {
    /// Nothing.
    pub(crate) const NULL: Self = Self::Leaf(Value::Null);

    /// Whether it is null.
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Leaf(Value::Null))
    }

    /// The text, if it is one.
    pub(crate) const fn text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Leaf(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// As the interpreter holds it.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Leaf(value) => value,
            Self::List(items) => items.into_iter().map(Self::into_value).collect::<Vec<_>>().into(),
            Self::Fields(fields) => fields
                .into_iter()
                .map(|(name, field)| (Value::String(name), field.into_value()))
                .collect::<BTreeMap<_, _>>()
                .into(),
        }
    }
}

/// In order, and of several under one name the last.
fn ordered<T>(fields: &mut Vec<(Arc<str>, T)>) {
    if fields.is_sorted_by(|(a, _), (b, _)| a < b) {
        return;
    }
    fields.reverse();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields.dedup_by(|(b, _), (a, _)| a == b);
}

/// Reads a [`Tree`].
#[derive(Clone, Copy)]
pub(crate) struct TreeOf<'n>(pub(crate) &'n Names);

impl<'de> DeserializeSeed<'de> for TreeOf<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Tree, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TreeOf<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::NULL)
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::NULL)
    }

    fn visit_bool<E: Error>(self, it: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(it.into()))
    }

    fn visit_u64<E: Error>(self, it: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(it.into()))
    }

    fn visit_i64<E: Error>(self, it: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(it.into()))
    }

    fn visit_f64<E: Error>(self, it: f64) -> Result<Tree, E> {
        if !it.is_finite() {
            return Err(E::custom("a number is too large"));
        }
        Ok(Tree::Leaf(it.into()))
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::String(it.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = from.next_key_seed(Name(self.0))? {
            if *name == *NUMBER && fields.is_empty() {
                let digits: String = from.next_value()?;
                return Value::from_numeric_string(&digits)
                    .map(Tree::Leaf)
                    .map_err(A::Error::custom);
            }
            fields.push((name, from.next_value_seed(self)?));
        }
        ordered(&mut fields);
        Ok(Tree::Fields(fields))
    }
}

/// What Terraform marks as unknown.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Marks {
    /// Nothing of it.
    #[default]
    No,
    /// The whole.
    All,
    /// Of a list, one by one.
    List(Vec<Marks>),
    /// Of an object, by name and in order; of those without a mark nothing is said.
    Fields(Vec<(Arc<str>, Marks)>),
}

/// Reads [`Marks`].
#[derive(Clone, Copy)]
pub(crate) struct MarksOf<'n>(pub(crate) &'n Names);

impl<'de> DeserializeSeed<'de> for MarksOf<'_> {
    type Value = Marks;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Marks, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MarksOf<'_> {
    type Value = Marks;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mark")
    }

    fn visit_unit<E: Error>(self) -> Result<Marks, E> {
        Ok(Marks::No)
    }

    fn visit_bool<E: Error>(self, it: bool) -> Result<Marks, E> {
        Ok(if it { Marks::All } else { Marks::No })
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Marks, E> {
        Ok(Marks::No)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Marks, E> {
        Ok(Marks::No)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Marks, E> {
        Ok(Marks::No)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Marks, E> {
        Ok(Marks::No)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Marks, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Marks::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Marks, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = from.next_key_seed(Name(self.0))? {
            fields.push((name, from.next_value_seed(self)?));
        }
        ordered(&mut fields);
        fields.retain(|(_, marks)| *marks != Marks::No);
        Ok(Marks::Fields(fields))
    }
}

/// Reads a name.
#[derive(Clone, Copy)]
pub(crate) struct Name<'n>(pub(crate) &'n Names);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Arc<str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Arc<str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Arc<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<Arc<str>, E> {
        Ok(self.0.get(it))
    }
}

/// Reads the name of a field: one of those that are looked for, or an empty text.
#[derive(Clone, Copy)]
pub(crate) struct FieldOf(pub(crate) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for FieldOf {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldOf {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|name| **name == it).copied().unwrap_or_default())
    }
}

/// Reads a text; whatever else there is counts as none.
#[derive(Clone, Copy)]
pub(crate) struct TextOf<'n>(pub(crate) Option<&'n Names>);

impl<'de> DeserializeSeed<'de> for TextOf<'_> {
    type Value = Option<Arc<str>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextOf<'_> {
    type Value = Option<Arc<str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<Self::Value, E> {
        Ok(Some(self.0.map_or_else(|| it.into(), |names| names.get(it))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        while from.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        while from.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
