//! [`Transit`] against a stand-in for Vault's HTTP API.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use slipway_client_vault::fake::{self, Mood, Shared, TOKEN};
use slipway_client_vault::{KeyService as _, KeyServiceError, Options, Token, Transit};
use slipway_domain::Secret;
use slipway_domain::port::key_service::DataKey;

struct Rig {
    vault: Shared,
    address: String,
}

impl Rig {
    async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (address, vault) = fake::start().await;
        Self { vault, address }
    }

    fn options(&self) -> Options {
        let token = Token::Value(Secret::new(TOKEN.to_owned()));
        Options {
            timeout: Duration::from_millis(300),
            deadline: Duration::from_secs(2),
            ..Options::new(&self.address, "transit", "slipway", token)
        }
    }

    fn transit(&self) -> Transit {
        Transit::new(self.options()).unwrap()
    }

    fn mood(&self, mood: Mood) {
        self.vault.lock().unwrap().mood = mood;
    }

    fn calls(&self) -> u32 {
        std::mem::take(&mut self.vault.lock().unwrap().calls)
    }
}

fn keys() -> Vec<DataKey> {
    (1..=3).map(|n| DataKey::new([n; 32])).collect()
}

/// The text of an error that may pass.
fn away<T: std::fmt::Debug>(result: Result<T, KeyServiceError>) -> String {
    let KeyServiceError::Away(text) = result.unwrap_err() else { panic!("it is not away") };
    assert!(!text.contains(TOKEN), "{text}");
    text
}

#[tokio::test]
async fn data_keys_are_wrapped_opened_and_rewrapped_in_order() {
    let rig = Rig::new().await;
    let transit = rig.transit();
    assert_eq!(transit.name(), "vault:transit/slipway");
    let wrapped = transit.wrap(&keys()).await.unwrap();
    assert_eq!(transit.unwrap(&wrapped).await.unwrap(), keys());
    assert_eq!(rig.calls(), 2, "a batch is one call");
    rig.vault.lock().unwrap().versions.push([2; 32]);
    let again = transit.rewrap(&wrapped).await.unwrap();
    assert!(again.iter().all(|text| transit.version(text).as_deref() == Some("v2")), "{again:?}");
    assert_eq!(transit.unwrap(&again).await.unwrap(), keys());
    // Vault is told to forget the old version: what was rewrapped opens, the rest does not.
    rig.vault.lock().unwrap().oldest = 2;
    assert_eq!(transit.unwrap(&again).await.unwrap(), keys());
    let error = transit.unwrap(&wrapped).await.unwrap_err();
    assert!(matches!(&error, KeyServiceError::Refused(t) if t.contains("too old")), "{error}");
    let foreign = transit.unwrap(&["vault:v9:AAAA".to_owned()]).await.unwrap_err();
    assert!(matches!(foreign, KeyServiceError::Refused(_)), "{foreign}");
    rig.calls();
    assert!(transit.wrap(&[]).await.unwrap().is_empty());
    assert_eq!(rig.calls(), 0, "nothing to do is no call");
}

#[tokio::test]
async fn a_sealed_vault_is_away_and_is_asked_three_times() {
    let rig = Rig::new().await;
    let transit = rig.transit();
    rig.mood(Mood { sealed: true, ..Mood::default() });
    assert!(away(transit.wrap(&keys()).await).contains("sealed"));
    assert_eq!(rig.calls(), 3);
    rig.mood(Mood::default());
    transit.wrap(&keys()).await.unwrap();
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let rig = Rig::new().await;
    let transit = rig.transit();
    for status in [429, 500, 502] {
        rig.mood(Mood { failing: Some((2, status)), ..Mood::default() });
        transit.wrap(&keys()).await.unwrap();
        assert_eq!(rig.calls(), 3, "{status}");
    }
    rig.mood(Mood { failing: Some((9, 500)), ..Mood::default() });
    assert!(away(transit.wrap(&keys()).await).contains("500"));
    assert_eq!(rig.calls(), 3);
    rig.mood(Mood { failing: Some((1, 307)), ..Mood::default() });
    assert!(away(transit.wrap(&keys()).await).contains("active"), "a token follows no redirect");
    assert_eq!(rig.calls(), 1);
}

#[tokio::test]
async fn a_token_that_ended_is_told_and_a_fresh_one_in_its_file_is_taken() {
    let rig = Rig::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let options = Options { token: Token::File(file.clone()), ..rig.options() };
    let transit = Transit::new(options).unwrap();
    assert!(away(transit.wrap(&keys()).await).contains("cannot be read"));
    std::fs::write(&file, "hvs.old\n").unwrap();
    assert!(away(transit.wrap(&keys()).await).contains("permission denied"));
    assert_eq!(rig.calls(), 1, "a refusal does not pass by itself");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    transit.wrap(&keys()).await.unwrap();
    std::fs::write(&file, "two\nlines").unwrap();
    away(transit.wrap(&keys()).await);
    std::fs::write(&file, "x".repeat(100_000)).unwrap();
    assert!(away(transit.wrap(&keys()).await).contains("too long"));
}

#[tokio::test]
async fn a_vault_that_is_slow_or_away_costs_no_more_than_its_time() {
    let rig = Rig::new().await;
    let transit = rig.transit();
    rig.mood(Mood { slow: Some(Duration::from_secs(30)), ..Mood::default() });
    let began = tokio::time::Instant::now();
    assert!(away(transit.wrap(&keys()).await).contains("in time"));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // A port where nobody listens.
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let transit = Transit::new(Options { address, ..rig.options() }).unwrap();
    assert!(away(transit.wrap(&keys()).await).contains("no connection"));
}

#[tokio::test]
async fn wrong_places_and_strange_answers_are_told() {
    let rig = Rig::new().await;
    let elsewhere = |mount: &str, key: &str| {
        let options = Options { mount: mount.into(), key: key.into(), ..rig.options() };
        Transit::new(options).unwrap()
    };
    assert!(away(elsewhere("other", "slipway").wrap(&keys()).await).contains("keys.vault.mount"));
    let error = elsewhere("transit", "other").wrap(&keys()).await.unwrap_err();
    assert!(error.to_string().contains("encryption key not found"), "{error}");
    let transit = rig.transit();
    for (body, says) in [
        ("<html>", "not Vault"),
        (r#"{"data":{"batch_results":[{"ciphertext":"x"}]}}"#, "gave 1"),
        (r#"{"data":{"batch_results":[{"ciphertext":"x"},{},{}]}}"#, "no `vault:v"),
        (r#"{"data":{}}"#, "gave 0"),
    ] {
        rig.mood(Mood { body: Some(body.to_owned()), ..Mood::default() });
        let error = transit.wrap(&keys()).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let long = " ".repeat(2 << 20);
    rig.mood(Mood { body: Some(long), ..Mood::default() });
    assert!(away(transit.wrap(&keys()).await).contains("too long"));
}
