//! The reference: the OpenAPI document as one page of plain HTML, without scripts.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f24}code,.path{font:13px ui-monospace,monospace}h2{border-bottom:1px solid #d0d7de;margin-top:3rem}\
h3{margin-top:2.5rem}table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{border:1px solid #d0d7de;\
padding:.3rem .5rem;text-align:left;vertical-align:top}.method{display:inline-block;min-width:3.5rem;\
font-weight:700}nav li{list-style:none}nav ul{padding:0}@media(prefers-color-scheme:dark){body{background:#0d1117;\
color:#e6edf3}a{color:#58a6ff}td,th,h2{border-color:#30363d}}";

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page.
pub(crate) fn render(api: &OpenApi) -> String {
    let document = serde_json::to_value(api).unwrap_or_default();
    let mut out = String::with_capacity(128 * 1024);
    let title = escape(text(&document["info"]["title"]));
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\
         <h1>{title} <small>{}</small></h1>",
        escape(text(&document["info"]["version"])),
    );
    prose(&mut out, text(&document["info"]["description"]));
    out.push_str(
        "<p>The same as a document for programs: <a href=\"/openapi.json\">/openapi.json</a>; to \
                  try it out: <a href=\"/docs/\">/docs</a>.</p>",
    );
    let tags: Vec<&Value> = document["tags"].as_array().into_iter().flatten().collect();
    contents(&mut out, &document, &tags);
    for tag in &tags {
        let name = text(&tag["name"]);
        let _ = write!(out, "<h2>{}</h2>", escape(name));
        prose(&mut out, text(&tag["description"]));
        for (path, method, operation) in operations(&document, name) {
            describe(&mut out, path, method, operation, &document);
        }
    }
    out.push_str("<h2>Schemas</h2>");
    for (name, schema) in object(&document["components"]["schemas"]) {
        let _ = write!(out, "<h3 id=\"schema-{0}\">{0}</h3>", escape(name));
        prose(&mut out, text(&schema["description"]));
        describe_schema(&mut out, schema);
    }
    out.push_str("</body></html>");
    out
}

fn contents(out: &mut String, document: &Value, tags: &[&Value]) {
    out.push_str("<nav><ul>");
    for tag in tags {
        for (path, method, operation) in operations(document, text(&tag["name"])) {
            let _ = write!(
                out,
                "<li><a class=\"path\" href=\"#{}\"><span class=\"method\">{}</span>{}</a> {}</li>",
                escape(text(&operation["operationId"])),
                method.to_uppercase(),
                escape(path),
                escape(text(&operation["summary"])),
            );
        }
    }
    out.push_str("</ul></nav>");
}

/// The operations with this tag: path, method, operation.
fn operations<'d>(document: &'d Value, tag: &str) -> Vec<(&'d str, &'d str, &'d Value)> {
    let mut found = Vec::new();
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            let tagged =
                operation["tags"].as_array().is_some_and(|tags| tags.iter().any(|t| t == tag));
            if tagged && METHODS.contains(&method.as_str()) {
                found.push((path.as_str(), method.as_str(), operation));
            }
        }
    }
    found
}

fn describe(out: &mut String, path: &str, method: &str, operation: &Value, document: &Value) {
    let _ = write!(
        out,
        "<h3 id=\"{id}\">{summary}</h3><p class=\"path\"><span class=\"method\">{method}</span>{path}</p>",
        id = escape(text(&operation["operationId"])),
        summary = escape(text(&operation["summary"])),
        method = method.to_uppercase(),
        path = escape(path),
    );
    prose(out, text(&operation["description"]));
    let parameters: Vec<&Value> =
        operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        out.push_str("<table><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr>");
        for parameter in parameters {
            let _ = write!(
                out,
                "<tr><td><code>{}</code>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(text(&parameter["name"])),
                if parameter["required"] == true { " *" } else { "" },
                escape(text(&parameter["in"])),
                kind(&parameter["schema"]),
                inline(text(&parameter["description"])),
            );
        }
        out.push_str("</table>");
    }
    contents_of(out, "body", &operation["requestBody"]);
    out.push_str("<table><tr><th>status</th><th>answer</th><th></th></tr>");
    for (status, response) in object(&operation["responses"]) {
        let response = resolve(response, document);
        let bodies: Vec<String> = object(&response["content"])
            .map(|(media, content)| format!("{} {}", escape(media), kind(&content["schema"])))
            .collect();
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(status),
            bodies.join("<br>"),
            inline(text(&response["description"])),
        );
    }
    out.push_str("</table>");
}

fn contents_of(out: &mut String, what: &str, body: &Value) {
    for (media, content) in object(&body["content"]) {
        let _ = write!(
            out,
            "<p>{what}: <code>{}</code> {}</p>",
            escape(media),
            kind(&content["schema"])
        );
    }
}

fn describe_schema(out: &mut String, schema: &Value) {
    for key in ["oneOf", "allOf", "anyOf"] {
        for (number, part) in schema[key].as_array().into_iter().flatten().enumerate() {
            if number > 0 {
                out.push_str(if key == "allOf" { "<p>and</p>" } else { "<p>or</p>" });
            }
            match part["$ref"].as_str() {
                Some(_) => {
                    let _ = write!(out, "<p>{}</p>", kind(part));
                }
                None => describe_schema(out, part),
            }
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().map(|v| format!("<code>{}</code>", escape(&shown(v)))).collect();
        let _ = write!(out, "<p>one of {}</p>", values.join(" "));
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut properties = object(&schema["properties"]).peekable();
    if properties.peek().is_some() {
        out.push_str("<table><tr><th>field</th><th>type</th><th></th></tr>");
        for (name, property) in properties {
            let _ = write!(
                out,
                "<tr><td><code>{}</code>{}</td><td>{}</td><td>{}</td></tr>",
                escape(name),
                if required.contains(&name.as_str()) { " *" } else { "" },
                kind(property),
                inline(text(&property["description"])),
            );
        }
        out.push_str("</table>");
    } else if schema["type"].is_string() && schema["enum"].is_null() {
        let _ = write!(out, "<p>{}</p>", kind(schema));
    }
}

/// The type of a schema in a few words, with links to what it names.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escape(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[key].as_array() {
            let parts: Vec<String> = parts.iter().map(kind).collect();
            return parts.join(if key == "allOf" { " and " } else { " or " });
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|v| escape(&shown(v))).collect();
        return values.join(" | ");
    }
    if let Some(value) = schema.get("const") {
        return escape(&shown(value));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec!["any"],
    };
    let types: Vec<String> = types
        .into_iter()
        .map(|one| match one {
            "array" => format!("list of {}", kind(&schema["items"])),
            other => escape(other),
        })
        .collect();
    let mut text = types.join(" or ");
    for (key, label) in [("minimum", "≥"), ("maximum", "≤"), ("pattern", "like"), ("format", "")]
    {
        if !schema[key].is_null() {
            let _ = write!(text, " <small>{label} {}</small>", escape(&shown(&schema[key])));
        }
    }
    text
}

fn resolve<'d>(value: &'d Value, document: &'d Value) -> &'d Value {
    match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => document.pointer(pointer).unwrap_or(value),
        None => value,
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Paragraphs and lists of Markdown, as far as our descriptions use it.
fn prose(out: &mut String, markdown: &str) {
    for block in markdown.split("\n\n").filter(|block| !block.trim().is_empty()) {
        if block.starts_with("- ") {
            out.push_str("<ul>");
            for item in block.trim_start_matches("- ").split("\n- ") {
                let _ = write!(out, "<li>{}</li>", inline(item));
            }
            out.push_str("</ul>");
        } else {
            let _ = write!(out, "<p>{}</p>", inline(block));
        }
    }
}

/// Escapes, and turns `code` into code.
fn inline(markdown: &str) -> String {
    let mut out = String::new();
    for (number, part) in markdown.split('`').enumerate() {
        if number % 2 == 1 {
            let _ = write!(out, "<code>{}</code>", escape(part));
        } else {
            out.push_str(&escape(part));
        }
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_schema_is_on_the_page() {
        let api = crate::openapi();
        let page = render(&api);
        let document = serde_json::to_value(&api).unwrap();
        for (path, item) in object(&document["paths"]) {
            assert!(page.contains(&escape(path)), "{path}");
            for (_, operation) in object(item) {
                let id = text(&operation["operationId"]);
                assert!(page.contains(&format!("<h3 id=\"{id}\">")), "{id}");
            }
        }
        for (name, _) in object(&document["components"]["schemas"]) {
            assert!(page.contains(&format!("id=\"schema-{name}\"")), "{name}");
        }
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("cdn"));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(inline("a <b> `c & d`"), "a &lt;b&gt; <code>c &amp; d</code>");
    }
}
