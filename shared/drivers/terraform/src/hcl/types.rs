//! Terraform's type constraints: `list(string)`, `object({…})` and so on.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, FuncCall, ObjectKey};

use super::convert;

/// A type constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// Anything.
    Any,
    /// Text.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A sequence of one type.
    List(Box<Type>),
    /// A sequence of one type, without order.
    Set(Box<Type>),
    /// Names to values of one type.
    Map(Box<Type>),
    /// A sequence of a fixed length.
    Tuple(Vec<Type>),
    /// Named attributes.
    Object(BTreeMap<String, Field>),
}

/// An attribute of an object type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its type.
    pub(crate) kind: Type,
    /// Whether it may be absent.
    pub(crate) optional: bool,
    /// The default as it is written, when there is one.
    pub(crate) default: Option<String>,
}

/// Why a type constraint is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadType {
    /// What is wrong and what would be right.
    pub(crate) detail: String,
    /// Where in the text.
    pub(crate) span: Option<Range<usize>>,
}

const KEYWORDS: [&str; 9] =
    ["any", "string", "number", "bool", "list", "set", "map", "tuple", "object"];

impl Type {
    /// Reads a constraint from its text.
    pub(crate) fn parse(text: &str) -> Result<Self, BadType> {
        let expr = hcl_edit::parser::parse_expr(text.trim())
            .map_err(|error| BadType { detail: error.message().to_owned(), span: None })?;
        Self::read(&expr, text.trim())
    }

    /// Reads a constraint from an expression of `text`.
    pub(crate) fn read(expr: &Expression, text: &str) -> Result<Self, BadType> {
        let bad = |detail: String| BadType { detail, span: expr.span() };
        match expr {
            Expression::Variable(name) => match name.as_str() {
                "any" => Ok(Self::Any),
                "string" => Ok(Self::String),
                "number" => Ok(Self::Number),
                "bool" => Ok(Self::Bool),
                // Short for `…(any)`; Terraform still takes these two.
                "list" => Ok(Self::List(Box::new(Self::Any))),
                "map" => Ok(Self::Map(Box::new(Self::Any))),
                word @ ("set" | "tuple" | "object") => {
                    Err(bad(format!("the type constructor {word} needs one argument")))
                }
                other => Err(bad(unknown(other))),
            },
            Expression::FuncCall(call) => Self::constructor(call, text, &bad),
            Expression::Parenthesis(inner) => Self::read(inner.inner(), text),
            Expression::String(quoted) => Err(bad(format!(
                "a type constraint is written without quotes: {}",
                quoted.value().chars().take(80).collect::<String>()
            ))),
            _ => Err(bad(
                "a type is a keyword like string or a constructor like list(string)".into()
            )),
        }
    }

    fn constructor(
        call: &FuncCall,
        text: &str,
        bad: &dyn Fn(String) -> BadType,
    ) -> Result<Self, BadType> {
        let name = call.name.name.as_str();
        let args: Vec<&Expression> = call.args.iter().collect();
        if matches!(name, "any" | "string" | "number" | "bool") {
            return Err(bad(format!("the type {name} takes no arguments")));
        }
        if name == "optional" {
            return Err(bad("optional(…) is only for attributes of an object type".into()));
        }
        if !KEYWORDS.contains(&name) || call.name.is_namespaced() {
            return Err(bad(unknown(name)));
        }
        let [arg] = args.as_slice() else {
            return Err(bad(format!("the type constructor {name} needs one argument")));
        };
        let one = || Ok(Box::new(Self::read(arg, text)?));
        match (name, *arg) {
            ("list", _) => Ok(Self::List(one()?)),
            ("set", _) => Ok(Self::Set(one()?)),
            ("map", _) => Ok(Self::Map(one()?)),
            ("tuple", Expression::Array(items)) => Ok(Self::Tuple(
                items.iter().map(|i| Self::read(i, text)).collect::<Result<_, _>>()?,
            )),
            ("tuple", _) => {
                Err(bad("tuple needs a list of types, like tuple([string, number])".into()))
            }
            (_, Expression::Object(fields)) => {
                let mut read = BTreeMap::new();
                for (key, item) in fields {
                    let key = match key {
                        ObjectKey::Ident(name) => name.as_str().to_owned(),
                        ObjectKey::Expression(Expression::String(name)) => name.value().clone(),
                        ObjectKey::Expression(_) => {
                            return Err(bad("an attribute's name must be a plain word".into()));
                        }
                    };
                    read.insert(key, Field::read(item.expr(), text)?);
                }
                Ok(Self::Object(read))
            }
            _ => Err(bad("object needs attributes, like object({ name = string })".into())),
        }
    }

    /// What a value of it is called in a message, e.g. `a list of strings`.
    pub(crate) fn noun(&self) -> String {
        match self {
            Self::Any => "any value".into(),
            Self::String => "a string".into(),
            Self::Number => "a number".into(),
            Self::Bool => "a bool".into(),
            Self::List(_) => format!("a list ({self})"),
            Self::Set(_) => format!("a set ({self})"),
            Self::Map(_) => format!("a map ({self})"),
            Self::Tuple(items) => format!("a list of exactly {} values", items.len()),
            Self::Object(_) => "an object".into(),
        }
    }
}

impl Field {
    fn read(expr: &Expression, text: &str) -> Result<Self, BadType> {
        let Expression::FuncCall(call) = expr else {
            return Ok(Self { kind: Type::read(expr, text)?, optional: false, default: None });
        };
        if call.name.is_namespaced() || call.name.name.as_str() != "optional" {
            return Ok(Self { kind: Type::read(expr, text)?, optional: false, default: None });
        }
        let args: Vec<&Expression> = call.args.iter().collect();
        match args.as_slice() {
            [kind] => Ok(Self { kind: Type::read(kind, text)?, optional: true, default: None }),
            [kind, default] => {
                let default = default.span().and_then(|span| text.get(span)).map(str::to_owned);
                Ok(Self { kind: Type::read(kind, text)?, optional: true, default })
            }
            _ => Err(BadType {
                detail: "optional takes a type and, if you like, a default".into(),
                span: expr.span(),
            }),
        }
    }
}

fn unknown(word: &str) -> String {
    let word: String = word.chars().take(80).collect();
    let hint = convert::nearest(&word, KEYWORDS).map_or_else(
        || format!("; types are {}", KEYWORDS.join(", ")),
        |near| format!("; did you mean {near:?}?"),
    );
    format!("{word:?} is not a type{hint}")
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::String => f.write_str("string"),
            Self::Number => f.write_str("number"),
            Self::Bool => f.write_str("bool"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Set(item) => write!(f, "set({item})"),
            Self::Map(item) => write!(f, "map({item})"),
            Self::Tuple(items) => {
                f.write_str("tuple([")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("])")
            }
            Self::Object(fields) if fields.is_empty() => f.write_str("object({})"),
            Self::Object(fields) => {
                f.write_str("object({")?;
                for (i, (name, field)) in fields.iter().enumerate() {
                    f.write_str(if i == 0 { " " } else { ", " })?;
                    if hcl_edit::Ident::try_new(name.as_str()).is_ok() {
                        f.write_str(name)?;
                    } else {
                        write!(f, "{}", hcl_edit::expr::Expression::from(name.as_str()))?;
                    }
                    match (&field.default, field.optional) {
                        (Some(default), _) => write!(f, " = optional({}, {default})", field.kind)?,
                        (None, true) => write!(f, " = optional({})", field.kind)?,
                        (None, false) => write!(f, " = {}", field.kind)?,
                    }
                }
                f.write_str(" })")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constraint_reads_and_prints_as_itself() {
        for text in [
            "any",
            "list(set(map(number)))",
            "tuple([string, bool])",
            "object({})",
            "object({ a = string, b-c = optional(number, 3), d = optional(list(string)) })",
            "map(object({ x = optional(object({ y = bool }), { y = true }) }))",
        ] {
            let kind = Type::parse(text).unwrap();
            assert_eq!(kind.to_string(), text);
            assert_eq!(Type::parse(&kind.to_string()).unwrap(), kind);
        }
        assert_eq!(Type::parse("list").unwrap().to_string(), "list(any)");
        let multi = "object({\n  a = string # the name\n  \"b\" = optional(string, \"x,)\")\n})";
        assert_eq!(
            Type::parse(multi).unwrap().to_string(),
            "object({ a = string, b = optional(string, \"x,)\") })"
        );
    }

    #[test]
    fn what_is_no_type_says_what_would_be() {
        for (text, hint) in [
            ("strng", "did you mean \"string\""),
            ("\"string\"", "without quotes"),
            ("list()", "needs one argument"),
            ("string(x)", "takes no arguments"),
            ("object([string])", "needs attributes"),
            ("tuple(string)", "needs a list of types"),
            ("optional(string)", "only for attributes"),
            ("lisst(string)", "did you mean \"list\""),
            ("1", "a type is a keyword"),
            ("set", "needs one argument"),
        ] {
            let bad = Type::parse(text).unwrap_err();
            assert!(bad.detail.contains(hint), "{text}: {}", bad.detail);
        }
    }
}
