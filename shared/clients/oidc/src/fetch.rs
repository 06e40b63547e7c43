//! What is sent to providers and issuers, and what is taken from them: over TLS (or on this machine),
//! to where it was meant and nowhere else, small and soon. Their documents name further addresses, so
//! all of it goes through the guard of what leaves the house.

use std::fmt;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use slipway_domain::Secret;
use slipway_domain::port::identity_provider::IdentityError;
use slipway_outbound::{Client, ClientOptions, Guard};

/// A whole exchange.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Why there can be no client.
#[derive(Debug)]
pub struct BuildError(String);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there can be no client of identity providers: {}", self.0)
    }
}

impl std::error::Error for BuildError {}

/// Sends requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetch {
    http: Client,
}

/// How we say who we are.
pub(crate) enum Auth<'a> {
    Nothing,
    Bearer(&'a Secret<String>),
    Basic(&'a str, &'a Secret<String>),
}

impl Fetch {
    /// Makes the client; calls nobody.
    pub fn new(guard: Guard) -> Result<Self, BuildError> {
        let options = ClientOptions {
            connect: DEADLINE / 2,
            deadline: DEADLINE,
            // A secret goes where it was meant to go.
            redirects: 0,
            ..ClientOptions::default()
        };
        // What may go without TLS is looked at here: it is less than what the guard can say.
        let http = Client::new(guard.with_http(true), &options)
            .map_err(|why| BuildError(why.without_url().to_string()))?;
        Ok(Self { http })
    }

    fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, IdentityError> {
        self.http.request(method, url.clone()).map_err(|why| refused(url, &why.to_string()))
    }

    /// What is at a URL.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        url: &str,
        auth: Auth<'_>,
    ) -> Result<T, IdentityError> {
        let url = checked(url)?;
        answer(&url, shown(self.request(Method::GET, &url)?, &auth)).await
    }

    /// The answer to a form.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        auth: Auth<'_>,
        form: &[(&str, &str)],
    ) -> Result<T, IdentityError> {
        let url = checked(url)?;
        let mut body = Url::parse("http://form/").map_err(|_| refused(&url, "it has no form"))?;
        body.query_pairs_mut().extend_pairs(form);
        let body = body.query().unwrap_or_default().to_owned();
        let request = self.request(Method::POST, &url)?.body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        answer(&url, shown(request, &auth)).await
    }
}

/// Only over TLS, but on this machine.
pub(crate) fn checked(url: &str) -> Result<Url, IdentityError> {
    let bad = |why: &str| IdentityError::Refused(format!("a URL of the provider {why}"));
    let url = Url::parse(url).map_err(|_| bad("cannot be read"))?;
    let host = url.host_str().ok_or_else(|| bad("has no host"))?;
    let here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("carries credentials"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        _ => Err(bad("is not https")),
    }
}

fn shown(request: RequestBuilder, auth: &Auth<'_>) -> RequestBuilder {
    match auth {
        Auth::Nothing => request,
        Auth::Bearer(token) => request.bearer_auth(token.reveal()),
        Auth::Basic(id, secret) => request.basic_auth(encoded(id), Some(encoded(secret.reveal()))),
    }
}

/// RFC 6749, 2.3.1: id and secret are form-encoded before they are put together.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                char::from(b).to_string()
            }
            b' ' => "+".to_owned(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn refused(url: &Url, why: &str) -> IdentityError {
    // What a URL has behind its path is nobody's business.
    let host = url.host_str().unwrap_or_default();
    IdentityError::Refused(format!("{host}{}: {why}", url.path()))
}

async fn answer<T: DeserializeOwned>(
    url: &Url,
    request: RequestBuilder,
) -> Result<T, IdentityError> {
    let host = url.host_str().unwrap_or_default();
    let away = |why: reqwest::Error| match Client::refusal(&why) {
        Some(why) => refused(url, &why.to_string()),
        None => IdentityError::Away(format!("{host}: {}", why.without_url())),
    };
    let mut response = request.header(ACCEPT, "application/json").send().await.map_err(away)?;
    let status = response.status();
    if status.is_server_error() || status.as_u16() == 429 {
        return Err(IdentityError::Away(format!("{host} answers with status {status}")));
    }
    if !status.is_success() {
        return Err(refused(url, &format!("it answers with status {status}")));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(refused(url, "its answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    // What cannot be read is not quoted: it may hold tokens.
    serde_json::from_slice(&body).map_err(|_| refused(url, "its answer cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_in_clear_to_elsewhere() {
        for good in ["https://idp.example.com/x", "http://127.0.0.1:9/x", "http://[::1]:9"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in ["http://idp.example.com", "ftp://x", "file:///etc/passwd", "x", "https://u:p@h"]
        {
            assert!(checked(bad).is_err(), "{bad}");
        }
        assert_eq!(encoded("a b:c/ä"), "a+b%3Ac%2F%C3%A4");
    }
}
