//! Small questions about the syntax tree of a policy.

use regorus::unstable::{Expr, Ref, Rule, RuleHead, Span};

/// Whether a term calls a function, outside comprehensions.
pub(crate) fn calls(expr: &Ref<Expr>) -> bool {
    match expr.as_ref() {
        Expr::Call { .. } | Expr::ArithExpr { .. } | Expr::BinExpr { .. } => true,
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().any(calls),
        Expr::Object { fields, .. } => fields.iter().any(|(_, k, v)| calls(k) || calls(v)),
        _ => false,
    }
}

pub(crate) fn file(span: &Span) -> &str {
    span.source.get_path()
}

pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// `a.b.c` of a reference made of plain names only.
pub(crate) fn path_of(expr: &Ref<Expr>) -> Option<String> {
    match expr.as_ref() {
        Expr::Var { span, .. } => Some(span.text().to_owned()),
        Expr::RefDot { refr, field, .. } => Some(format!("{}.{}", path_of(refr)?, field.0.text())),
        Expr::RefBrack { refr, index, .. } => match index.as_ref() {
            Expr::String { value, .. } => {
                Some(format!("{}.{}", path_of(refr)?, value.as_string().ok()?))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The plain names that a reference begins with.
pub(crate) fn prefix_of(expr: &Ref<Expr>) -> Option<String> {
    path_of(expr).or_else(|| match expr.as_ref() {
        Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => prefix_of(refr),
        _ => None,
    })
}

/// Whether a rule adds a member to a set of a plain name.
pub(crate) fn is_set(rule: &Rule) -> bool {
    let Rule::Spec { head: RuleHead::Set { refr, .. }, .. } = rule else { return false };
    matches!(refr.as_ref(), Expr::Var { .. })
}

pub(crate) fn rule_name(rule: &Rule) -> Option<String> {
    let refr = match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. }
            | RuleHead::Set { refr, .. }
            | RuleHead::Func { refr, .. } => refr,
        },
        Rule::Default { refr, .. } => refr,
    };
    Some(prefix_of(refr)?.split('.').next()?.to_owned())
}
