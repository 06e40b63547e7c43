//! How a request goes to the server and its answer comes back: the one place that builds an HTTP
//! client, with deadlines, bounded answers, repetition where that is safe, and refusals read.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use reqwest::{Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use slipway_domain::{Code, Secret};

use crate::client::credentials::CredentialsFile;
use crate::client::error::{ClientError, Problem};

/// A connection must be there after this long.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A whole exchange, from the request's first byte to the answer's last, unless a call says more.
const DEADLINE: Duration = Duration::from_mins(1);
/// Bytes at most of an answer; plans of thousands of resources are well below.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Tries of a request that may be repeated.
const TRIES: u32 = 3;
/// Pause before the first repetition; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A server that wants a longer pause than this is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A typed client of one Slipway server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: Url,
    shows: Showing,
}

/// What is shown with every request.
#[derive(Debug, Clone)]
pub(super) enum Showing {
    Nothing,
    Token(Secret<String>),
    File(CredentialsFile),
}

impl Client {
    /// A client of the server at `base`, e.g. `http://127.0.0.1:8000`. Connects to nothing yet.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        let wrong = |why: &str| ClientError::Input(format!("--url {base:?} {why}"));
        // What cannot be read may hold a password, so only what can be is shown.
        let mut url = Url::parse(base)
            .map_err(|why| ClientError::Input(format!("--url is not a URL: {why}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ClientError::Input("--url must not carry credentials".to_owned()));
        }
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("must begin with http:// or https:// and name a host"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must not have a query or a fragment"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_DEADLINE)
            // A redirected POST would become a GET: better to say where the server points to.
            .redirect(reqwest::redirect::Policy::none());
        if url.scheme() == "http" {
            // No certificates are needed, so a machine that has none will do.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|why| ClientError::Input(format!("no HTTP client: {}", chain(&why))))?;
        Ok(Self { http, base: url, shows: Showing::Nothing })
    }

    pub(super) fn with(self, shows: Showing) -> Self {
        Self { shows, ..self }
    }

    pub(super) fn shows(&self) -> &Showing {
        &self.shows
    }

    /// The server's URL, without a slash at its end.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The URL of a route under `/api/v1`.
    pub(super) fn url(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        self.address(&["api", "v1"], path, query)
    }

    fn address(&self, prefix: &[&str], path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        // `http` and `https` URLs always have a path to extend.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(prefix).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Sends a call, again where it may be and promises something, and gives an answer that is
    /// not a refusal.
    pub(super) async fn send(&self, call: Call) -> Result<Answer, ClientError> {
        let mut pause = FIRST_PAUSE;
        let mut tried = 1;
        loop {
            let (error, wait) = match self.once(&call).await {
                Ok(answer) => return Ok(answer),
                Err(Failed { error, again: Some(wait) }) => (error, wait),
                Err(Failed { error, again: None }) => return Err(error),
            };
            if tried >= TRIES || !call.repeatable {
                return Err(error);
            }
            tokio::time::sleep(wait.max(pause)).await;
            pause *= 2;
            tried += 1;
        }
    }

    async fn once(&self, call: &Call) -> Result<Answer, Failed> {
        let prefix: &[&str] = if call.outside { &[] } else { &["api", "v1"] };
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let query: Vec<(&str, String)> =
            call.query.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let url = self.address(prefix, &path, &query);
        let mut request = self
            .http
            .request(call.method.clone(), url.clone())
            .timeout(call.deadline)
            .header(USER_AGENT, agent())
            .header(ACCEPT, call.accept);
        if let Some((kind, body)) = &call.body {
            request = request.header(CONTENT_TYPE, *kind).body(body.clone());
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some((name, value)) = &call.condition {
            request = request.header(*name, value);
        }
        if !call.open {
            let shown = self.bearer().await.map_err(|error| Failed { error, again: None })?;
            if let Some(token) = shown {
                request = request.bearer_auth(token.reveal());
            }
        }
        let response = request.send().await.map_err(|why| Failed {
            // A deadline that passed will pass again.
            again: (!why.is_timeout() || why.is_connect()).then_some(Duration::ZERO),
            error: self.unreachable(&why),
        })?;
        let answer = Answer { url, response };
        if answer.response.status().is_success() || call.down && answer.says_down() {
            return Ok(answer);
        }
        Err(self.refusal(answer).await)
    }

    /// Opens an event stream after number `after`.
    pub(super) async fn open(&self, url: &Url, after: i64) -> Result<Answer, Failed> {
        let mut request = self
            .http
            .get(url.clone())
            .header(USER_AGENT, agent())
            .header(ACCEPT, "text/event-stream");
        if after > 0 {
            request = request.header("last-event-id", after.to_string());
        }
        let shown = self.bearer().await.map_err(|error| Failed { error, again: None })?;
        if let Some(token) = shown {
            request = request.bearer_auth(token.reveal());
        }
        let again = Some(Duration::ZERO);
        let response = match tokio::time::timeout(DEADLINE, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(why)) => return Err(Failed { error: self.unreachable(&why), again }),
            Err(_) => return Err(Failed { error: self.silent("it accepts but is silent"), again }),
        };
        let answer = Answer { url: url.clone(), response };
        if !answer.response.status().is_success() {
            return Err(self.refusal(answer).await);
        }
        let kind = answer.response.headers().get(CONTENT_TYPE);
        let is_stream = kind
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|k| k.starts_with("text/event-stream"));
        if !is_stream && answer.response.status() != reqwest::StatusCode::NO_CONTENT {
            return Err(Failed { error: answer.garbled("it sends no event stream"), again: None });
        }
        Ok(answer)
    }

    async fn refusal(&self, answer: Answer) -> Failed {
        let status = answer.response.status();
        let pause = retry_after(answer.response.headers());
        let location = answer.response.headers().get("location").cloned();
        if status.is_redirection() {
            let to = location.and_then(|to| to.to_str().map(str::to_owned).ok());
            let why = format!("it points to {}", to.as_deref().unwrap_or("another place"));
            return Failed { error: answer.garbled(&why), again: None };
        }
        let url = answer.url.clone();
        let body = match answer.bytes().await {
            Ok(body) => body,
            Err(error) => return Failed { error, again: None },
        };
        let problem = serde_json::from_slice::<Problem>(&body).ok().filter(|p| !p.code.is_empty());
        let own = problem.is_some();
        let mut problem = problem.unwrap_or_else(|| Problem {
            // A proxy, or something else that is no Slipway: its page says nothing to us.
            code: "unexpected_answer".to_owned(),
            detail: format!("{} answers with status {status}.", without_query(&url)),
            ..Problem::default()
        });
        problem.status = status.as_u16();
        let passing = matches!(status.as_u16(), 429 | 502 | 503)
            || (own && problem.is(Code::IdempotencyInFlight));
        let again = passing.then(|| pause.unwrap_or_default()).filter(|p| *p <= LONGEST_PAUSE);
        Failed { error: ClientError::Refused(Box::new(problem)), again }
    }

    fn unreachable(&self, why: &reqwest::Error) -> ClientError {
        self.silent(&chain(why))
    }

    /// The error for a server that does not answer.
    pub(super) fn silent(&self, why: &str) -> ClientError {
        ClientError::Unreachable { url: self.base().to_owned(), why: why.to_owned() }
    }
}

/// What stands between the parts of a form: long enough to be in none of them.
macro_rules! boundary {
    () => {
        "slipway-form-5d0e3b7a9c1f48e2b6a4d8709e15c3f2"
    };
}
const BOUNDARY: &str = boundary!();

/// A request, ready to be sent as often as it may be.
pub(super) struct Call {
    method: Method,
    path: Vec<String>,
    query: Vec<(String, String)>,
    body: Option<(&'static str, Bytes)>,
    accept: &'static str,
    idempotency_key: Option<String>,
    condition: Option<(&'static str, String)>,
    deadline: Duration,
    repeatable: bool,
    outside: bool,
    down: bool,
    open: bool,
}

impl Call {
    /// A call of a route under `/api/v1`. A GET may be repeated.
    pub(super) fn new(method: Method, path: &[&str]) -> Self {
        Self {
            repeatable: method == Method::GET,
            method,
            path: path.iter().map(ToString::to_string).collect(),
            query: Vec::new(),
            body: None,
            accept: "application/json",
            idempotency_key: None,
            condition: None,
            deadline: DEADLINE,
            outside: false,
            down: false,
            open: false,
        }
    }

    /// A route that is not under `/api/v1`.
    pub(super) fn outside(mut self, path: &str) -> Self {
        self.path = vec![path.to_owned()];
        self.outside = true;
        self
    }

    /// Only when a header such as `If-Match` holds.
    pub(super) fn only_if(mut self, name: &'static str, value: String) -> Self {
        self.condition = Some((name, value));
        self
    }

    /// Shows nothing: it is how one gets something to show.
    pub(super) fn openly(mut self) -> Self {
        self.open = true;
        self
    }

    /// Takes the answer of a server that says that it is down, too.
    pub(super) fn also_when_down(mut self) -> Self {
        self.down = true;
        self
    }

    pub(super) fn query(mut self, query: &[(&str, String)]) -> Self {
        self.query =
            query.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self
    }

    pub(super) fn json<T: Serialize>(mut self, body: &T) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(body)
            .map_err(|why| ClientError::Input(format!("the request cannot be written: {why}")))?;
        self.body = Some(("application/json", body.into()));
        Ok(self)
    }

    /// A multipart form; each part has a name, a content type and bytes.
    pub(super) fn form(mut self, parts: &[(&str, &str, &[u8])]) -> Self {
        let mut body = BytesMut::new();
        for (name, kind, content) in parts {
            let head = format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\
                 content-type: {kind}\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let kind = concat!("multipart/form-data; boundary=", boundary!());
        self.body = Some((kind, body.freeze()));
        self
    }

    pub(super) fn bytes(mut self, kind: &'static str, body: Bytes) -> Self {
        self.body = Some((kind, body));
        self
    }

    pub(super) fn accept(mut self, kinds: &'static str) -> Self {
        self.accept = kinds;
        self
    }

    /// With this key the server does it once at most, so it may be repeated.
    pub(super) fn idempotent(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.to_owned());
        self.repeatable = true;
        self
    }

    pub(super) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Why a try failed, and after which pause another one may do better.
pub(super) struct Failed {
    pub(super) error: ClientError,
    pub(super) again: Option<Duration>,
}

/// An answer whose body has not been read.
pub(super) struct Answer {
    url: Url,
    pub(super) response: Response,
}

impl Answer {
    async fn bytes(self) -> Result<Bytes, ClientError> {
        self.at_most(MAX_ANSWER_BYTES).await
    }

    /// The body as it is, refusing one that is larger than `limit`.
    pub(super) async fn at_most(mut self, limit: usize) -> Result<Bytes, ClientError> {
        let mut body = BytesMut::new();
        loop {
            match self.response.chunk().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => return Ok(body.freeze()),
                Err(why) => return Err(self.garbled(&format!("it broke off: {}", chain(&why)))),
            }
            if body.len() > limit {
                return Err(self.garbled(&format!("more than {} MiB", limit >> 20)));
            }
        }
    }

    /// The next part of the body; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        let part = self.response.chunk().await;
        part.map_err(|why| self.garbled(&format!("it broke off: {}", chain(&why))))
    }

    /// Whether it is the server's own word of being down, and not a refusal or something in between.
    fn says_down(&self) -> bool {
        let kind = self.response.headers().get(reqwest::header::CONTENT_TYPE);
        self.response.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE
            && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
    }

    /// Whether the server says that it made something.
    pub(super) fn is_created(&self) -> bool {
        self.response.status() == reqwest::StatusCode::CREATED
    }

    /// The body as JSON.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let url = self.url.clone();
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|why| ClientError::Garbled {
            url: without_query(&url),
            // The position only: the text may hold what was revealed.
            why: format!(
                "unexpected JSON at line {}, column {} ({:?})",
                why.line(),
                why.column(),
                why.classify()
            ),
        })
    }

    /// The body as text.
    pub(super) async fn text(self) -> Result<String, ClientError> {
        Ok(String::from_utf8_lossy(&self.bytes().await?).into_owned())
    }

    fn garbled(&self, why: &str) -> ClientError {
        ClientError::Garbled { url: without_query(&self.url), why: why.to_owned() }
    }
}

fn agent() -> &'static str {
    concat!("slipway/", env!("CARGO_PKG_VERSION"))
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    host == "localhost"
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The innermost cause of a network error says it best ("Connection refused").
pub(super) fn chain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
