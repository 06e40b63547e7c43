//! Values of expressions that are plain literals. What would have to be evaluated is `None`.

use hcl_edit::expr::{Expression, ObjectKey, UnaryOperator};
use hcl_edit::template::Element;
use serde_json::{Number, Value};

/// The value of an expression that is a literal all the way down.
pub(crate) fn value(expr: &Expression) -> Option<Value> {
    Some(match expr {
        Expression::Null(_) => Value::Null,
        Expression::Bool(b) => Value::Bool(*b.value()),
        Expression::Number(n) => number(n.value())?,
        Expression::String(s) => Value::String(s.value().clone()),
        Expression::Array(items) => Value::Array(items.iter().map(value).collect::<Option<_>>()?),
        Expression::Object(fields) => {
            let pairs = fields.iter().map(|(key, item)| {
                let key = match key {
                    ObjectKey::Ident(name) => name.as_str().to_owned(),
                    ObjectKey::Expression(expr) => match value(expr)? {
                        Value::String(text) => text,
                        Value::Number(n) => n.to_string(),
                        Value::Bool(b) => b.to_string(),
                        Value::Null | Value::Array(_) | Value::Object(_) => return None,
                    },
                };
                Some((key, value(item.expr())?))
            });
            Value::Object(pairs.collect::<Option<_>>()?)
        }
        Expression::StringTemplate(template) => Value::String(plain(template.iter())?),
        Expression::HeredocTemplate(heredoc) => Value::String(plain(heredoc.template.iter())?),
        Expression::Parenthesis(inner) => value(inner.inner())?,
        Expression::UnaryOp(op) => match (*op.operator.value(), value(&op.expr)?) {
            (UnaryOperator::Neg, Value::Number(n)) => {
                if let Some(n) = n.as_i64() {
                    Value::from(n.checked_neg()?)
                } else if n.as_u64() == Some(i64::MIN.unsigned_abs()) {
                    Value::from(i64::MIN)
                } else {
                    Value::Number(Number::from_f64(-n.as_f64()?)?)
                }
            }
            (UnaryOperator::Not, Value::Bool(b)) => Value::Bool(!b),
            _ => return None,
        },
        Expression::Variable(_)
        | Expression::Conditional(_)
        | Expression::FuncCall(_)
        | Expression::Traversal(_)
        | Expression::BinaryOp(_)
        | Expression::ForExpr(_) => return None,
    })
}

/// The text of a literal string.
pub(crate) fn text(expr: &Expression) -> Option<String> {
    match value(expr)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn number(n: &hcl_edit::Number) -> Option<Value> {
    if let Some(n) = n.as_i64() {
        return Some(Value::from(n));
    }
    if let Some(n) = n.as_u64() {
        return Some(Value::from(n));
    }
    n.as_f64().and_then(Number::from_f64).map(Value::Number)
}

fn plain<'a>(elements: impl Iterator<Item = &'a Element>) -> Option<String> {
    elements.map(|element| element.as_literal().map(|l| l.as_str().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(text: &str) -> Option<Value> {
        value(&hcl_edit::parser::parse_expr(text).unwrap())
    }

    #[test]
    fn literals_have_values_and_the_rest_has_none() {
        assert_eq!(of("null"), Some(Value::Null));
        assert_eq!(of("-3"), Some(json!(-3)));
        assert_eq!(of("- (2.5)"), Some(json!(-2.5)));
        assert_eq!(of("!true"), Some(json!(false)));
        assert_eq!(
            of("{ a = [1, \"x\", false], \"b c\" : { 1 = null } }"),
            Some(json!({"a": [1, "x", false], "b c": {"1": null}}))
        );
        assert_eq!(of("<<-E\n    a\n      b\n  E"), Some(json!("a\n  b\n")));
        assert_eq!(of(r#""$${x}""#), Some(json!("${x}")));
        for none in ["var.x", "1 + 1", "f()", "\"${x}\"", "[for x in []: x]", "[var.x]"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
