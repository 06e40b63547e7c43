//! Which providers configurations may use: the operator's list, and the check of everything that
//! names a provider against it, before anything is downloaded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use slipway_domain::plan::Diagnostic;
use slipway_domain::port::driver::DriverError;

use crate::hcl::{Asked, Dialect, Text};

/// The setting, as an operator knows it.
const SETTING: &str = "terraform.allowed_providers";

/// The operator's list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed(Vec<String>);

/// A provider, and who names it.
pub(crate) type Named = BTreeMap<String, Asked>;

impl Allowed {
    /// From addresses such as `registry.terraform.io/hashicorp/*`; none of them: all are allowed.
    pub(crate) fn new(patterns: &[String], dialect: Dialect) -> Self {
        Self(patterns.iter().map(|pattern| full(pattern, dialect)).collect())
    }

    /// Whether there is a list at all.
    pub(crate) fn restricts(&self) -> bool {
        !self.0.is_empty()
    }

    /// The list, in the form that the tool takes too (`include`).
    pub(crate) fn patterns(&self) -> &[String] {
        &self.0
    }

    fn has(&self, address: &str) -> bool {
        address.starts_with("terraform.io/builtin/")
            || self.0.iter().any(|pattern| {
                let (mut wanted, mut given) = (pattern.split('/'), address.split('/'));
                loop {
                    match (wanted.next(), given.next()) {
                        (None, None) => return true,
                        (Some(wanted), Some(given)) if wanted == "*" || wanted == given => {}
                        _ => return false,
                    }
                }
            })
    }

    /// Refuses what is not on the list.
    pub(crate) fn check(&self, named: &Named) -> Result<(), DriverError> {
        if !self.restricts() {
            return Ok(());
        }
        let diagnostics: Vec<Diagnostic> = named
            .iter()
            .filter(|(address, _)| !self.has(address))
            .map(|(address, asked)| self.refused(address, asked))
            .collect();
        let summary = match diagnostics.as_slice() {
            [] => return Ok(()),
            [one] => format!("{}: {}", one.summary, one.detail),
            [one, more @ ..] => {
                format!("{} (and {} more providers): {}", one.summary, more.len(), one.detail)
            }
        };
        Err(DriverError::Permanent { summary, diagnostics })
    }

    fn refused(&self, address: &str, asked: &Asked) -> Diagnostic {
        let mut who = match asked.module.as_str() {
            "" => "the root module".to_owned(),
            module => format!("the module {module}"),
        };
        if let Some(place) = &asked.place {
            let _ = write!(who, " ({}", place.file);
            if let Some(line) = place.line {
                let _ = write!(who, ":{line}");
            }
            who.push(')');
        }
        let detail = format!(
            "{who} needs it, and {SETTING} of this worker allows only {}; no provider was \
             downloaded. Do without it, or have the operator add it to the setting",
            self.0.join(", ")
        );
        let mut diagnostic =
            Diagnostic::error(format!("the provider {address} is not allowed here"), detail);
        if let Some(place) = &asked.place {
            diagnostic.file = Some(place.file.clone());
            diagnostic.line = place.line;
            diagnostic.column = place.column;
        }
        diagnostic
    }
}

/// A source address with its host: `aws` and `hashicorp/aws` are short for the tool's own registry.
pub(crate) fn full(source: &str, dialect: Dialect) -> String {
    let host = match dialect {
        Dialect::OpenTofu => "registry.opentofu.org",
        Dialect::Terraform | Dialect::Either => "registry.terraform.io",
    };
    let source = source.trim().to_lowercase();
    match source.matches('/').count() {
        0 => format!("{host}/hashicorp/{source}"),
        1 => format!("{host}/{source}"),
        _ => source,
    }
}

/// What a lock file says of a provider.
pub(crate) struct Locked {
    pub(crate) version: Option<String>,
    /// Whether it has a checksum (`h1:`) that an unpacked package can be held against.
    pub(crate) unpacked: bool,
    /// Where.
    pub(crate) asked: Asked,
}

/// What a lock file names, by address. What cannot be read is left to the tool.
pub(crate) fn locked(content: &[u8], file: &str) -> BTreeMap<String, Locked> {
    let mut found = BTreeMap::new();
    let Ok(text) = std::str::from_utf8(content) else { return found };
    let Ok(body) = hcl_edit::parser::parse_body(text) else { return found };
    let places = Text::new(file, text);
    for block in body.get_blocks("provider") {
        let Some(label) = block.labels.first() else { continue };
        let version = block.body.get_attribute("version").and_then(|a| a.value.as_str());
        let place = Some(places.span(hcl_edit::Span::span(block)));
        let hashes = block.body.get_attribute("hashes").and_then(|a| a.value.as_array());
        let unpacked = hashes.is_some_and(|hashes| {
            hashes.iter().any(|hash| hash.as_str().is_some_and(|hash| hash.starts_with("h1:")))
        });
        let asked = Asked { module: String::new(), place };
        let locked = Locked { version: version.map(str::to_owned), unpacked, asked };
        found.insert(label.as_str().to_lowercase(), locked);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(addresses: &[&str]) -> Named {
        let asked = Asked { module: "net".into(), place: None };
        addresses.iter().map(|a| (full(a, Dialect::Terraform), asked.clone())).collect()
    }

    fn allowed(patterns: &[&str]) -> Allowed {
        let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
        Allowed::new(&patterns, Dialect::Terraform)
    }

    #[test]
    fn addresses_match_part_by_part() {
        let some = allowed(&["registry.terraform.io/hashicorp/*", "acme/thing", "own.example/*/*"]);
        for address in ["aws", "hashicorp/Random", "acme/thing", "own.example/a/b"] {
            assert!(some.check(&named(&[address])).is_ok(), "{address}");
        }
        assert!(some.check(&named(&["terraform.io/builtin/terraform"])).is_ok());
        for address in ["acme/other", "evil.example/hashicorp/aws", "acme/thing2", "x/hashicorp"] {
            assert!(some.check(&named(&[address])).is_err(), "{address}");
        }
        assert!(allowed(&[]).check(&named(&["any/thing"])).is_ok(), "no list allows all");
    }

    #[test]
    fn a_refusal_names_the_provider_its_module_and_the_setting() {
        let error = allowed(&["hashicorp/*"]).check(&named(&["evil/a", "evil/b", "aws"]));
        let Err(DriverError::Permanent { summary, diagnostics }) = error else { panic!() };
        assert_eq!(diagnostics.len(), 2);
        for part in ["registry.terraform.io/evil/a", "module net", SETTING, "1 more"] {
            assert!(summary.contains(part), "{part}: {summary}");
        }
    }

    #[test]
    fn a_lock_file_names_its_providers_with_their_versions_and_lines() {
        let text = "# made by init\nprovider \"registry.terraform.io/hashicorp/null\" {\n  version \
                    = \"2.1.2\"\n  hashes = [\"h1:x\"]\n}\n";
        let found = locked(text.as_bytes(), ".terraform.lock.hcl");
        let null = &found["registry.terraform.io/hashicorp/null"];
        assert_eq!((null.version.as_deref(), null.unpacked), (Some("2.1.2"), true));
        let archive = locked(text.replace("h1:", "zh:").as_bytes(), ".terraform.lock.hcl");
        assert!(archive.values().all(|locked| !locked.unpacked));
        assert_eq!(null.asked.place.as_ref().and_then(|p| p.line), Some(2));
        assert!(locked(b"\xff", "x").is_empty() && locked(b"{{", "x").is_empty());
    }
}
