//! Takes known secrets out of text that is about to be kept or shown.

use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use base64::Engine as _;

use crate::secret::MASK;

/// Shorter values are not looked for: masking every `1` or `dev` would hide the text around them
/// and tell more about the secret than it hides.
pub const MIN_SECRET_BYTES: usize = 4;

/// Replaces every known secret, as it is, as base64, as a JSON string and as a percent-encoded
/// one, by `***`.
#[derive(Clone, Default)]
pub struct Redactor {
    find: Option<AhoCorasick>,
    patterns: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} patterns)", self.patterns)
    }
}

impl Redactor {
    /// Looks for these values.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut patterns = Vec::new();
        for secret in secrets {
            let secret = secret.as_ref();
            if secret.len() < MIN_SECRET_BYTES {
                continue;
            }
            patterns.extend(forms(secret));
            // A multi-line secret is printed line by line.
            let lines = secret.lines().filter(|l| l.trim().len() >= 2 * MIN_SECRET_BYTES);
            if secret.contains('\n') {
                patterns.extend(lines.map(|line| line.trim().to_owned()));
            }
        }
        patterns.sort();
        patterns.dedup();
        if patterns.is_empty() {
            return Self::default();
        }
        let count = patterns.len();
        // Longest first, so that a secret inside another does not leave the rest of it standing.
        let find =
            AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostLongest).build(&patterns).ok();
        Self { find, patterns: count }
    }

    /// Whether there is anything to look for.
    pub fn is_empty(&self) -> bool {
        self.find.is_none()
    }

    /// The text without the secrets.
    pub fn text(&self, text: &str) -> String {
        match &self.find {
            None => text.to_owned(),
            Some(find) => {
                let mut out = String::with_capacity(text.len());
                find.replace_all_with(text, &mut out, |_, _, out| {
                    out.push_str(MASK);
                    true
                });
                out
            }
        }
    }

    /// Every string inside a JSON value without the secrets; keys too.
    pub fn json(&self, value: &mut serde_json::Value) {
        use serde_json::Value;
        if self.is_empty() {
            return;
        }
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Number(number) => {
                let text = number.to_string();
                if self.text(&text) != text {
                    *value = Value::from(MASK);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(fields) => {
                let old = std::mem::take(fields);
                for (key, mut item) in old {
                    self.json(&mut item);
                    fields.insert(self.text(&key), item);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

fn forms(secret: &str) -> Vec<String> {
    let base64 = base64::engine::general_purpose::STANDARD.encode(secret);
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret);
    let json = serde_json::Value::from(secret).to_string();
    let json = json.trim_matches('"').to_owned();
    let percent: String = secret
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect();
    vec![secret.to_owned(), base64.trim_end_matches('=').to_owned(), base64, url, json, percent]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_a_secret_goes() {
        let redactor = Redactor::new(["p@ss \"word\"", "ab"]);
        let base64 = base64::engine::general_purpose::STANDARD.encode("p@ss \"word\"");
        for text in [
            "x p@ss \"word\" y".to_owned(),
            base64,
            "p%40ss%20%22word%22".into(),
            r#"p@ss \"word\""#.into(),
        ] {
            let clean = redactor.text(&text);
            assert!(clean.contains(MASK) && !clean.contains("word"), "{text} -> {clean}");
        }
        assert_eq!(redactor.text("abc"), "abc", "two bytes are too few to look for");
    }

    #[test]
    fn a_secret_inside_a_longer_one_leaves_no_rest() {
        let redactor = Redactor::new(["secret", "secret-and-more"]);
        assert_eq!(redactor.text("secret-and-more"), MASK);
    }

    proptest! {
        #[test]
        fn no_secret_survives_anywhere_in_json(secret in "[a-zA-Z0-9!@#\"\\\\ ]{4,20}", pre in ".{0,10}", post in ".{0,10}") {
            prop_assume!(!MASK.contains(&secret) && !secret.chars().all(|c| c == '*'));
            let redactor = Redactor::new([&secret]);
            let mut value = serde_json::json!({"a": [format!("{pre}{secret}{post}")], (secret.clone()): 1});
            redactor.json(&mut value);
            let a = value["a"][0].as_str().unwrap();
            // What is left may contain the secret only by joining the mask with its surroundings.
            let pieces: Vec<_> = a.split(MASK).collect();
            prop_assert!(pieces.iter().all(|p| !p.contains(&secret)), "{a}");
        }
    }
}
