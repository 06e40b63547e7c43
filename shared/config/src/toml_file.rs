//! Takes the TOML file apart: known keys with their values and lines, and what is wrong with it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::problem::Problem;
use crate::provenance::Provenance;
use crate::schema::Key;
use crate::suggest::{did_you_mean, nearest};
use crate::value;

/// A longer file is a mistake.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a file says.
#[derive(Default)]
pub(crate) struct Said {
    /// Key, value and place.
    pub(crate) values: Vec<(String, Value, Provenance)>,
    pub(crate) problems: Vec<Problem>,
}

/// Reads the file at `path`. When it is not there and need not be, it says nothing.
pub(crate) fn read(path: &Path, required: bool, keys: &[Key]) -> Said {
    let whole = || Provenance::File { path: path.to_owned(), line: 0 };
    match text_of(path, MAX_FILE_BYTES) {
        Ok(text) => parse(&text, path, keys),
        Err((ErrorKind::NotFound, _)) if !required => Said::default(),
        Err((_, why)) => Said {
            problems: vec![Problem::in_place(
                whole(),
                format!("the configuration file cannot be read: {why}"),
            )],
            ..Said::default()
        },
    }
}

/// The text of a file of at most `max_bytes`.
pub(crate) fn text_of(path: &Path, max_bytes: u64) -> Result<String, (ErrorKind, String)> {
    let io = |error: std::io::Error| (error.kind(), error.to_string());
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(max_bytes + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > max_bytes {
        return Err((ErrorKind::FileTooLarge, format!("it is larger than {max_bytes} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| (ErrorKind::InvalidData, "it is not UTF-8".to_owned()))
}

fn parse(text: &str, path: &Path, keys: &[Key]) -> Said {
    let line_at = |offset: usize| {
        let before = text.get(..offset).unwrap_or_default();
        Provenance::File { path: path.to_owned(), line: 1 + before.matches('\n').count() }
    };
    let mut said = Said::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // The parser's own rendering quotes the line, which may hold a secret.
        said.problems.extend(errors.iter().map(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            Problem::in_place(line_at(offset), format!("it is not TOML: {}", error.message()))
        }));
        return said;
    }
    walk(table.get_ref(), "", keys, &line_at, &mut said);
    said
}

fn walk(
    table: &DeTable<'_>,
    prefix: &str,
    keys: &[Key],
    line_at: &impl Fn(usize) -> Provenance,
    said: &mut Said,
) {
    for (name, value) in table {
        let path = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        let place = line_at(name.span().start);
        if let Some(key) = keys.iter().find(|key| key.path == path) {
            match value::from_toml(&key.kind, value.get_ref()) {
                Ok(value) => said.values.push((path, value, place)),
                Err(detail) => {
                    said.problems.push(Problem { place: Some(place), ..Problem::at(path, detail) });
                }
            }
        } else if sections(keys).any(|section| section == path) {
            if let DeValue::Table(inner) = value.get_ref() {
                walk(inner, &path, keys, line_at, said);
            } else {
                said.problems.push(Problem {
                    place: Some(place),
                    ..Problem::at(&path, format!("it is a section; write its keys under [{path}]"))
                });
            }
        } else {
            let (what, suggestion) = if value.get_ref().is_table() {
                ("unknown section", nearest(&path, sections(keys), '.'))
            } else {
                ("unknown key", nearest(&path, keys.iter().map(|key| key.path.as_str()), '.'))
            };
            said.problems.push(Problem {
                place: Some(place),
                ..Problem::at(path, format!("{what}{}", did_you_mean(suggestion)))
            });
        }
    }
}

/// Sections and the sections that hold them, e.g. `jobs` and `jobs.plan`; some more than once.
fn sections(keys: &[Key]) -> impl Iterator<Item = &str> {
    keys.iter().flat_map(|key| key.path.match_indices('.').map(|(at, _)| &key.path[..at]))
}
