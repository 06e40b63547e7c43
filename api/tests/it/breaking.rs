//! Which differences between two OpenAPI documents break clients.
//!
//! What a client sends must still be taken: no request grows stricter. What it reads must still be
//! there: no answer loses anything. Additions are fine; so are new values in answers, which clients
//! are told to expect.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Who writes what a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Client,
    Server,
}

/// Every breaking difference from `old` to `new`, in words.
pub(crate) fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut differ = Differ { old, new, found: Vec::new(), seen: BTreeSet::new() };
    differ.document();
    differ.found
}

struct Differ<'d> {
    old: &'d Value,
    new: &'d Value,
    found: Vec<String>,
    /// Pairs of references that were compared already; schemas may be recursive.
    seen: BTreeSet<(String, String, By)>,
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl<'d> Differ<'d> {
    fn say(&mut self, at: &str, what: impl AsRef<str>) {
        self.found.push(format!("{at}: {}", what.as_ref()));
    }

    fn document(&mut self) {
        let (old, new) = (self.old, self.new);
        for (path, item) in fields(&old["paths"]) {
            for (method, operation) in fields(item) {
                let at = format!("{} {path}", method.to_uppercase());
                match new["paths"][path].get(method) {
                    None => self.say(&at, "is gone"),
                    Some(now) => self.operation(&at, operation, now),
                }
            }
        }
    }

    fn operation(&mut self, at: &str, old: &'d Value, new: &'d Value) {
        let named = |operation: &'d Value, like: &Value| {
            items(&operation["parameters"])
                .find(|p| p["name"] == like["name"] && p["in"] == like["in"])
        };
        for parameter in items(&old["parameters"]) {
            let at = format!("{at}: parameter {}", parameter["name"]);
            match named(new, parameter) {
                None => self.say(&at, "is gone"),
                Some(now) => {
                    if now["required"] == true && parameter["required"] != true {
                        self.say(&at, "is required now");
                    }
                    self.schema(&at, &parameter["schema"], &now["schema"], By::Client);
                }
            }
        }
        for parameter in items(&new["parameters"]) {
            if parameter["required"] == true && named(old, parameter).is_none() {
                self.say(at, format!("parameter {} is new and required", parameter["name"]));
            }
        }
        let required = |operation: &Value| operation["requestBody"]["required"] == true;
        if required(new) && !required(old) {
            self.say(at, "the body is required now");
        }
        self.contents(
            &format!("{at}: body"),
            &old["requestBody"]["content"],
            &new["requestBody"]["content"],
            By::Client,
        );
        for (status, response) in fields(&old["responses"]) {
            // A refusal may go; that it comes cannot be relied on.
            if !status.starts_with('2') {
                continue;
            }
            let at = format!("{at}: {status}");
            match new["responses"].get(status) {
                None => self.say(&at, "is gone"),
                Some(now) => {
                    let response = resolve(self.old, response).0;
                    let now = resolve(self.new, now).0;
                    for (header, _) in fields(&response["headers"]) {
                        if now["headers"].get(header).is_none() {
                            self.say(&at, format!("header {header} is gone"));
                        }
                    }
                    self.contents(&at, &response["content"], &now["content"], By::Server);
                }
            }
        }
    }

    fn contents(&mut self, at: &str, old: &'d Value, new: &'d Value, by: By) {
        for (kind, content) in fields(old) {
            match new.get(kind) {
                None => self.say(at, format!("{kind} is gone")),
                Some(now) => {
                    self.schema(&format!("{at} {kind}"), &content["schema"], &now["schema"], by);
                }
            }
        }
    }

    fn schema(&mut self, at: &str, old: &'d Value, new: &'d Value, by: By) {
        let (old, old_name) = resolve(self.old, old);
        let (new, new_name) = resolve(self.new, new);
        if let (Some(old_name), Some(new_name)) = (old_name, new_name)
            && !self.seen.insert((old_name.to_owned(), new_name.to_owned(), by))
        {
            return;
        }
        self.types(at, old, new, by);
        self.values(at, old, new, by);
        self.bounds(at, old, new, by);
        self.properties(at, old, new, by);
        if old.get("items").is_some() && new.get("items").is_some() {
            self.schema(&format!("{at}[]"), &old["items"], &new["items"], by);
        }
        for key in ["oneOf", "anyOf", "allOf"] {
            self.variants(at, key, old, new, by);
        }
    }

    fn types(&mut self, at: &str, old: &Value, new: &Value, by: By) {
        let set = |schema: &Value| -> Option<BTreeSet<String>> {
            match &schema["type"] {
                Value::String(one) => Some([one.clone()].into()),
                Value::Array(many) => {
                    Some(many.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect())
                }
                _ => None,
            }
        };
        let fits = match (set(old), set(new), by) {
            (Some(old), Some(new), By::Client) => old.is_subset(&new),
            (Some(old), Some(new), By::Server) => new.is_subset(&old),
            // No type is any type.
            (None, Some(_), By::Client) => old.get("oneOf").is_some() || old.get("allOf").is_some(),
            (Some(_), None, By::Server) => new.get("oneOf").is_some() || new.get("allOf").is_some(),
            _ => true,
        };
        if !fits {
            self.say(at, format!("the type changes from {} to {}", old["type"], new["type"]));
        }
        if by == By::Server && old["format"] != new["format"] && !old["format"].is_null() {
            self.say(at, format!("the format changes from {} to {}", old["format"], new["format"]));
        }
    }

    fn values(&mut self, at: &str, old: &Value, new: &Value, by: By) {
        if by == By::Server {
            return;
        }
        if old.get("enum").is_none() && new.get("enum").is_some() {
            self.say(at, "only certain values are taken now");
        }
        if new.get("enum").is_some() {
            for value in items(&old["enum"]) {
                if !items(&new["enum"]).any(|now| now == value) {
                    self.say(at, format!("the value {value} is not taken any more"));
                }
            }
        }
    }

    fn bounds(&mut self, at: &str, old: &Value, new: &Value, by: By) {
        if by == By::Server {
            return;
        }
        for key in ["minimum", "minLength", "minItems", "minProperties"] {
            let lowest = f64::NEG_INFINITY;
            if new[key].as_f64().unwrap_or(lowest) > old[key].as_f64().unwrap_or(lowest) {
                self.say(at, format!("{key} grows to {}", new[key]));
            }
        }
        for key in ["maximum", "maxLength", "maxItems", "maxProperties"] {
            let highest = f64::INFINITY;
            if new[key].as_f64().unwrap_or(highest) < old[key].as_f64().unwrap_or(highest) {
                self.say(at, format!("{key} shrinks to {}", new[key]));
            }
        }
        if !new["pattern"].is_null() && new["pattern"] != old["pattern"] {
            self.say(at, format!("the pattern becomes {}", new["pattern"]));
        }
        if new["additionalProperties"] == false && old["additionalProperties"] != false {
            self.say(at, "unknown fields are refused now");
        }
    }

    fn properties(&mut self, at: &str, old: &'d Value, new: &'d Value, by: By) {
        let required = |schema: &Value, name: &str| items(&schema["required"]).any(|r| r == name);
        for (name, property) in fields(&old["properties"]) {
            let at = format!("{at}.{name}");
            match new["properties"].get(name) {
                None if by == By::Client && new["additionalProperties"] != false => {}
                None => self.say(&at, "is gone"),
                Some(now) => {
                    match by {
                        By::Client if required(new, name) && !required(old, name) => {
                            self.say(&at, "is required now");
                        }
                        By::Server if required(old, name) && !required(new, name) => {
                            self.say(&at, "may be missing now");
                        }
                        _ => {}
                    }
                    self.schema(&at, property, now, by);
                }
            }
        }
        if by == By::Client {
            for name in items(&new["required"]).filter_map(Value::as_str) {
                if old["properties"].get(name).is_none() {
                    self.say(&format!("{at}.{name}"), "is new and required");
                }
            }
        }
    }

    fn variants(&mut self, at: &str, key: &str, old: &'d Value, new: &'d Value, by: By) {
        let now: Vec<&Value> = items(&new[key]).collect();
        for (number, variant) in items(&old[key]).enumerate() {
            let name =
                Self::name_of(self.old, variant).unwrap_or_else(|| format!("{key} {number}"));
            let same = now.iter().enumerate().find(|(at, candidate)| {
                let other = Self::name_of(self.new, candidate);
                other.unwrap_or_else(|| format!("{key} {at}")) == name
            });
            match same {
                None => self.say(at, format!("the variant {name} is gone")),
                Some((_, now)) => self.schema(&format!("{at}<{name}>"), variant, now, by),
            }
        }
    }

    /// What tells a variant from others: its reference, its tag, its type.
    fn name_of(document: &Value, variant: &Value) -> Option<String> {
        if let Some(reference) = variant["$ref"].as_str() {
            return reference.rsplit('/').next().map(str::to_owned);
        }
        for part in std::iter::once(variant).chain(items(&variant["allOf"])) {
            let part = resolve(document, part).0;
            for (_, property) in fields(&part["properties"]) {
                if let Some([one]) = property["enum"].as_array().map(Vec::as_slice) {
                    return Some(one.to_string());
                }
            }
        }
        variant["type"].as_str().filter(|t| *t == "null").map(str::to_owned)
    }
}

/// What a reference leads to, and its name.
fn resolve<'d>(document: &'d Value, schema: &'d Value) -> (&'d Value, Option<&'d str>) {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let target = document.pointer(reference.trim_start_matches('#')).unwrap_or(schema);
            (target, Some(reference))
        }
        None => (schema, None),
    }
}

/// A small document with everything in it that matters here.
fn sample() -> Value {
    json!({
        "paths": {"/things": {
            "post": {
                "parameters": [
                    {"name": "dry", "in": "query", "schema": {"type": "boolean"}},
                    {"name": "size", "in": "query", "schema": {"type": "integer", "maximum": 10}},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/New"}}}},
                "responses": {
                    "201": {
                        "headers": {"Location": {}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    },
                    "404": {"description": "none"},
                },
            },
            "get": {"responses": {"200": {"content": {"application/json": {"schema": {
                "type": "array", "items": {"$ref": "#/components/schemas/Thing"},
            }}}}}},
        }},
        "components": {"schemas": {
            "New": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 9},
                    "kind": {"type": "string", "enum": ["a", "b"]},
                    "from": {"oneOf": [
                        {"type": "object", "properties": {"type": {"enum": ["x"]}}},
                        {"type": "object", "properties": {"type": {"enum": ["y"]}, "path": {"type": "string"}}},
                    ]},
                },
            },
            "Thing": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string"},
                    "state": {"type": "string", "enum": ["on", "off"]},
                    "parent": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Thing"}]},
                },
            },
        }},
    })
}

fn after(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let old = sample();
    let mut new = old.clone();
    change(&mut new);
    assert_ne!(old, new, "the test changes nothing");
    changes(&old, &new)
}

fn at<'v>(document: &'v mut Value, pointer: &str) -> &'v mut Value {
    document.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}"))
}

fn remove(document: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match at(document, parent) {
        Value::Object(fields) => {
            fields.remove(&key.replace("~1", "/")).unwrap();
        }
        Value::Array(items) => {
            items.remove(key.parse().unwrap());
        }
        other => panic!("{other}"),
    }
}

const POST: &str = "/paths/~1things/post";
const NEW: &str = "/components/schemas/New";
const THING: &str = "/components/schemas/Thing";

#[test]
fn the_same_breaks_nothing() {
    assert_eq!(changes(&sample(), &sample()), Vec::<String>::new());
}

#[test]
fn what_goes_breaks() {
    for (pointer, said) in [
        ("/paths/~1things".to_owned(), "GET /things: is gone"),
        (POST.to_owned(), "POST /things: is gone"),
        (format!("{POST}/parameters/0"), "parameter \"dry\": is gone"),
        (format!("{POST}/requestBody/content/application~1json"), "application/json is gone"),
        (format!("{POST}/responses/201"), "201: is gone"),
        (format!("{POST}/responses/201/headers/Location"), "header Location is gone"),
        (format!("{POST}/responses/201/content/application~1json"), "application/json is gone"),
        (format!("{NEW}/properties/kind"), ".kind: is gone"),
        (format!("{NEW}/properties/kind/enum/0"), "the value \"a\" is not taken"),
        (format!("{NEW}/properties/from/oneOf/0"), "the variant \"x\" is gone"),
        (format!("{NEW}/properties/from/oneOf/1/properties/path"), ""),
        (format!("{THING}/properties/state"), ".state: is gone"),
        (format!("{THING}/required/0"), ".id: may be missing now"),
    ] {
        let found = after(|new| remove(new, &pointer));
        if said.is_empty() {
            assert!(found.is_empty(), "{pointer}: {found:?}");
        } else {
            assert!(found.iter().any(|f| f.contains(said)), "{pointer}: {found:?}");
        }
    }
}

/// What is done to the document, and what it is called.
type Change = (&'static str, Box<dyn FnOnce(&mut Value)>);

#[test]
fn what_grows_stricter_breaks() {
    let changes: Vec<Change> = vec![
        (
            "is new and required",
            Box::new(|new| {
                at(new, &format!("{NEW}/properties"))["size"] = json!({"type": "integer"});
                *at(new, &format!("{NEW}/required")) = json!(["name", "size"]);
            }),
        ),
        (
            "is required now",
            Box::new(|new| *at(new, &format!("{NEW}/required")) = json!(["name", "kind"])),
        ),
        (
            "is required now",
            Box::new(|new| at(new, POST)["parameters"][0]["required"] = json!(true)),
        ),
        (
            "is new and required",
            Box::new(|new| {
                let parameter =
                    json!({"name": "key", "in": "header", "required": true, "schema": {}});
                at(new, &format!("{POST}/parameters")).as_array_mut().unwrap().push(parameter);
            }),
        ),
        (
            "the body is required now",
            Box::new(|new| at(new, &format!("{POST}/requestBody"))["required"] = json!(true)),
        ),
        (
            "the type changes",
            Box::new(|new| at(new, &format!("{NEW}/properties/name"))["type"] = json!("integer")),
        ),
        (
            "the type changes",
            Box::new(|new| {
                at(new, &format!("{THING}/properties/id"))["type"] = json!(["string", "null"]);
            }),
        ),
        ("the type changes", Box::new(|new| remove(new, &format!("{THING}/properties/id/type")))),
        (
            "maxLength shrinks",
            Box::new(|new| at(new, &format!("{NEW}/properties/name"))["maxLength"] = json!(8)),
        ),
        (
            "maximum shrinks",
            Box::new(|new| at(new, POST)["parameters"][1]["schema"]["maximum"] = json!(9)),
        ),
        (
            "minLength grows",
            Box::new(|new| at(new, &format!("{NEW}/properties/name"))["minLength"] = json!(1)),
        ),
        (
            "the pattern becomes",
            Box::new(|new| at(new, &format!("{NEW}/properties/name"))["pattern"] = json!("a")),
        ),
        (
            "only certain values",
            Box::new(|new| at(new, &format!("{NEW}/properties/name"))["enum"] = json!(["a"])),
        ),
    ];
    for (said, change) in changes {
        let found = after(change);
        assert!(found.iter().any(|f| f.contains(said)), "{said}: {found:?}");
    }
}

#[test]
fn what_is_added_or_loosened_breaks_nothing() {
    let changes: Vec<Change> = vec![
        ("path", Box::new(|new| at(new, "/paths")["/more"] = json!({"get": {"responses": {}}}))),
        ("method", Box::new(|new| at(new, "/paths/~1things")["put"] = json!({}))),
        (
            "parameter",
            Box::new(|new| {
                let parameter = json!({"name": "x", "in": "query", "schema": {}});
                at(new, &format!("{POST}/parameters")).as_array_mut().unwrap().push(parameter);
            }),
        ),
        ("request field", Box::new(|new| at(new, &format!("{NEW}/properties"))["x"] = json!({}))),
        (
            "request value",
            Box::new(|new| {
                *at(new, &format!("{NEW}/properties/kind/enum")) = json!(["a", "b", "c"]);
            }),
        ),
        (
            "request type",
            Box::new(|new| {
                at(new, &format!("{NEW}/properties/name"))["type"] = json!(["string", "null"]);
            }),
        ),
        (
            "bound",
            Box::new(|new| at(new, &format!("{NEW}/properties/name"))["maxLength"] = json!(10)),
        ),
        (
            "answer field",
            Box::new(|new| {
                at(new, &format!("{THING}/properties"))["x"] = json!({"type": "string"});
            }),
        ),
        (
            "answer value",
            Box::new(|new| {
                *at(new, &format!("{THING}/properties/state/enum")) = json!(["on", "off", "idle"]);
            }),
        ),
        ("status", Box::new(|new| at(new, &format!("{POST}/responses"))["409"] = json!({}))),
        ("refusal gone", Box::new(|new| remove(new, &format!("{POST}/responses/404")))),
        ("text", Box::new(|new| at(new, POST)["summary"] = json!("new"))),
    ];
    for (name, change) in changes {
        let found = after(change);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}
