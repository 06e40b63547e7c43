//! Objects of which many have the same names: filled into a copy of one that is there already, which
//! is less work than to put each together.

use std::collections::BTreeMap;
use std::sync::Arc;

use regorus::Value;

/// Names, and where the value of each goes.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    empty: Arc<regorus::value::Object>,
    /// For each place of the object, in its order: which of the values.
    places: Vec<usize>,
}

impl Shape {
    /// Of these names, which differ; values will come in the same order. None if two are the same.
    pub(crate) fn of(names: &[Value]) -> Option<Self> {
        let object: BTreeMap<Value, Value> =
            names.iter().map(|name| (name.clone(), Value::Null)).collect();
        let Value::Object(empty) = Value::from(object) else { return None };
        let places = empty.iter().filter_map(|(name, _)| names.iter().position(|n| n == name));
        let places: Vec<usize> = places.collect();
        (places.len() == names.len()).then_some(Self { empty, places })
    }

    /// The object with these values.
    pub(crate) fn filled(&self, values: &mut [Value]) -> Value {
        let mut object = (*self.empty).clone();
        for ((_, value), place) in object.iter_mut().zip(&self.places) {
            if let Some(given) = values.get_mut(*place) {
                *value = std::mem::replace(given, Value::Null);
            }
        }
        Value::Object(Arc::new(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_shape_is_the_object_that_would_be_put_together() {
        let names = ["type", "address", "b", "a"].map(Value::from);
        let shape = Shape::of(&names).expect("names that differ");
        let values = [1_u64, 2, 3, 4].map(Value::from);
        let object: BTreeMap<Value, Value> = names.into_iter().zip(values.clone()).collect();
        assert_eq!(shape.filled(&mut values.clone()), Value::from(object));
        assert!(Shape::of(&["a", "a"].map(Value::from)).is_none());
    }
}
