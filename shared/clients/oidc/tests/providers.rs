//! Signing in at a provider that behaves, and at one that does not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use chrono::{DateTime, Duration, Utc};
use serde_json::json;
use slipway_client_oidc::fake::{self, CLIENT_ID, CLIENT_SECRET, Mood, Shared};
use slipway_client_oidc::{
    Fetch, GitHub, GitHubOptions, IdentityError, IdentityProvider, Issuers, Oidc, OidcOptions,
    TokenIssuers,
};
use slipway_domain::Secret;
use slipway_domain::auth::identity::Proven;
use slipway_domain::port::identity_provider::SignIn;
use slipway_outbound::{Allow, Guard};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

fn fetch() -> Fetch {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Fetch::new(Guard::new(Allow::parse(["127.0.0.0/8"]).unwrap())).unwrap()
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn ask() -> SignIn {
    SignIn {
        redirect_uri: "http://127.0.0.1:1/callback".to_owned(),
        state: secret("the state"),
        nonce: secret("the nonce"),
        verifier: secret("a verifier of at least forty-three letters, as is asked"),
    }
}

fn oidc(shared: &Shared) -> Oidc {
    oidc_by(&fetch(), shared)
}

fn oidc_by(fetch: &Fetch, shared: &Shared) -> Oidc {
    let issuer = shared.lock().unwrap().url.clone();
    let options = OidcOptions {
        name: "oidc".to_owned(),
        title: "Test".to_owned(),
        issuer,
        client_id: CLIENT_ID.to_owned(),
        client_secret: secret(CLIENT_SECRET),
    };
    Oidc::new(fetch, options)
}

fn github(shared: &Shared) -> GitHub {
    let url = shared.lock().unwrap().url.clone();
    let options = GitHubOptions {
        api_url: format!("{url}/api"),
        url,
        client_id: CLIENT_ID.to_owned(),
        client_secret: secret(CLIENT_SECRET),
    };
    GitHub::new(&fetch(), options)
}

/// Goes to the provider and comes back with a code.
async fn code(at: &dyn IdentityProvider) -> Result<Secret<String>, IdentityError> {
    let url = at.authorize_url(&ask()).await?;
    let none = reqwest::redirect::Policy::none();
    let browser = reqwest::Client::builder().redirect(none).no_proxy().build().unwrap();
    let answer = browser.get(url).send().await.unwrap();
    let back = answer.headers()["location"].to_str().unwrap().to_owned();
    let back = reqwest::Url::parse(&back).unwrap();
    let find = |name: &str| {
        let mut pairs = back.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap()
    };
    assert_eq!(find("state"), "the state");
    Ok(secret(&find("code")))
}

async fn sign_in(at: &dyn IdentityProvider) -> Result<Proven, IdentityError> {
    at.identify(&code(at).await?, &ask(), now()).await
}

fn refused<T: std::fmt::Debug>(result: Result<T, IdentityError>) -> String {
    match result.unwrap_err() {
        IdentityError::Refused(why) => why,
        IdentityError::Away(why) => panic!("away: {why}"),
    }
}

#[tokio::test]
async fn somebody_is_known_by_the_providers_own_number() {
    let shared = fake::start(now()).await;
    let proven = sign_in(&oidc(&shared)).await.unwrap();
    assert_eq!(proven.subject, "4711");
    assert_eq!(proven.verified_email.as_deref(), Some("ann@example.com"));
    let proven = sign_in(&github(&shared)).await.unwrap();
    assert_eq!((proven.subject.as_str(), proven.name.as_deref()), ("4711", Some("Ann")));
    assert_eq!(proven.verified_email.as_deref(), Some("ann@example.com"));
    shared.lock().unwrap().mood.unverified = true;
    assert_eq!(sign_in(&oidc(&shared)).await.unwrap().verified_email, None);
    assert_eq!(sign_in(&github(&shared)).await.unwrap().verified_email, None);
}

#[tokio::test]
async fn a_code_is_good_once_and_for_who_asked() {
    let shared = fake::start(now()).await;
    for at in [&oidc(&shared) as &dyn IdentityProvider, &github(&shared)] {
        let once = code(at).await.unwrap();
        at.identify(&once, &ask(), now()).await.unwrap();
        refused(at.identify(&once, &ask(), now()).await);
        let other = code(at).await.unwrap();
        let ask = SignIn { verifier: secret("another verifier"), ..ask() };
        refused(at.identify(&other, &ask, now()).await);
    }
}

#[tokio::test]
async fn tokens_that_are_not_for_us_are_refused() {
    let shared = fake::start(now()).await;
    let at = oidc(&shared);
    let moods = [
        (Mood { nonce: Some("another".into()), ..Mood::default() }, "nonce"),
        (Mood { aud: Some("another".into()), ..Mood::default() }, "InvalidAudience"),
        (Mood { aud: Some(json!([CLIENT_ID, "another"])), ..Mood::default() }, "azp"),
        (Mood { iss: Some("https://another".into()), ..Mood::default() }, "InvalidIssuer"),
        (Mood { foreign_key: true, ..Mood::default() }, "InvalidSignature"),
        (Mood { expired: true, ..Mood::default() }, "expired"),
    ];
    for (mood, why) in moods {
        shared.lock().unwrap().mood = mood;
        let said = refused(sign_in(&at).await);
        assert!(said.contains(why), "{said}");
    }
    shared.lock().unwrap().mood = Mood::default();
    sign_in(&at).await.unwrap();
}

/// An issuer is written down by an operator, but its documents name more: nothing of it leads inside.
#[tokio::test]
async fn what_leads_inside_is_not_asked() {
    let shared = fake::start(now()).await;
    let _ = fetch();
    let outside = Fetch::new(Guard::default()).unwrap();
    let refused = oidc_by(&outside, &shared).authorize_url(&ask()).await.unwrap_err();
    assert!(matches!(refused, IdentityError::Refused(_)), "{refused:?}");
    assert!(refused.to_string().contains("outbound.allow"), "{refused}");
}

#[tokio::test]
async fn a_provider_that_is_away_is_no_refusal() {
    let shared = fake::start(now()).await;
    shared.lock().unwrap().mood.away = true;
    let found = sign_in(&oidc(&shared)).await.unwrap_err();
    assert!(matches!(found, IdentityError::Away(_)), "{found}");
}

#[tokio::test]
async fn tokens_of_machines_are_held_against_their_issuer() {
    use base64::Engine as _;
    let shared = fake::start(now()).await;
    let url = shared.lock().unwrap().url.clone();
    let issuers = Issuers::new(&fetch(), std::slice::from_ref(&url));
    assert!(issuers.trusts(&url) && !issuers.trusts("https://another"));
    let audiences = ["https://slipway.example".to_owned()].into();
    let mint = |claims: serde_json::Value| shared.lock().unwrap().mint(&claims);
    let verify = async |token: &str| issuers.verify(&url, &audiences, &secret(token), now()).await;
    let good = mint(json!({"aud": "https://slipway.example", "repository": "acme/shop"}));
    assert_eq!(verify(&good).await.unwrap()["repository"], "acme/shop");
    let later = (now() + Duration::minutes(5)).timestamp();
    for bad in [
        mint(json!({})),
        mint(json!({"aud": []})),
        mint(json!({"aud": "https://slipway.example", "nbf": later})),
        mint(json!({"aud": "https://slipway.example", "iat": later})),
        mint(json!({"aud": "https://slipway.example", "exp": now().timestamp() - 61})),
        mint(json!({"aud": "https://slipway.example", "sub": ""})),
        String::new(),
        "a.b.c".to_owned(),
    ] {
        refused(verify(&bad).await);
    }
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let mut parts = good.split('.');
    let (_, body, signature) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
    for header in [
        r#"{"alg":"none","kid":"k1"}"#,
        r#"{"alg":"HS256","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"../../k1"}"#,
        r#"{"alg":"RS256","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","crit":["x"]}"#,
    ] {
        refused(verify(&format!("{}.{body}.{signature}", encode(header))).await);
        refused(verify(&format!("{}.{body}.", encode(header))).await);
    }
}
