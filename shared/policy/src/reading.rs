//! Reads parts of Terraform's document straight into the memory of a judgement.

use std::cell::RefCell;
use std::fmt;

use regorus::Value;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::values::{Arena, Field, Number, Val, order};

/// Under this name `serde_json` hands over numbers when it is built to keep their digits.
const NUMBER: &str = "$serde_json::private::Number";

/// Reads values.
pub(crate) struct Reader<'a> {
    arena: &'a Arena,
    /// What has been read of the lists and the objects that are being read, the innermost last.
    items: RefCell<Vec<Val<'a>>>,
    fields: RefCell<Vec<Field<'a>>>,
}

impl<'a> Reader<'a> {
    /// One that reads into this memory.
    pub(crate) fn new(arena: &'a Arena) -> Self {
        Self { arena, items: RefCell::default(), fields: RefCell::default() }
    }

    /// The memory it reads into.
    pub(crate) const fn arena(&self) -> &'a Arena {
        self.arena
    }

    /// Takes over what is somewhere else.
    pub(crate) fn read(&self, value: serde_json::Value) -> Result<Val<'a>, String> {
        self.deserialize(value).map_err(|e| format!("The plan cannot be judged: {e}."))
    }
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for &Reader<'a> {
    type Value = Val<'a>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Val<'a>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for &Reader<'a> {
    type Value = Val<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Val<'a>, E> {
        Ok(Val::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Val<'a>, E> {
        Ok(Val::Null)
    }

    fn visit_bool<E: Error>(self, it: bool) -> Result<Val<'a>, E> {
        Ok(Val::Bool(it))
    }

    fn visit_u64<E: Error>(self, it: u64) -> Result<Val<'a>, E> {
        Ok(Val::Number(Number::Natural(it)))
    }

    fn visit_i64<E: Error>(self, it: i64) -> Result<Val<'a>, E> {
        Ok(Val::Number(match u64::try_from(it) {
            Ok(it) => Number::Natural(it),
            Err(_) => Number::Negative(it),
        }))
    }

    fn visit_f64<E: Error>(self, it: f64) -> Result<Val<'a>, E> {
        if !it.is_finite() {
            return Err(E::custom("a number is too large"));
        }
        Ok(Val::Number(Number::Float(it)))
    }

    fn visit_borrowed_str<E: Error>(self, it: &'de str) -> Result<Val<'a>, E> {
        Ok(Val::Text(it))
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<Val<'a>, E> {
        Ok(Val::Text(self.arena.text(it)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Val<'a>, A::Error> {
        let begin = self.items.borrow().len();
        while let Some(item) = from.next_element_seed(self)? {
            self.items.borrow_mut().push(item);
        }
        let mut all = self.items.borrow_mut();
        let list = self.arena.list(all.get(begin..).unwrap_or_default());
        all.truncate(begin);
        Ok(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Val<'a>, A::Error> {
        let begin = self.fields.borrow().len();
        let mut first = true;
        while let Some(name) = from.next_key_seed(TextOf(self.arena))? {
            let name = name.unwrap_or_default();
            if std::mem::take(&mut first) && name == NUMBER {
                let digits: String = from.next_value()?;
                let number = Value::from_numeric_string(&digits).map_err(A::Error::custom)?;
                return Ok(self.arena.take(&number).unwrap_or(Val::Null));
            }
            let value = from.next_value_seed(self)?;
            self.fields.borrow_mut().push((Val::Text(name), value));
        }
        let mut all = self.fields.borrow_mut();
        order(&mut all, begin);
        let object = self.arena.fields(all.get(begin..).unwrap_or_default());
        all.truncate(begin);
        Ok(object)
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
pub(crate) struct TextOf<'a>(pub(crate) &'a Arena);

impl<'de: 'a, 'a> DeserializeSeed<'de> for TextOf<'a> {
    type Value = Option<&'a str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for TextOf<'a> {
    type Value = Option<&'a str>;

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

    fn visit_borrowed_str<E: Error>(self, it: &'de str) -> Result<Self::Value, E> {
        Ok(Some(it))
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<Self::Value, E> {
        Ok(Some(self.0.text(it)))
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
