//! Writes values as Terraform's own syntax has them. Whatever is in a text, it stays that text:
//! nothing in it ends its quotes, begins a line or is evaluated.

use std::fmt::Write as _;

use serde_json::Value;
use slipway_domain::deployment::Variables;

/// A file of values.
pub(crate) fn values(variables: &Variables) -> String {
    let mut out = String::new();
    for (name, value) in variables {
        out.push_str(name);
        out.push_str(" = ");
        write(value, 0, &mut out);
        out.push('\n');
    }
    out
}

fn write(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(text) => quote(text, out),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push_str("[\n");
            for item in items {
                indent(depth + 1, out);
                write(item, depth + 1, out);
                out.push_str(",\n");
            }
            indent(depth, out);
            out.push(']');
        }
        Value::Object(fields) if fields.is_empty() => out.push_str("{}"),
        Value::Object(fields) => {
            out.push_str("{\n");
            for (name, value) in fields {
                indent(depth + 1, out);
                // In quotes, a name is never taken for a reference.
                quote(name, out);
                out.push_str(" = ");
                write(value, depth + 1, out);
                out.push('\n');
            }
            indent(depth, out);
            out.push('}');
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut signs = text.chars().peekable();
    while let Some(c) = signs.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Before a brace they would begin a template. As an escape they never do, whatever
            // stands before them.
            '$' if signs.peek() == Some(&'{') => out.push_str("\\u0024"),
            '%' if signs.peek() == Some(&'{') => out.push_str("\\u0025"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::hcl::declare::Given;
    use crate::hcl::native;
    use crate::hcl::place::Text;

    fn back(variables: &Variables) -> Variables {
        let text = values(variables);
        let read = native::values(&Text::new("x.tfvars", &text)).unwrap_or_else(|e| {
            panic!("{e:?}\n{text}");
        });
        let read = read.into_iter().map(|(name, given)| match given {
            Given::Literal(value) => (name, value),
            Given::Expression => panic!("it would be evaluated:\n{text}"),
        });
        read.collect()
    }

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        for text in [
            "\"\nevil = \"1",
            "${file(\"/etc/passwd\")}",
            "$${x}",
            "$$${x}",
            "%{ if true }x%{ endif }",
            "%%{x}",
            "\\",
            "\\\"",
            "\\${x}",
            "a\r\nb\tc\0d\u{7f}\u{85}\u{2028}e",
            "<<EOT\nx\nEOT",
            "# comment",
            "/* x",
            "日本語 ünïcødé 👩‍🚀 \u{202e}",
            "$",
            "$ {",
            "${",
            "%{",
            "",
        ] {
            let variables: Variables =
                [("x".to_owned(), json!(text)), ("y".to_owned(), json!({ text: [text] }))].into();
            assert_eq!(back(&variables), variables, "{text:?}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            "[\\$%{}\"\\\\\n\r a-c#/*<~]{0,12}",
            prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i32>().prop_map(|n| Value::from(f64::from(n) + 0.5)),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(
            variables in prop::collection::btree_map("[a-z][a-z0-9_]{0,8}", any_value(), 0..5)
        ) {
            prop_assume!(!variables.keys().any(|k| ["null", "true", "false"].contains(&k.as_str())));
            let variables: Variables = variables.into_iter().collect();
            prop_assert_eq!(back(&variables), variables);
        }
    }
}
