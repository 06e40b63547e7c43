//! They compare as the interpreter's do, and nothing is lost on the way there and back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use regorus::Value;

use super::*;

/// Any value, also with sets, with keys that are no texts, and with numbers of every kind.
fn values() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        (-8_i32..8).prop_map(|halves| Value::from(f64::from(halves) / 2.0)),
        "-?[1-9][0-9]{18,24}"
            .prop_map(|digits| { Value::from_numeric_string(&digits).expect("a number") }),
    ];
    let leaf = prop_oneof![
        2 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        4 => numbers,
        4 => "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| Value::from(all.into_iter().collect::<BTreeSet<_>>())),
            prop::collection::vec((inner.clone(), inner), 0..4)
                .prop_map(|all| Value::from(all.into_iter().collect::<BTreeMap<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn they_are_what_the_interpreter_has(a in values(), b in values()) {
        let arena = Arena::default();
        let take = |value: &Value| arena.take(value).expect("defined");
        let (x, y) = (take(&a), take(&b));
        prop_assert_eq!(&x.to_value(), &a);
        prop_assert_eq!(&x.to_shared(), &a);
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x == y, a == b);
        let found = x.get(y).map_or(Value::Undefined, Val::to_value);
        prop_assert_eq!(&found, &a[&b]);
        if let Value::Object(fields) = &a {
            for key in fields.keys() {
                prop_assert_eq!(x.get(take(key)).map(Val::to_value), Some(a[key].clone()));
            }
        }
        if let Value::Set(items) = &a {
            for item in items.iter() {
                prop_assert_eq!(x.get(take(item)).map(Val::to_value), Some(item.clone()));
            }
        }
    }

    #[test]
    fn what_is_in_it_twice_is_in_it_twice(a in values(), b in values()) {
        let arena = Arena::default();
        let take = |value: &Value| arena.take(value).expect("defined");
        let one = arena.object(vec![(Val::Text("a"), take(&a))]);
        let all = arena.list(&[one, arena.object(Vec::new()), take(&b), one, take(&a)]);
        prop_assert_eq!(all.to_shared(), all.to_value());
    }

    #[test]
    fn objects_and_sets_are_put_in_order(keys in prop::collection::vec("[a-d]", 0..8)) {
        let arena = Arena::default();
        let fields = keys.iter().enumerate().map(|(at, key)| (Val::Text(key), Val::number(at)));
        let last: BTreeMap<Value, Value> =
            keys.iter().enumerate().map(|(at, key)| (key.as_str().into(), at.into())).collect();
        prop_assert_eq!(arena.object(fields.collect()).to_value(), Value::from(last));
        let all: BTreeSet<Value> = keys.iter().map(|key| key.as_str().into()).collect();
        let set = arena.set(keys.iter().map(|key| Val::Text(key)).collect());
        prop_assert_eq!(set.to_value(), Value::from(all));
    }
}
