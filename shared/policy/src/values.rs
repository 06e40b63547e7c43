//! Values that live as long as one judgement.
//!
//! The interpreter counts who holds a value, and frees each by itself: for a plan of some hundred
//! resources that takes longer than judging it. Here all memory of a judgement is given back at once,
//! values are copied like numbers, and texts stay where they are in the document. They compare as the
//! interpreter's do; `to_value` and [`Arena::take`] lead there and back.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bumpalo::Bump;
use regorus::Value;

/// What an object has under a key.
pub(crate) type Field<'a> = (Val<'a>, Val<'a>);

/// A value. What is undefined is none.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Val<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    Text(&'a str),
    List(&'a [Val<'a>]),
    /// In order, each once.
    Set(&'a [Val<'a>]),
    /// In order of the keys, each of which is there once.
    Object(&'a [Field<'a>]),
}

/// A number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number<'a> {
    Natural(u64),
    Negative(i64),
    Float(f64),
    /// The digits of one that fits nowhere else.
    Large(&'a str),
}

/// The memory of a judgement.
#[derive(Debug, Default)]
pub(crate) struct Arena(Bump);

impl Arena {
    pub(crate) fn text(&self, text: &str) -> &str {
        self.0.alloc_str(text)
    }

    pub(crate) fn items<'a>(&'a self, items: &[Val<'a>]) -> &'a [Val<'a>] {
        self.0.alloc_slice_copy(items)
    }

    pub(crate) fn texts<'a>(&'a self, texts: &[&'a str]) -> &'a [&'a str] {
        self.0.alloc_slice_copy(texts)
    }

    pub(crate) fn list<'a>(&'a self, items: &[Val<'a>]) -> Val<'a> {
        Val::List(self.items(items))
    }

    /// A set of these, whatever their order.
    pub(crate) fn set<'a>(&'a self, mut items: Vec<Val<'a>>) -> Val<'a> {
        items.sort_unstable();
        items.dedup();
        Val::Set(self.items(&items))
    }

    /// An object of these, whose keys are in order and differ.
    pub(crate) fn fields<'a>(&'a self, fields: &[Field<'a>]) -> Val<'a> {
        debug_assert!(fields.is_sorted_by(|(a, _), (b, _)| a < b), "{fields:?}");
        Val::Object(self.0.alloc_slice_copy(fields))
    }

    /// An object of these, whatever their order; of several under one key the last.
    pub(crate) fn object<'a>(&'a self, mut fields: Vec<Field<'a>>) -> Val<'a> {
        order(&mut fields, 0);
        self.fields(&fields)
    }

    /// A value of the interpreter. None where it is undefined.
    pub(crate) fn take(&self, value: &Value) -> Option<Val<'_>> {
        Some(match value {
            Value::Undefined => return None,
            Value::Null => Val::Null,
            Value::Bool(it) => Val::Bool(*it),
            Value::String(text) => Val::Text(self.text(text)),
            Value::Number(number) => Val::Number(if let Some(it) = number.as_u64() {
                Number::Natural(it)
            } else if let Some(it) = number.as_i64() {
                Number::Negative(it)
            } else if let Some(it) = number.as_f64() {
                Number::Float(it)
            } else {
                Number::Large(self.text(&number.format_decimal()))
            }),
            Value::Array(items) => Val::List(
                self.items(&items.iter().filter_map(|i| self.take(i)).collect::<Vec<_>>()),
            ),
            Value::Set(items) => {
                Val::Set(self.items(&items.iter().filter_map(|i| self.take(i)).collect::<Vec<_>>()))
            }
            Value::Object(fields) => {
                let fields = fields.iter_sorted();
                let fields = fields.filter_map(|(k, v)| Some((self.take(k)?, self.take(v)?)));
                self.fields(&fields.collect::<Vec<_>>())
            }
        })
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.allocated_bytes()
    }
}

/// Puts what begins at `from` in order, and of several under one key leaves the last.
pub(crate) fn order(fields: &mut Vec<Field<'_>>, from: usize) {
    let Some(them) = fields.get_mut(from..) else { return };
    if them.is_sorted_by(|(a, _), (b, _)| a < b) {
        return;
    }
    them.reverse();
    them.sort_by_key(|(key, _)| *key);
    let mut kept = from;
    for at in from..fields.len() {
        if kept == from || fields[kept - 1].0 != fields[at].0 {
            fields[kept] = fields[at];
            kept += 1;
        }
    }
    fields.truncate(kept);
}

impl<'a> Val<'a> {
    /// An object and a list of nothing.
    pub(crate) const EMPTY: Self = Self::Object(&[]);
    pub(crate) const NOTHING: Self = Self::List(&[]);

    pub(crate) const fn number(it: usize) -> Self {
        Self::Number(Number::Natural(it as u64))
    }

    pub(crate) const fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) const fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is(self, text: &str) -> bool {
        self.text() == Some(text)
    }

    /// The items of a list; of anything else none.
    pub(crate) const fn items(self) -> &'a [Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The fields of an object; of anything else none.
    pub(crate) const fn fields(self) -> &'a [Field<'a>] {
        match self {
            Self::Object(fields) => fields,
            _ => &[],
        }
    }

    /// The fields of an object that have names.
    pub(crate) fn named(self) -> impl Iterator<Item = (&'a str, Self)> {
        self.fields().iter().filter_map(|(name, value)| Some((name.text()?, *value)))
    }

    /// What an object has under a name.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        let Self::Object(fields) = self else { return None };
        let at = fields.binary_search_by(|(key, _)| match key {
            Self::Text(key) => (**key).cmp(name),
            Self::Null | Self::Bool(_) | Self::Number(_) => Ordering::Less,
            Self::List(_) | Self::Set(_) | Self::Object(_) => Ordering::Greater,
        });
        at.ok().and_then(|at| fields.get(at)).map(|(_, value)| *value)
    }

    /// The same, and null where there is none.
    pub(crate) fn at(self, name: &str) -> Self {
        self.field(name).unwrap_or(Self::Null)
    }

    /// What stands under a key, in an object, a list or a set.
    pub(crate) fn get(self, key: Val<'_>) -> Option<Self> {
        match (self, key) {
            (Self::Object(_), Val::Text(name)) => self.field(name),
            (Self::Object(fields), _) => {
                let at = fields.binary_search_by(|(known, _)| known.cmp(&key)).ok()?;
                fields.get(at).map(|(_, value)| *value)
            }
            (Self::List(items), Val::Number(at)) => items.get(at.index()?).copied(),
            (Self::Set(items), _) => {
                let at = items.binary_search(&key).ok()?;
                items.get(at).copied()
            }
            _ => None,
        }
    }

    /// As the interpreter holds it.
    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(it) => Value::Bool(it),
            Self::Number(it) => it.to_value(),
            Self::Text(it) => Value::String(Arc::from(it)),
            Self::List(items) => items.iter().map(|i| i.to_value()).collect::<Vec<_>>().into(),
            Self::Set(items) => items.iter().map(|i| i.to_value()).collect::<BTreeSet<_>>().into(),
            Self::Object(fields) => fields
                .iter()
                .map(|(key, value)| (key.to_value(), value.to_value()))
                .collect::<BTreeMap<_, _>>()
                .into(),
        }
    }

    /// The same of a value of which much is in it more than once: names, and whole objects.
    pub(crate) fn to_shared(self) -> Value {
        let mut names: HashMap<&'a str, Value> = HashMap::new();
        let mut objects: HashMap<*const Field<'a>, Value> = HashMap::new();
        self.shared(&mut names, &mut objects)
    }

    fn shared(
        self,
        names: &mut HashMap<&'a str, Value>,
        objects: &mut HashMap<*const Field<'a>, Value>,
    ) -> Value {
        match self {
            Self::List(items) => {
                items.iter().map(|i| i.shared(names, objects)).collect::<Vec<_>>().into()
            }
            // Nothing may have the address of something.
            Self::Object([]) => Value::new_object(),
            Self::Object(fields) => {
                if let Some(known) = objects.get(&fields.as_ptr()) {
                    return known.clone();
                }
                let made: BTreeMap<Value, Value> = fields
                    .iter()
                    .map(|(name, value)| {
                        let key = match name {
                            Self::Text(name) => {
                                names.entry(name).or_insert_with(|| (*name).into()).clone()
                            }
                            other => other.to_value(),
                        };
                        (key, value.shared(names, objects))
                    })
                    .collect();
                let made = Value::from(made);
                objects.insert(fields.as_ptr(), made.clone());
                made
            }
            other => other.to_value(),
        }
    }

    /// As JSON.
    pub(crate) fn to_json(self) -> serde_json::Value {
        serde_json::to_value(self.to_value()).unwrap_or_default()
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
            Self::List(_) => 4,
            Self::Set(_) => 5,
            Self::Object(_) => 6,
        }
    }
}

impl Number<'_> {
    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Natural(it) => it.into(),
            Self::Negative(it) => it.into(),
            Self::Float(it) => it.into(),
            Self::Large(digits) => Value::from_numeric_string(digits).unwrap_or(Value::Undefined),
        }
    }

    /// As the place of an item.
    fn index(self) -> Option<usize> {
        match self {
            Self::Natural(it) => usize::try_from(it).ok(),
            Self::Negative(_) => None,
            _ => match self.to_value() {
                Value::Number(it) => it.as_u64().and_then(|it| usize::try_from(it).ok()),
                _ => None,
            },
        }
    }
}

impl PartialEq for Val<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Set(a), Self::Set(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Val<'_> {}

impl Ord for Val<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) | (Self::Set(a), Self::Set(b)) => a.cmp(b),
            (Self::Object(a), Self::Object(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Val<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number<'_> {}

impl Ord for Number<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Natural(a), Self::Natural(b)) => a.cmp(b),
            (Self::Negative(a), Self::Negative(b)) => a.cmp(b),
            _ => self.to_value().cmp(&other.to_value()),
        }
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
