//! What the terms of a prepared pack come down to.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::OnceLock;

use regorus::unstable::BoolOp;
use regorus::{LimitError, Value};

use super::Builtin;
use super::run::{Got, Term};
use super::session::Stop;

pub(super) fn failed<T>(why: &str) -> Result<T, Stop> {
    Err(Stop::Failed(why.to_owned()))
}

pub(super) fn address_key() -> &'static Value {
    static ADDRESS: OnceLock<Value> = OnceLock::new();
    ADDRESS.get_or_init(|| "address".into())
}

pub(super) fn truth<'p>(it_is: bool) -> Term<'p> {
    static BOTH: [Value; 2] = [Value::Bool(false), Value::Bool(true)];
    let [no, yes] = &BOTH;
    Cow::Borrowed(if it_is { yes } else { no })
}

pub(super) fn compare(op: &BoolOp, a: &Value, b: &Value) -> bool {
    match (op, a.cmp(b)) {
        (BoolOp::Eq, _) => a == b,
        (BoolOp::Ne, _) => a != b,
        (BoolOp::Lt, order) => order == Ordering::Less,
        (BoolOp::Le, order) => order != Ordering::Greater,
        (BoolOp::Gt, order) => order == Ordering::Greater,
        (BoolOp::Ge, order) => order != Ordering::Less,
    }
}

pub(super) fn there(value: &Value) -> Option<&Value> {
    (*value != Value::Undefined).then_some(value)
}

pub(super) fn part<'p>(of: Term<'p>, key: &Value) -> Option<Term<'p>> {
    match of {
        Cow::Borrowed(of) => there(&of[key]).map(Cow::Borrowed),
        Cow::Owned(of) => there(&of[key]).cloned().map(Cow::Owned),
    }
}

/// `object.get`.
pub(super) fn get<'p>(object: Term<'p>, key: &Value, fallback: Term<'p>) -> Option<Term<'p>> {
    match object {
        Cow::Borrowed(of @ Value::Object(_)) => {
            Some(under(of, key).map_or(fallback, Cow::Borrowed))
        }
        Cow::Owned(of @ Value::Object(_)) => {
            Some(under(&of, key).cloned().map_or(fallback, Cow::Owned))
        }
        _ => None,
    }
}

/// What is under a key, or at the end of a path.
fn under<'v>(of: &'v Value, key: &Value) -> Option<&'v Value> {
    match key {
        Value::Array(path) => path.iter().try_fold(of, |at, key| there(&at[key])),
        key => there(&of[key]),
    }
}

/// What a function gave that was given something for a short time only.
pub(super) fn kept<'p>(said: Cow<'_, Value>) -> Term<'p> {
    Cow::Owned(said.into_owned())
}

/// What a function of Rego itself says.
pub(super) fn said<'p>(builtin: &Builtin, given: &[Value]) -> Got<'p> {
    let said = builtin.function.0(&builtin.span, &builtin.parameters, given, false);
    owned(said.map_err(|e| (e.is::<LimitError>(), e.to_string())))
}

/// What the interpreter's own functions say. One that fails is undefined, but where a limit is the
/// reason, and where the interpreter gives up.
pub(super) fn owned<'p>(said: Result<Value, (bool, String)>) -> Got<'p> {
    match said {
        Ok(Value::Undefined) | Err((false, _)) => Ok(None),
        Ok(value) => Ok(Some(Cow::Owned(value))),
        Err((true, why)) => Err(Stop::Failed(why)),
    }
}
