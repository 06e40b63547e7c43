//! What a person gives on the command line, made into what a request carries: variables, names,
//! sources' names. Pure functions, and reading variable files.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;
use slipway_domain::Secret;
use slipway_domain::deployment::Variables;

use super::error::ClientError;

/// A larger variable file is refused.
const MAX_VAR_FILE_BYTES: u64 = 4 << 20;
/// Longest name of a stack.
const MAX_NAME_CHARS: usize = 63;

/// `--var name=value`. The value may be a secret, so it is not shown by `Debug`.
#[derive(Clone)]
pub struct Assignment {
    name: String,
    text: Secret<String>,
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}", self.name, self.text)
    }
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(argument: &str) -> Result<Self, String> {
        match argument.split_once('=') {
            Some((name, text)) if !name.trim().is_empty() => {
                Ok(Self { name: name.trim().to_owned(), text: Secret::new(text.to_owned()) })
            }
            _ => Err("a variable is given as NAME=VALUE".to_owned()),
        }
    }
}

impl Assignment {
    /// The variable's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value: JSON where the text says that it is meant so, else the text.
    pub fn value(&self) -> Result<Value, ClientError> {
        let text = self.text.reveal();
        let looks_like_json = text.trim_start().starts_with(['[', '{', '"']);
        if looks_like_json {
            // serde_json's message has a position and no part of the text.
            return serde_json::from_str(text).map_err(|why| {
                ClientError::Input(format!(
                    "the value of --var {} starts like JSON but is not JSON ({why}). Write a list \
                     as [\"a\",\"b\"], an object as {{\"k\":\"v\"}}, and a text that begins with \
                     such a sign as a JSON string.",
                    self.name
                ))
            });
        }
        Ok(match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ => number(text).unwrap_or_else(|| Value::from(text.as_str())),
        })
    }
}

/// The number that `text` is, when nothing of the text is lost by that: `1.10`, `1e3` and
/// `00123` stay texts (the server makes numbers of texts where the configuration wants one).
fn number(text: &str) -> Option<Value> {
    let number: serde_json::Number = serde_json::from_str(text).ok()?;
    (number.to_string() == text).then_some(Value::Number(number))
}

/// The variables of a request: the files in order, then the single assignments in order.
pub fn variables(files: &[PathBuf], assignments: &[Assignment]) -> Result<Variables, ClientError> {
    let mut variables = Variables::new();
    for file in files {
        variables.append(&mut read_var_file(file)?);
    }
    for assignment in assignments {
        variables.insert(assignment.name.clone(), assignment.value()?);
    }
    Ok(variables)
}

fn read_var_file(path: &Path) -> Result<Variables, ClientError> {
    let wrong = |why: String| ClientError::Input(format!("--var-file {}: {why}", path.display()));
    let bytes = read_bounded(path, MAX_VAR_FILE_BYTES).map_err(wrong)?;
    // The message has a position and no value.
    serde_json::from_slice(&bytes).map_err(|why| {
        let hint = if path.extension().is_some_and(|e| e == "tfvars") {
            " Terraform's own .tfvars syntax is not read here; write it as JSON."
        } else {
            ""
        };
        let place = format!("line {}, column {}", why.line(), why.column());
        wrong(format!("it is not a JSON object of values by variable name ({place}).{hint}"))
    })
}

/// Reads a file, refusing one that is larger than `limit`.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {} MiB", limit >> 20));
    }
    Ok(bytes)
}

/// A valid stack name like `text`; `None` when nothing of it can be kept.
pub fn make_name(text: &str) -> Option<String> {
    let mut name = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' {
            name.push(c);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_start_matches(['-', '_']);
    let name = &name[..name.len().min(MAX_NAME_CHARS)];
    let name = name.trim_end_matches(['-', '_']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// What a stack is called after when nobody gives it a name: the last part of the path or URL,
/// without the endings of archives and repositories.
pub fn last_part(location: &str) -> &str {
    let last = location
        .trim_end_matches('/')
        .rsplit(['/', ':'])
        .find(|part| !part.is_empty() && *part != ".")
        .unwrap_or_default();
    [".tar.gz", ".tgz", ".git"].iter().find_map(|end| last.strip_suffix(end)).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(argument: &str) -> Value {
        argument.parse::<Assignment>().unwrap().value().unwrap()
    }

    #[test]
    fn a_value_is_json_only_where_it_looks_like_it() {
        for (argument, wanted) in [
            ("a=eu-1", json!("eu-1")),
            ("a=", json!("")),
            ("a=b=c", json!("b=c")),
            ("a=3", json!(3)),
            ("a=-0.5", json!(-0.5)),
            ("a=true", json!(true)),
            ("a=null", json!(null)),
            ("a=True", json!("True")),
            (r#"a=["x",1]"#, json!(["x", 1])),
            (r#"a={"k":{"n":null}}"#, json!({"k": {"n": null}})),
            (r#"a="3""#, json!("3")),
        ] {
            assert_eq!(value(argument), wanted, "{argument}");
        }
    }

    #[test]
    fn a_number_that_would_lose_something_stays_a_text() {
        for text in ["1.10", "1e3", "00123", "+1", "123456789012345678901234567890", "NaN"] {
            assert_eq!(value(&format!("a={text}")), json!(text), "{text}");
        }
        assert_eq!(value("a=123456789012"), json!(123_456_789_012_u64));
    }

    #[test]
    fn broken_json_is_an_error_that_does_not_show_the_value() {
        let error = "a=[hunter2".parse::<Assignment>().unwrap().value().unwrap_err().to_string();
        assert!(error.contains("--var a") && error.contains("column"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!("novalue".parse::<Assignment>().is_err());
        assert!("=x".parse::<Assignment>().is_err());
    }

    #[test]
    fn assignments_win_over_files_and_later_ones_over_earlier() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1.json"), dir.path().join("2.json"));
        std::fs::write(&one, r#"{"a":1,"b":1,"c":1}"#).unwrap();
        std::fs::write(&two, r#"{"b":2,"c":2}"#).unwrap();
        let vars = ["c=3".parse().unwrap(), "d=x".parse().unwrap(), "d=y".parse().unwrap()];
        let variables = variables(&[one, two], &vars).unwrap();
        assert_eq!(json!(variables), json!({"a": 1, "b": 2, "c": 3, "d": "y"}));
    }

    #[test]
    fn a_variable_file_that_is_no_json_object_is_refused_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tfvars");
        std::fs::write(&file, "password = \"hunter2\"").unwrap();
        let error = variables(std::slice::from_ref(&file), &[]).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("as JSON"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        std::fs::write(&file, "\"hunter2\"").unwrap();
        let error = variables(&[file], &[]).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let missing = variables(&[dir.path().join("none.json")], &[]).unwrap_err().to_string();
        assert!(missing.contains("none.json"), "{missing}");
    }

    #[test]
    fn names_are_made_valid() {
        for (text, wanted) in [
            ("network", Some("network")),
            ("My Stack (v2)", Some("my-stack-v2")),
            ("_a__b-", Some("a__b")),
            ("..hidden", Some("hidden")),
            ("Größe", Some("gr-e")),
            ("---", None),
            ("日本", None),
        ] {
            assert_eq!(make_name(text).as_deref(), wanted, "{text}");
        }
        let long = make_name(&format!("{}-b", "a".repeat(62))).unwrap();
        assert_eq!(long, "a".repeat(62));
        for text in ["x/y z", "A.B", "9lives"] {
            assert!(slipway_domain::stack::is_name(&make_name(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn the_last_part_names_a_location() {
        for (location, wanted) in [
            ("https://h/o/repo.git", "repo"),
            ("git@h:repo.git", "repo"),
            ("/srv/stacks/net/", "net"),
            ("dist/net.tar.gz", "net"),
            ("modules/./", "modules"),
            ("", ""),
        ] {
            assert_eq!(last_part(location), wanted, "{location}");
        }
    }
}
