//! Compares two trees of values leaf by leaf, with holes where the first is not known yet. What is
//! known must be there, the same, and known; only holes may be filled.

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use slipway_domain::Secret;
use slipway_domain::secret::MASK;

use super::document::{NULL, Veil};
use super::json::Json;
use super::verdict::Shown;

/// Longest value that is shown, in characters.
const MAX_SHOWN: usize = 200;
/// Most differences of one comparison; whoever reads needs no more.
const MAX_DIFFERENCES: usize = 100;
/// Most filled holes that are listed of one comparison.
const MAX_FILLED: usize = 1000;

static NO: Json = Json::Bool(false);
static YES: Json = Json::Bool(true);

/// The key of a run, under which secret values are compared and may be kept.
#[derive(Clone)]
pub struct RunKey(Secret<[u8; 32]>);

impl std::fmt::Debug for RunKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunKey(***)")
    }
}

impl RunKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// `hmac-sha256:<hex>` over a place and the value there. Each part is preceded by its length,
    /// so no two places run into each other.
    pub(super) fn mac(&self, address: &str, path: &str, value: &Json) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.reveal()).expect("any length will do");
        for part in [address, path, &value.canonical()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        format!("hmac-sha256:{}", hex::encode(mac.finalize().into_bytes()))
    }
}

/// What may be done about holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holes {
    /// They may be filled.
    Fill,
    /// They must be holes still.
    Keep,
    /// As [`Holes::Fill`], and known values may be absent: of something half made.
    Half,
}

/// One side of a comparison.
#[derive(Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) value: &'a Json,
    pub(super) unknown: &'a Json,
    pub(super) marks: &'a Json,
}

impl<'a> Tree<'a> {
    /// Values that are all known.
    pub(super) fn known(value: &'a Json, marks: &'a Json) -> Self {
        Self { value, unknown: &NO, marks }
    }
}

/// A place where two trees differ.
pub(super) struct Difference {
    pub(super) path: String,
    pub(super) what: &'static str,
    pub(super) approved: Option<Shown>,
    pub(super) new: Option<Shown>,
}

/// What a comparison found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) differences: Vec<Difference>,
    /// Pointers to holes of the first that are known in the second.
    pub(super) filled: Vec<String>,
}

#[derive(Clone, Copy)]
struct Node<'a> {
    value: Option<&'a Json>,
    unknown: &'a Json,
    marks: &'a Json,
}

impl<'a> Node<'a> {
    fn of(tree: Tree<'a>) -> Self {
        Self { value: Some(tree.value), unknown: tree.unknown, marks: tree.marks }
    }

    /// Something of which nothing is known but its shape is an empty object with holes.
    fn shaped(self) -> Self {
        static EMPTY: Json = Json::Object(std::collections::BTreeMap::new());
        let shape_only = matches!(self.value, None | Some(Json::Null))
            && matches!(self.unknown, Json::Object(_))
            && any(self.unknown);
        if shape_only { Self { value: Some(&EMPTY), ..self } } else { self }
    }

    fn field(self, key: &str) -> Self {
        Self {
            value: self.value.and_then(|value| value.get(key)),
            unknown: field(self.unknown, key),
            marks: field(self.marks, key),
        }
    }

    fn item(self, i: usize) -> Self {
        let value = match self.value {
            Some(Json::Array(items)) => items.get(i),
            _ => None,
        };
        Self { value, unknown: item(self.unknown, i), marks: item(self.marks, i) }
    }
}

/// Marks below a field. A mark of another shape than the value covers all of it.
fn field<'a>(marks: &'a Json, key: &str) -> &'a Json {
    match marks {
        Json::Object(fields) => fields.get(key).unwrap_or(&NO),
        other if any(other) => &YES,
        _ => &NO,
    }
}

fn item(marks: &Json, i: usize) -> &Json {
    match marks {
        Json::Array(items) => items.get(i).unwrap_or(&NO),
        other if any(other) => &YES,
        _ => &NO,
    }
}

/// Whether anything in a tree of marks is marked, or is no mark at all.
pub(super) fn any(marks: &Json) -> bool {
    match marks {
        Json::Null | Json::Bool(false) => false,
        Json::Array(items) => items.iter().any(any),
        Json::Object(fields) => fields.values().any(any),
        Json::Bool(true) | Json::Number(_) | Json::String(_) => true,
    }
}

/// Compares, and shows differences under the veil.
pub(super) struct Walk<'a> {
    pub(super) key: &'a RunKey,
    pub(super) veil: &'a Veil<'a>,
    /// Whose values they are; part of what secrets are bound to.
    pub(super) address: &'a str,
    pub(super) holes: Holes,
    found: Found,
}

impl<'a> Walk<'a> {
    pub(super) fn new(key: &'a RunKey, veil: &'a Veil<'a>, address: &'a str, holes: Holes) -> Self {
        Self { key, veil, address, holes, found: Found::default() }
    }

    /// Compares `approved` with `new`.
    pub(super) fn compare(mut self, approved: Tree<'_>, new: Tree<'_>) -> Found {
        self.node(Node::of(approved), Node::of(new), &mut String::new(), None);
        self.found
    }

    /// `hidden` is the length of the path above which everything is secret.
    fn node(&mut self, a: Node<'_>, b: Node<'_>, path: &mut String, hidden: Option<usize>) {
        let marked = a.marks.is_true() || b.marks.is_true();
        let hidden = hidden.or_else(|| marked.then_some(path.len()));
        match a.unknown {
            Json::Bool(true) => {
                if b.unknown.is_true() {
                    return;
                }
                if self.holes == Holes::Keep {
                    return self.differ(a, b, path, hidden, "is known now and was not");
                }
                // Neither known nor unknown: whatever was to be there is not.
                if b.value.is_none() && self.holes != Holes::Half {
                    return self.differ(a, b, path, hidden, "is not there any more");
                }
                if self.found.filled.len() < MAX_FILLED {
                    self.found.filled.push(path[..hidden.unwrap_or(path.len())].to_owned());
                }
                return;
            }
            Json::Number(_) | Json::String(_) => {
                return self.differ(a, b, path, hidden, "has marks that cannot be read");
            }
            _ => {}
        }
        if b.unknown.is_true() {
            return self.differ(a, b, path, hidden, "was known and is not any more");
        }
        let (a, b) = (a.shaped(), b.shaped());
        if self.holes == Holes::Half && matches!(b.value, None | Some(Json::Null)) {
            return;
        }
        match (a.value, b.value) {
            (None, None) if !any(b.unknown) && !any(a.unknown) => {}
            (Some(Json::Object(old)), Some(Json::Object(new))) => {
                let mut keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for unknown in [a.unknown, b.unknown] {
                    match unknown {
                        Json::Object(fields) => keys.extend(fields.keys()),
                        other if any(other) => {
                            return self.differ(a, b, path, hidden, "has marks of another shape");
                        }
                        _ => {}
                    }
                }
                for key in keys {
                    let length = path.len();
                    path.push('/');
                    path.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    self.node(a.field(key), b.field(key), path, hidden);
                    path.truncate(length);
                }
            }
            (Some(Json::Array(old)), Some(Json::Array(new))) => {
                if old.len() != new.len() {
                    return self.differ(a, b, path, hidden, "has another length");
                }
                for unknown in [a.unknown, b.unknown] {
                    let fits = match unknown {
                        Json::Array(marks) => marks.len() <= old.len(),
                        other => !any(other),
                    };
                    if !fits {
                        return self.differ(a, b, path, hidden, "has marks of another shape");
                    }
                }
                for i in 0..old.len() {
                    let length = path.len();
                    path.push('/');
                    path.push_str(&i.to_string());
                    self.node(a.item(i), b.item(i), path, hidden);
                    path.truncate(length);
                }
            }
            (Some(old), Some(new)) => {
                let same = if hidden.is_some() {
                    self.key.mac(self.address, path, old) == self.key.mac(self.address, path, new)
                } else {
                    old == new
                };
                if !same {
                    self.differ(a, b, path, hidden, "is another value");
                } else if any(a.unknown) || any(b.unknown) {
                    self.differ(a, b, path, hidden, "has marks of another shape");
                }
            }
            (None, _) => self.differ(a, b, path, hidden, "was not there"),
            (Some(_), None) => self.differ(a, b, path, hidden, "is not there any more"),
        }
    }

    fn differ(
        &mut self,
        a: Node<'_>,
        b: Node<'_>,
        path: &str,
        hidden: Option<usize>,
        what: &'static str,
    ) {
        if self.found.differences.len() >= MAX_DIFFERENCES {
            return;
        }
        let difference = Difference {
            path: self.veil.text(&path[..hidden.unwrap_or(path.len())]),
            what,
            approved: Some(self.show(a, b.marks, path, hidden.is_some())),
            new: Some(self.show(b, a.marks, path, hidden.is_some())),
        };
        self.found.differences.push(difference);
    }

    fn show(&self, node: Node<'_>, other: &Json, path: &str, hidden: bool) -> Shown {
        let plain = |text: &str| Shown { text: text.to_owned(), mac: None };
        if node.unknown.is_true() {
            return plain("(known after apply)");
        }
        let Some(value) = node.value else { return plain("(absent)") };
        if hidden {
            let mac = Some(self.key.mac(self.address, path, value));
            return Shown { text: MASK.to_owned(), mac };
        }
        let value = masked(&masked(value, node.marks), other);
        plain(&clip(&self.veil.text(&value.canonical())))
    }
}

/// The value without what is marked in it.
fn masked(value: &Json, marks: &Json) -> Json {
    if !any(marks) || *value == Json::Null {
        return value.clone();
    }
    match (value, marks) {
        (Json::Object(fields), Json::Object(_)) => Json::Object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), masked(value, field(marks, key))))
                .collect(),
        ),
        (Json::Array(items), Json::Array(_)) => Json::Array(
            items.iter().enumerate().map(|(i, value)| masked(value, item(marks, i))).collect(),
        ),
        _ => Json::String(MASK.to_owned()),
    }
}

/// Cuts what is too long to be read.
pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}… [cut]", &text[..end]),
        None => text.to_owned(),
    }
}

/// Where `new` hides less than `approved` did: pointers.
pub(super) fn uncovered(approved: &Json, new: &Json) -> Vec<String> {
    let mut found = Vec::new();
    bare(approved, new, &mut String::new(), &mut found);
    found
}

fn bare(approved: &Json, new: &Json, path: &mut String, found: &mut Vec<String>) {
    if new.is_true() || !any(approved) || found.len() >= MAX_DIFFERENCES {
        return;
    }
    let mut below = |step: &str, a: &Json, b: &Json| {
        let length = path.len();
        path.push('/');
        path.push_str(step);
        bare(a, b, path, found);
        path.truncate(length);
    };
    match approved {
        Json::Object(fields) => {
            for (key, marks) in fields {
                let step = key.replace('~', "~0").replace('/', "~1");
                below(&step, marks, new.get(key).unwrap_or(&NULL));
            }
        }
        Json::Array(items) => {
            for (i, marks) in items.iter().enumerate() {
                let other = match new {
                    Json::Array(items) => items.get(i).unwrap_or(&NULL),
                    _ => &NULL,
                };
                below(&i.to_string(), marks, other);
            }
        }
        _ => found.push(path.clone()),
    }
}
