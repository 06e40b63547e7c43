//! What Vault answers, and what it means.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use slipway_domain::port::key_service::KeyServiceError;

/// An answer is never longer than this: a few hundred data keys are far below.
pub(crate) const MAX_BODY: usize = 1 << 20;
/// Of Vault's own words this much is shown.
const MAX_WORDS: usize = 300;
/// Longer than this Vault is not waited for, whatever it asks.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// One item of a batch.
#[derive(Deserialize, Default)]
pub(crate) struct Item {
    #[serde(default)]
    pub(crate) ciphertext: String,
    #[serde(default)]
    pub(crate) plaintext: String,
    #[serde(default)]
    pub(crate) error: String,
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Data {
    #[serde(default)]
    batch_results: Vec<Item>,
}

/// What to do about an answer.
pub(crate) enum Verdict {
    Done(Vec<Item>),
    /// It may pass within a moment.
    Again(KeyServiceError, Option<Duration>),
    Failed(KeyServiceError),
}

/// Reads an answer to a batch of `asked` items for `operation` (`encrypt`, `decrypt`, `rewrap`).
pub(crate) fn read(
    operation: &str,
    path: &str,
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &[u8],
    asked: usize,
) -> Verdict {
    let parsed: Option<Body> = serde_json::from_slice(body).ok();
    let known = parsed.is_some();
    let Body { data, errors } = parsed.unwrap_or_default();
    let items = data.unwrap_or_default().batch_results;
    let said = words(&errors);
    let away = |what: String| KeyServiceError::Away(what);
    if let Some(refused) = items.iter().find(|item| !item.error.is_empty()) {
        let what = words(std::slice::from_ref(&refused.error));
        return Verdict::Failed(KeyServiceError::Refused(format!(
            "Vault refuses to {operation} a data key at {path}: {what}"
        )));
    }
    match status.as_u16() {
        200 if items.len() == asked => Verdict::Done(items),
        200 if known => Verdict::Failed(KeyServiceError::Refused(format!(
            "Vault was asked to {operation} {asked} data keys at {path} and gave {}",
            items.len()
        ))),
        200 => Verdict::Failed(away(format!(
            "what answers at {path} is not Vault; is keys.vault.address right?"
        ))),
        300..=399 => Verdict::Failed(away(format!(
            "Vault answers {status} at {path}: this node sends callers elsewhere. Name the active \
             node, or a load balancer that knows it, in keys.vault.address"
        ))),
        401 | 403 => Verdict::Failed(away(format!(
            "Vault does not let us {operation} at {path}: {said}. The token has ended, or its \
             policy does not allow `update` on that path"
        ))),
        404 => Verdict::Failed(away(format!(
            "Vault has nothing at {path}: {said}. Are keys.vault.mount and keys.vault.key right, \
             and is the transit engine there?"
        ))),
        // Of the whole request, not of an item: a key that is not there, a version that is too old.
        400 => Verdict::Failed(KeyServiceError::Refused(format!(
            "Vault refuses to {operation} at {path}: {said}"
        ))),
        429 => Verdict::Again(
            away(format!("Vault has too much to do: {said}")),
            retry_after.map(|wait| wait.min(MAX_WAIT)),
        ),
        503 if said.contains("sealed") => {
            Verdict::Again(away("Vault is sealed; it must be unsealed".to_owned()), None)
        }
        500..=599 => Verdict::Again(
            away(format!("Vault fails with {status}: {said}")),
            retry_after.map(|wait| wait.min(MAX_WAIT)),
        ),
        _ => Verdict::Failed(away(format!("Vault answers {status} at {path}: {said}"))),
    }
}

/// Vault's own words on one line, without an end that is out of sight.
fn words(errors: &[String]) -> String {
    let text = errors.join("; ");
    let text: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { "it does not say why".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str) -> Verdict {
        let status = StatusCode::from_u16(status).unwrap();
        read("decrypt", "/v1/transit/decrypt/k", status, None, body.as_bytes(), 1)
    }

    fn error(status: u16, body: &str) -> (bool, KeyServiceError) {
        match verdict(status, body) {
            Verdict::Done(_) => panic!("{status} is no error"),
            Verdict::Again(error, _) => (true, error),
            Verdict::Failed(error) => (false, error),
        }
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for (status, body, again, says) in [
            (503, r#"{"errors":["Vault is sealed"]}"#, true, "unsealed"),
            (500, "<html>", true, "fails with 500"),
            (429, r#"{"errors":["quota"]}"#, true, "quota"),
            (403, r#"{"errors":["permission denied"]}"#, false, "permission denied"),
            (404, r#"{"errors":[]}"#, false, "keys.vault.mount"),
            (307, "", false, "active"),
            (200, "<html>", false, "not Vault"),
            (418, "", false, "418"),
        ] {
            let (is_again, error) = error(status, body);
            assert_eq!(is_again, again, "{status}");
            assert!(
                matches!(&error, KeyServiceError::Away(text) if text.contains(says)),
                "{error}"
            );
        }
        for (status, body) in [
            (400, r#"{"errors":["encryption key not found"]}"#),
            (
                400,
                r#"{"data":{"batch_results":[{"error":"cipher: message authentication failed"}]}}"#,
            ),
            (200, r#"{"data":{"batch_results":[{"error":"invalid ciphertext"}]}}"#),
            (200, r#"{"data":{"batch_results":[]}}"#),
        ] {
            let (again, error) = error(status, body);
            assert!(!again && matches!(error, KeyServiceError::Refused(_)), "{error}");
        }
        let done = r#"{"data":{"batch_results":[{"plaintext":"eA=="}]}}"#;
        assert!(matches!(verdict(200, done), Verdict::Done(items) if items[0].plaintext == "eA=="));
    }

    #[test]
    fn words_have_an_end_and_one_line() {
        let text = words(&["a\n\tb".to_owned(), "x".repeat(10_000)]);
        assert!(text.starts_with("a b; x") && text.len() < 400, "{text}");
    }
}
