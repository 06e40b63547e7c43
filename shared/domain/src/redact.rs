//! Takes known secrets out of text that is about to be kept or shown.

use std::fmt;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use base64::Engine as _;

use crate::secret::MASK;

/// Shorter values are not looked for: masking every `1` or `dev` would hide the text around them
/// and tell more about the secret than it hides.
pub const MIN_SECRET_BYTES: usize = 4;

/// Replaces every known secret by `***`: as it is, as base64 (also inside of something longer that
/// was encoded), as a JSON string (Go's form too) and as a percent-encoded one. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    find: Option<AhoCorasick>,
    patterns: Arc<Vec<String>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} patterns)", self.patterns.len())
    }
}

impl Redactor {
    /// Looks for these values.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        Self::default().and(secrets)
    }

    /// Looks for these values too.
    #[must_use]
    pub fn and<S: AsRef<str>>(&self, secrets: impl IntoIterator<Item = S>) -> Self {
        let mut patterns = (*self.patterns).clone();
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
        patterns.sort_unstable();
        patterns.dedup();
        if patterns.len() == self.patterns.len() {
            return self.clone();
        }
        // Longest first, so that a secret inside another does not leave the rest of it standing.
        let find =
            AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostLongest).build(&patterns).ok();
        Self { find, patterns: Arc::new(patterns) }
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

/// Shorter secrets are not looked for inside of something longer that was encoded: what is left of
/// them there may be anything.
const MIN_INNER_BYTES: usize = 8;

fn forms(secret: &str) -> Vec<String> {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let quoted = serde_json::Value::from(secret).to_string();
    let json = quoted[1..quoted.len() - 1].to_owned();
    // Go (and so Terraform's `jsonencode`) writes these as if they stood in HTML.
    let go = json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    // JSON inside of a string of JSON.
    let again = |text: &String| {
        let again = serde_json::Value::from(text.as_str()).to_string();
        again[1..again.len() - 1].to_owned()
    };
    let upper = percent(secret, |b| format!("%{b:02X}"));
    let lower = percent(secret, |b| format!("%{b:02x}"));
    let mut forms = vec![
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        // As in a form: a space is a plus.
        upper.replace("%20", "+"),
        upper,
        lower,
        again(&json),
        again(&go),
        go,
        json,
        secret.to_owned(),
    ];
    if secret.len() >= MIN_INNER_BYTES {
        forms.extend(inner_base64(secret.as_bytes(), &STANDARD_NO_PAD));
        forms.extend(inner_base64(secret.as_bytes(), &URL_SAFE_NO_PAD));
    }
    forms
}

fn percent(secret: &str, escape: impl Fn(u8) -> String) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    secret.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { escape(b) }).collect()
}

/// What is the same of the secret's base64 whatever stands before and behind it: `user:secret` of
/// an `Authorization` header is encoded as one. Three bytes are four letters, so there are three
/// ways in which it can lie; the letters at its ends, which also hold bits of its neighbours, are
/// left out.
fn inner_base64(secret: &[u8], engine: &impl base64::Engine) -> Vec<String> {
    (0..3_usize)
        .map(|before| {
            let mut bytes = vec![0; before];
            bytes.extend(secret);
            let text = engine.encode(&bytes);
            let start = (before * 4).div_ceil(3);
            let end = bytes.len() * 4 / 3;
            text[start..end].to_owned()
        })
        .collect()
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
    fn forms_of_go_and_of_forms_go_too() {
        let redactor = Redactor::new(["p&ss <word> +1/2"]);
        for text in [
            r"p\u0026ss \u003cword\u003e +1/2",
            r"p\\u0026ss \\u003cword\\u003e +1/2",
            "p%26ss+%3Cword%3E+%2B1%2F2",
            "p%26ss%20%3cword%3e%20%2b1%2f2",
        ] {
            let clean = redactor.text(&format!("a {text} b"));
            assert_eq!(clean, "a *** b", "{text}");
        }
    }

    #[test]
    fn a_secret_in_the_middle_of_what_was_encoded_goes() {
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        for secret in ["hunter2-of-the-test", "ab>?cd>?ef", "12345678", "123456789"] {
            let redactor = Redactor::new([secret]);
            for before in ["", "u", "us", "user:", "user:x"] {
                for behind in ["", "@", "@h", "@ho"] {
                    let whole = format!("{before}{secret}{behind}");
                    for text in [STANDARD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                        let clean = redactor.text(&text);
                        assert!(clean.contains(MASK), "{whole}: {text}");
                        // A letter or two at each end hold a part of a byte.
                        let left = clean.len() - MASK.len();
                        let around = (before.len() + behind.len()).div_ceil(3) * 4 + 6;
                        assert!(left <= around, "{whole}: {text} -> {clean}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_learned_later_is_added() {
        let first = Redactor::new(["one-secret"]);
        let both = first.and(["two-secret"]);
        assert_eq!(both.text("one-secret two-secret"), "*** ***");
        assert_eq!(first.text("one-secret two-secret"), "*** two-secret");
        assert_eq!(both.and(["one-secret"]).patterns.len(), both.patterns.len());
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
