//! Addresses of resource instances, taken apart and written as HCL has them.

use std::fmt::{self, Write as _};

/// Longest address that is read, and most modules in it.
const MAX_BYTES: usize = 16 << 10;
const MAX_MODULES: usize = 64;

/// The key of one instance among several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceKey {
    /// Of `count`.
    Index(i64),
    /// Of `for_each`.
    Name(String),
}

/// A resource instance: `module.a["k"].aws_subnet.b[0]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The modules that lead to it, each with its key.
    pub modules: Vec<(String, Option<InstanceKey>)>,
    /// Whether it is a data source.
    pub data: bool,
    /// Its type.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: Option<InstanceKey>,
}

impl Address {
    /// Reads an address as the tool writes it. `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut rest = text;
        let modules = modules(&mut rest)?;
        let mut kind = word(&mut rest)?;
        let data = kind == "data" && rest.starts_with('.');
        if data {
            step(&mut rest)?;
            kind = word(&mut rest)?;
        }
        step(&mut rest)?;
        let name = word(&mut rest)?;
        let key = key(&mut rest)?;
        rest.is_empty().then_some(Self { modules, data, kind, name, key })
    }

    /// Reads the modules' part of an address alone; the empty text is the root module.
    pub(crate) fn modules_of(text: &str) -> Option<Vec<(String, Option<InstanceKey>)>> {
        if text.is_empty() {
            return Some(Vec::new());
        }
        if text.len() > MAX_BYTES {
            return None;
        }
        // As if something were to follow.
        let text = format!("{text}.");
        let mut rest = text.as_str();
        let modules = modules(&mut rest)?;
        (rest.is_empty() && !modules.is_empty()).then_some(modules)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, key) in &self.modules {
            write!(f, "module.{name}")?;
            write_key(key.as_ref(), f)?;
            f.write_char('.')?;
        }
        if self.data {
            f.write_str("data.")?;
        }
        write!(f, "{}.{}", self.kind, self.name)?;
        write_key(self.key.as_ref(), f)
    }
}

fn write_key(key: Option<&InstanceKey>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match key {
        None => Ok(()),
        Some(InstanceKey::Index(index)) => write!(f, "[{index}]"),
        Some(InstanceKey::Name(name)) => write!(f, "[{}]", quoted(name)),
    }
}

/// A string as an HCL literal: nothing in it is a template, and it ends where it ends.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '$' | '%' => {
                out.push(c);
                if rest.peek() == Some(&'{') {
                    out.push(c);
                }
            }
            c if is_printed(c) => out.push(c),
            // Writing to a string cannot fail.
            c if u32::from(c) < 0x1_0000 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// Whether a character can be seen as itself.
fn is_printed(c: char) -> bool {
    c == '\'' || (!c.is_control() && !c.escape_debug().to_string().starts_with("\\u"))
}

fn modules(rest: &mut &str) -> Option<Vec<(String, Option<InstanceKey>)>> {
    let mut modules = Vec::new();
    while let Some(after) = rest.strip_prefix("module.") {
        if modules.len() >= MAX_MODULES {
            return None;
        }
        *rest = after;
        let name = word(rest)?;
        let key = key(rest)?;
        step(rest)?;
        modules.push((name, key));
    }
    Some(modules)
}

fn step(rest: &mut &str) -> Option<()> {
    *rest = rest.strip_prefix('.')?;
    Some(())
}

/// An identifier: letters, digits, `_` and `-`, not beginning with a digit or `-`.
fn word(rest: &mut &str) -> Option<String> {
    let end =
        rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    let first = word.chars().next()?;
    if first.is_numeric() || first == '-' {
        return None;
    }
    *rest = after;
    Some(word.to_owned())
}

/// A key in brackets, if there is one. The outer `None` is a malformed one.
#[expect(clippy::option_option, reason = "there may be none, and it may be malformed")]
fn key(rest: &mut &str) -> Option<Option<InstanceKey>> {
    let Some(inner) = rest.strip_prefix('[') else { return Some(None) };
    let (key, after) = if let Some(text) = inner.strip_prefix('"') {
        let (name, after) = literal(text)?;
        (InstanceKey::Name(name), after)
    } else {
        let end = inner.find(']')?;
        (InstanceKey::Index(inner[..end].parse().ok()?), &inner[end..])
    };
    *rest = after.strip_prefix(']')?;
    Some(Some(key))
}

/// The rest of a quoted literal after its opening quote, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\n' | '\r' => return None,
            '\\' => {
                let digits = match chars.next()?.1 {
                    'n' => {
                        out.push('\n');
                        continue;
                    }
                    'r' => {
                        out.push('\r');
                        continue;
                    }
                    't' => {
                        out.push('\t');
                        continue;
                    }
                    c @ ('"' | '\\') => {
                        out.push(c);
                        continue;
                    }
                    'u' => 4,
                    'U' => 8,
                    _ => return None,
                };
                let mut value = 0u32;
                for _ in 0..digits {
                    value = value.checked_mul(16)? + chars.next()?.1.to_digit(16)?;
                }
                out.push(char::from_u32(value)?);
            }
            '$' | '%' => {
                out.push(c);
                let after = &text[at + 1..];
                if after.starts_with('{') {
                    // A template, which no address has.
                    return None;
                }
                let doubled = after.starts_with(c) && after[1..].starts_with('{');
                if doubled {
                    chars.next();
                }
            }
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_taken_apart() {
        let address = Address::parse(r#"module.net["a.b[\"c\"]"].module.x[2].aws_subnet.b-1["k"]"#);
        let address = address.unwrap();
        assert_eq!(
            address.modules[0],
            ("net".into(), Some(InstanceKey::Name(r#"a.b["c"]"#.into())))
        );
        assert_eq!(address.modules[1], ("x".into(), Some(InstanceKey::Index(2))));
        assert_eq!((address.kind.as_str(), address.name.as_str()), ("aws_subnet", "b-1"));
        assert_eq!(address.key, Some(InstanceKey::Name("k".into())));
        assert!(Address::parse("data.http.x").unwrap().data);
        assert_eq!(Address::parse("data_x.y").unwrap().kind, "data_x");
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "a",
            "a.",
            ".a",
            "a.b.c",
            "a.b[",
            "a.b[]",
            "a.b[x]",
            "a.b[\"x]",
            "a.b[\"x\"",
            "a.b[0]c",
            "a.b[\"${x}\"]",
            "a.b[\"%{x}\"]",
            "a.b[\"\\q\"]",
            "a.b[\"\\ud800\"]",
            "1a.b",
            "a.-b",
            "a.b ",
            "data.x",
            "module.",
            "module.a",
            "module.a.b",
            "a.b[\"x\n\"]",
            "a.b[99999999999999999999]",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
        assert_eq!(Address::parse(&"module.m.".repeat(500)), None);
    }

    #[test]
    fn templates_and_quotes_in_literals_are_only_text() {
        for (text, literal) in [
            ("${file(\"/etc/passwd\")}", r#""$${file(\"/etc/passwd\")}""#),
            ("%{ if true }", r#""%%{ if true }""#),
            ("a\"\n}\nresource \"x\" \"y\" {", r#""a\"\n}\nresource \"x\" \"y\" {""#),
            ("$$${x", r#""$$$${x""#),
            ("$ % $a", r#""$ % $a""#),
            ("\u{0}\u{2028}\u{e0001}é'", "\"\\u0000\\u2028\\U000e0001é'\""),
        ] {
            assert_eq!(quoted(text), literal);
            // HCL's own reader agrees.
            let body: hcl_edit::structure::Body = format!("a = {literal}\n").parse().unwrap();
            let value = &body.get_attribute("a").unwrap().value;
            assert_eq!(value.as_str(), Some(text), "{literal}");
        }
    }

    fn key_strategy() -> impl Strategy<Value = Option<InstanceKey>> {
        prop_oneof![
            Just(None),
            (0i64..1000).prop_map(|i| Some(InstanceKey::Index(i))),
            "\\PC{0,8}|[$%{}\"\\\\\n\t.\\[\\]]{0,8}".prop_map(|s| Some(InstanceKey::Name(s))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            modules in prop::collection::vec(("[a-z][a-z0-9_-]{0,5}", key_strategy()), 0..3),
            kind in "[a-z_]{1,8}", name in "[a-z][a-z0-9_-]{0,8}", key in key_strategy(), data in any::<bool>(),
        ) {
            prop_assume!(kind != "module" && kind != "data");
            let address = Address { modules, data, kind, name, key };
            prop_assert_eq!(Address::parse(&address.to_string()), Some(address.clone()), "{}", address);
            // And it is one expression to HCL.
            if !address.data {
                let text = format!("to = {address}\n");
                prop_assert!(text.parse::<hcl_edit::structure::Body>().is_ok(), "{text}");
            }
        }

        #[test]
        fn any_text_is_an_answer(text in "[a-z.\\[\\]\"\\\\$%{}0-9]{0,30}") {
            if let Some(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(&address.to_string()), Some(address));
            }
        }
    }
}
