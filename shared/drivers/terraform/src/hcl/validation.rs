//! Reads `validation` blocks: turns their conditions into rules that can be checked without the
//! tool. What it does not know stays text and is left to the tool.

use hcl_edit::Span as _;
use hcl_edit::expr::{BinaryOperator, Expression, FuncCall, TraversalOperator, UnaryOperator};
use hcl_edit::structure::Body;
use serde_json::{Number, Value};
use slipway_domain::template::{Bound, Constraint, Rule};

use super::place::Text;
use super::{literal, pattern};

/// Deepest nesting of a condition that is read.
const MAX_DEPTH: usize = 32;
/// Longest condition that is shown, in characters.
const MAX_SHOWN: usize = 2000;
/// Most rules in the condition of a choice.
const MAX_CHOICE: usize = 32;
/// Most blocks of one variable that are read.
const MAX_BLOCKS: usize = 50;

/// The `validation` blocks in the body of the variable `name`.
pub(crate) fn of_body(text: &Text<'_>, name: &str, body: &Body) -> Vec<Constraint> {
    let blocks = body.get_blocks("validation").take(MAX_BLOCKS);
    blocks
        .filter_map(|block| {
            let condition = &block.body.get_attribute("condition")?.value;
            let written = condition.span().and_then(|span| text.text.get(span)).unwrap_or_default();
            let message = block.body.get_attribute("error_message");
            let message = message.and_then(|message| literal::text(&message.value));
            Some(constraint(name, condition, written, message))
        })
        .collect()
}

/// A condition of the JSON syntax, which is a template with nothing but one expression in it.
pub(crate) fn of_json(name: &str, condition: &str, message: Option<String>) -> Constraint {
    let inner = condition.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match inner.map(|inner| (inner, hcl_edit::parser::parse_expr(inner.trim()))) {
        Some((inner, Ok(expr))) => constraint(name, &expr, inner, message),
        _ => unread(condition, message),
    }
}

/// A condition that is left to the tool.
pub(crate) fn unread(written: &str, message: Option<String>) -> Constraint {
    let words: Vec<_> = written.split_whitespace().collect();
    let expression = words.join(" ").chars().take(MAX_SHOWN).collect();
    Constraint { rules: Vec::new(), complete: false, expression, message }
}

fn constraint(
    name: &str,
    condition: &Expression,
    written: &str,
    message: Option<String>,
) -> Constraint {
    let mut read = Constraint { complete: true, ..unread(written, message) };
    conjuncts(condition, &Subject::Variable(name), &mut read, 0);
    read
}

/// What a condition is about.
enum Subject<'a> {
    /// `var.<name>`.
    Variable(&'a str),
    /// The element that a `for` names.
    Element(&'a str),
}

impl Subject<'_> {
    fn is(&self, expr: &Expression) -> bool {
        match (self, expr) {
            (_, Expression::Parenthesis(inner)) => self.is(inner.inner()),
            (Self::Element(name), Expression::Variable(found)) => found.as_str() == *name,
            (Self::Variable(name), Expression::Traversal(traversal)) => {
                let root =
                    matches!(&traversal.expr, Expression::Variable(v) if v.as_str() == "var");
                let [operator] = traversal.operators.as_slice() else { return false };
                root && matches!(operator.value(),
                    TraversalOperator::GetAttr(found) if found.as_str() == *name)
            }
            _ => false,
        }
    }
}

/// Takes a condition apart where all parts must hold, so that what is known of it is used although
/// the rest is not: where one part is false, Terraform never says yes.
fn conjuncts(expr: &Expression, subject: &Subject<'_>, into: &mut Constraint, depth: usize) {
    match expr {
        Expression::Parenthesis(inner) if depth < MAX_DEPTH => {
            conjuncts(inner.inner(), subject, into, depth + 1);
        }
        Expression::BinaryOp(op)
            if *op.operator.value() == BinaryOperator::And && depth < MAX_DEPTH =>
        {
            conjuncts(&op.lhs_expr, subject, into, depth + 1);
            conjuncts(&op.rhs_expr, subject, into, depth + 1);
        }
        other => match rule(other, subject, depth) {
            Some(Rule::AllOf(mut rules)) => into.rules.append(&mut rules),
            Some(rule) => into.rules.push(rule),
            None => into.complete = false,
        },
    }
}

/// The rule that says just what `expr` says; `None` when there is none.
fn rule(expr: &Expression, subject: &Subject<'_>, depth: usize) -> Option<Rule> {
    if depth > MAX_DEPTH {
        return None;
    }
    let inner = |expr: &Expression| rule(expr, subject, depth + 1);
    match expr {
        Expression::Parenthesis(expr) => inner(expr.inner()),
        Expression::UnaryOp(op) if *op.operator.value() == UnaryOperator::Not => {
            Some(not(inner(&op.expr)?))
        }
        Expression::Conditional(choice) => {
            let condition = inner(&choice.cond_expr)?;
            // It is there twice below, and may be such a choice itself.
            if size(&condition) > MAX_CHOICE {
                return None;
            }
            let constant = |expr: &Expression| literal::value(expr).and_then(|v| v.as_bool());
            let (yes, no) = (&choice.true_expr, &choice.false_expr);
            match (constant(yes), constant(no)) {
                (Some(true), _) => Some(Rule::AnyOf(vec![condition, inner(no)?])),
                (_, Some(true)) => Some(Rule::AnyOf(vec![not(condition), inner(yes)?])),
                _ => Some(Rule::AnyOf(vec![
                    Rule::AllOf(vec![condition.clone(), inner(yes)?]),
                    Rule::AllOf(vec![not(condition), inner(no)?]),
                ])),
            }
        }
        Expression::BinaryOp(op) => match *op.operator.value() {
            BinaryOperator::And => {
                Some(Rule::AllOf(vec![inner(&op.lhs_expr)?, inner(&op.rhs_expr)?]))
            }
            BinaryOperator::Or => {
                Some(Rule::AnyOf(vec![inner(&op.lhs_expr)?, inner(&op.rhs_expr)?]))
            }
            operator => compared(&op.lhs_expr, operator, &op.rhs_expr, subject)
                .or_else(|| compared(&op.rhs_expr, turned(operator)?, &op.lhs_expr, subject)),
        },
        Expression::FuncCall(call) => function(call, subject, depth),
        other if subject.is(other) => Some(Rule::OneOf(vec![Value::Bool(true)])),
        _ => None,
    }
}

/// How many rules there are in a rule.
fn size(rule: &Rule) -> usize {
    match rule {
        Rule::AllOf(rules) | Rule::AnyOf(rules) => 1 + rules.iter().map(size).sum::<usize>(),
        Rule::Not(rule) | Rule::Items(rule) => 1 + size(rule),
        _ => 1,
    }
}

fn not(rule: Rule) -> Rule {
    match rule {
        Rule::Not(inner) => *inner,
        other => Rule::Not(Box::new(other)),
    }
}

/// The operator with its sides changed over.
fn turned(operator: BinaryOperator) -> Option<BinaryOperator> {
    use BinaryOperator as B;
    Some(match operator {
        B::Eq => B::Eq,
        B::NotEq => B::NotEq,
        B::Less => B::Greater,
        B::LessEq => B::GreaterEq,
        B::Greater => B::Less,
        B::GreaterEq => B::LessEq,
        _ => return None,
    })
}

/// `left operator right`, where the left side is about the subject and the right one is a literal.
fn compared(
    left: &Expression,
    operator: BinaryOperator,
    right: &Expression,
    subject: &Subject<'_>,
) -> Option<Rule> {
    use BinaryOperator as B;
    if is_whole(left, operator, right, subject) {
        return Some(Rule::Integer(true));
    }
    let right = exact(right)?;
    if subject.is(left) {
        return Some(match (operator, right) {
            (B::Eq, Value::Null) => Rule::Null(true),
            (B::NotEq, Value::Null) => Rule::Null(false),
            (B::Eq, value) if is_plain(&value) => Rule::OneOf(vec![value]),
            (B::NotEq, value) if is_plain(&value) => not(Rule::OneOf(vec![value])),
            (B::GreaterEq, Value::Number(n)) => Rule::Minimum(Bound(n)),
            (B::Greater, Value::Number(n)) => Rule::ExclusiveMinimum(Bound(n)),
            (B::LessEq, Value::Number(n)) => Rule::Maximum(Bound(n)),
            (B::Less, Value::Number(n)) => Rule::ExclusiveMaximum(Bound(n)),
            _ => return None,
        });
    }
    let n = right.as_i64()?;
    let Expression::FuncCall(call) = bare(left) else { return None };
    let argument = sole(call, "length")?;
    if subject.is(argument) {
        let least = |n: i64| u64::try_from(n.max(0)).ok().map(Rule::MinLength);
        // A length below nothing there is not.
        let most = |n: i64| u64::try_from(n).ok().map(Rule::MaxLength);
        return match operator {
            B::GreaterEq => least(n),
            B::Greater => least(n.checked_add(1)?),
            B::LessEq => most(n),
            B::Less => most(n.checked_sub(1)?),
            B::Eq => Some(Rule::AllOf(vec![least(n)?, most(n)?])),
            B::NotEq => Some(not(Rule::AllOf(vec![least(n)?, most(n)?]))),
            _ => None,
        };
    }
    let Expression::FuncCall(all) = bare(argument) else { return None };
    let found = found_in(all, "regexall", subject)?;
    match (operator, n) {
        (B::Greater | B::NotEq, 0) | (B::GreaterEq, 1) => Some(found),
        (B::Eq | B::LessEq, 0) | (B::Less, 1) => Some(not(found)),
        _ => None,
    }
}

/// `floor(x) == x`, `ceil(x) == x` or `x % 1 == 0`.
fn is_whole(
    left: &Expression,
    operator: BinaryOperator,
    right: &Expression,
    subject: &Subject<'_>,
) -> bool {
    if operator != BinaryOperator::Eq {
        return false;
    }
    match bare(left) {
        Expression::FuncCall(call) => {
            let rounded = sole(call, "floor").or_else(|| sole(call, "ceil"));
            rounded.is_some_and(|x| subject.is(x)) && subject.is(right)
        }
        Expression::BinaryOp(op) => {
            *op.operator.value() == BinaryOperator::Mod
                && subject.is(&op.lhs_expr)
                && exact(&op.rhs_expr) == Some(Value::from(1))
                && exact(right) == Some(Value::from(0))
        }
        _ => false,
    }
}

fn function(call: &FuncCall, subject: &Subject<'_>, depth: usize) -> Option<Rule> {
    if call.name.is_namespaced() || call.args.expand_final() {
        return None;
    }
    let arguments: Vec<&Expression> = call.args.iter().collect();
    match (call.name.name.as_str(), arguments.as_slice()) {
        ("can", [inner]) => match bare(inner) {
            Expression::FuncCall(call) => found_in(call, "regex", subject),
            _ => None,
        },
        ("contains", [list, value]) if subject.is(value) => match bare(list) {
            Expression::Array(items) => {
                let items: Vec<Value> = items.iter().map(exact).collect::<Option<_>>()?;
                items.iter().all(is_plain).then_some(Rule::OneOf(items))
            }
            _ => None,
        },
        ("startswith", [value, with]) if subject.is(value) => {
            literal::text(with).map(Rule::StartsWith)
        }
        ("endswith", [value, with]) if subject.is(value) => literal::text(with).map(Rule::EndsWith),
        ("alltrue", [list]) => match bare(list) {
            Expression::ForExpr(each) => {
                let plain = each.key_expr.is_none()
                    && !each.grouping
                    && each.cond.is_none()
                    && each.intro.key_var.is_none()
                    && subject.is(&each.intro.collection_expr);
                let element = Subject::Element(each.intro.value_var.as_str());
                plain.then_some(())?;
                Some(Rule::Items(Box::new(rule(&each.value_expr, &element, depth + 1)?)))
            }
            _ => None,
        },
        _ => None,
    }
}

/// `regex("…", subject)` and `regexall("…", subject)`, where the expression is a literal and means
/// the same here as in Terraform.
fn found_in(call: &FuncCall, function: &str, subject: &Subject<'_>) -> Option<Rule> {
    if call.name.is_namespaced() || call.name.name.as_str() != function || call.args.expand_final()
    {
        return None;
    }
    let arguments: Vec<&Expression> = call.args.iter().collect();
    let [expression, value] = arguments.as_slice() else { return None };
    if !subject.is(value) {
        return None;
    }
    let expression = literal::text(expression)?;
    pattern::is_known(&expression).then_some(Rule::Pattern(expression))
}

/// The only argument of a call of `function`.
fn sole<'a>(call: &'a FuncCall, function: &str) -> Option<&'a Expression> {
    if call.name.is_namespaced() || call.name.name.as_str() != function || call.args.expand_final()
    {
        return None;
    }
    let mut arguments = call.args.iter();
    let first = arguments.next()?;
    arguments.next().is_none().then_some(first)
}

fn bare(expr: &Expression) -> &Expression {
    match expr {
        Expression::Parenthesis(inner) => bare(inner.inner()),
        other => other,
    }
}

/// A text, a number or a bool.
fn is_plain(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

/// A literal whose value is known to the last digit.
fn exact(expr: &Expression) -> Option<Value> {
    let value = literal::value(expr)?;
    match &value {
        Value::Number(n) if !is_exact(n) => None,
        _ => Some(value),
    }
}

/// Whether a number is small and plain enough that what is read is what was written.
pub(crate) fn is_exact(n: &Number) -> bool {
    const SAFE: u64 = 1 << 53;
    match (n.as_i64(), n.as_f64()) {
        (Some(n), _) => n.unsigned_abs() < SAFE,
        (None, Some(f)) => f.abs() < 1e15 && n.to_string().trim_start_matches('-').len() <= 15,
        (None, None) => false,
    }
}
