//! What the terms of a prepared pack come down to.

use std::cmp::Ordering;

use regorus::unstable::BoolOp;
use regorus::{LimitError, Value};

use super::Builtin;
use super::run::{Got, Stop};
use crate::values::{Arena, Val};

pub(super) fn failed<T>(why: &str) -> Result<T, Stop> {
    Err(Stop::Failed(why.to_owned()))
}

pub(super) fn compare(op: &BoolOp, a: Val<'_>, b: Val<'_>) -> bool {
    match op {
        BoolOp::Eq => a == b,
        BoolOp::Ne => a != b,
        BoolOp::Lt => a.cmp(&b) == Ordering::Less,
        BoolOp::Le => a.cmp(&b) != Ordering::Greater,
        BoolOp::Gt => a.cmp(&b) == Ordering::Greater,
        BoolOp::Ge => a.cmp(&b) != Ordering::Less,
    }
}

/// `object.get`: what is under a key, or at the end of a path.
pub(super) fn get<'p>(object: Val<'p>, key: Val<'p>, fallback: Val<'p>) -> Option<Val<'p>> {
    let Val::Object(_) = object else { return None };
    let found = match key {
        Val::List(path) => path.iter().try_fold(object, |at, key| at.get(*key)),
        key => object.get(key),
    };
    Some(found.unwrap_or(fallback))
}

/// What a function of Rego itself says.
pub(super) fn said<'p>(builtin: &Builtin, given: &[Val<'p>], arena: &'p Arena) -> Got<'p> {
    let given: Vec<Value> = given.iter().map(|one| one.to_value()).collect();
    let said = builtin.function.0(&builtin.span, &builtin.parameters, &given, false);
    owned(said.map_err(|e| (e.is::<LimitError>(), e.to_string())), arena)
}

/// What the interpreter's own functions say. One that fails is undefined, but where a limit is the
/// reason, and where the interpreter gives up.
pub(super) fn owned(said: Result<Value, (bool, String)>, arena: &Arena) -> Got<'_> {
    match said {
        Ok(value) => Ok(arena.take(&value)),
        Err((false, _)) => Ok(None),
        Err((true, why)) => Err(Stop::Failed(why)),
    }
}
