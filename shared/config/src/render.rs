//! Writes the effective configuration as TOML. Secrets never get here: they are masked on
//! their way out of the sections.

use std::fmt::Write as _;

use serde_json::Value;

use crate::Config;
use crate::provenance::Provenances;
use crate::schema;

/// The values as TOML, each with a comment that tells where it came from.
pub(crate) fn toml(config: &Config, provenance: &Provenances) -> String {
    let tree = serde_json::to_value(config).unwrap_or_default();
    let keys = schema::keys();
    // Keys of no section come first, or they would belong to the section above them.
    let section_of = |path: &str| path.rsplit_once('.').map(|(section, _)| section.to_owned());
    let mut rows: Vec<_> = keys.iter().map(|key| (section_of(&key.path), &key.path)).collect();
    rows.sort();
    let mut text = String::new();
    let mut open = None;
    for (section, path) in rows {
        if let Some(name) = &section
            && section != open
        {
            let _ = write!(text, "\n[{name}]\n");
        }
        open = section;
        let name = path.rsplit('.').next().unwrap_or(path);
        let value = path.split('.').fold(&tree, |at, part| &at[part]);
        // A path may hold a line break; a comment may not.
        let place = provenance.of(path).to_string().replace(['\n', '\r'], " ");
        let _ = match to_toml(value) {
            Some(value) => writeln!(text, "{name} = {value}  # {place}"),
            None => writeln!(text, "# {name} is not set  # {place}"),
        };
    }
    text
}

/// `None` for what is not set.
fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(yes) => toml::Value::Boolean(*yes),
        Value::Number(number) => match number.as_i64() {
            Some(number) => toml::Value::Integer(number),
            None => toml::Value::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(list) => toml::Value::Array(list.iter().filter_map(to_toml).collect()),
        Value::Object(table) => toml::Value::Table(
            table
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), to_toml(value)?)))
                .collect(),
        ),
    })
}
