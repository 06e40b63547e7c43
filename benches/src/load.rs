//! The load generator: a fixed number of kept-alive connections, each with one request at a time,
//! the next as soon as the answer was read. It runs on the machine of the server and takes its
//! share of the processor, so what it measures is a lower bound.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::sample::Sample;

/// Connections at a time.
pub(crate) const CONNECTIONS: usize = 32;
/// Load before the measurement begins.
const WARM_UP: Duration = Duration::from_secs(1);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub(crate) struct Connection<B> {
    sender: SendRequest<B>,
    host: HeaderValue,
    driver: tokio::task::JoinHandle<()>,
}

impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

impl<B> Connection<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors come back with the request that they concern.
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        let host = HeaderValue::from_str(&address.to_string())?;
        Ok(Self { sender, host, driver })
    }

    /// A request to this server.
    pub(crate) fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder().method(method).uri(path).header(HOST, self.host.clone())
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, request: Request<B>) -> anyhow::Result<Answer> {
        let whole = async {
            self.sender.ready().await?;
            let mut response = self.sender.send_request(request).await?;
            let status = response.status();
            let location = response.headers_mut().remove(LOCATION);
            let body = response.into_body().collect().await?.to_bytes();
            Ok(Answer { status, location, body })
        };
        tokio::time::timeout(PATIENCE, whole).await.context("no answer in time")?
    }
}

/// A kind of request.
pub(crate) trait Shape: Send + Sync + 'static {
    /// Method of every request.
    const METHOD: &'static str;
    /// The only status that is right.
    const STATUS: StatusCode;

    /// Path and JSON body of request number `number`.
    fn request(&self, number: u64) -> anyhow::Result<(String, Bytes)>;

    /// `Idempotency-Key` of request number `number`, if it has one.
    fn idempotency_key(&self, _number: u64) -> Option<String> {
        None
    }

    /// `Authorization` of every request, if they have one.
    fn authorization(&self) -> Option<&str> {
        None
    }
}

/// What a measurement gave.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// How long every request took that ended in the measured time.
    pub(crate) latencies: Sample,
    /// `Location` of every answer that had one, those of the warm-up included.
    pub(crate) locations: Vec<String>,
    /// Answers in all, those of the warm-up included.
    pub(crate) answers: u32,
    /// Answers a second.
    pub(crate) rate: f64,
}

/// Sends requests of a shape for `seconds` after a warm-up. Any other answer than the right one
/// ends it.
pub(crate) async fn measure(
    address: SocketAddr,
    shape: Arc<impl Shape>,
    seconds: u64,
) -> anyhow::Result<Measured> {
    let numbers = Arc::new(AtomicU64::new(0));
    let begin = Instant::now() + WARM_UP;
    let length = Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        tasks.spawn(one(address, shape.clone(), numbers.clone(), begin, begin + length));
    }
    let mut all = Measured::default();
    while let Some(done) = tasks.join_next().await {
        let mut done = done??;
        all.latencies.append(done.latencies);
        all.locations.append(&mut done.locations);
        all.answers += done.answers;
    }
    let answers = u32::try_from(all.latencies.len())?;
    if answers == 0 {
        bail!("not one answer came within the {seconds} s that were measured");
    }
    all.rate = f64::from(answers) / length.as_secs_f64();
    Ok(all)
}

/// Sends `count` requests one after the other; gives `Location` of every answer that has one.
pub(crate) async fn send<S: Shape>(
    address: SocketAddr,
    shape: &S,
    count: u64,
) -> anyhow::Result<Vec<String>> {
    let mut connection = Connection::open(address).await?;
    let mut locations = Vec::new();
    for number in 0..count {
        locations.extend(exchange(&mut connection, shape, number).await?.1);
    }
    Ok(locations)
}

/// One connection's part.
async fn one<S: Shape>(
    address: SocketAddr,
    shape: Arc<S>,
    numbers: Arc<AtomicU64>,
    begin: Instant,
    end: Instant,
) -> anyhow::Result<Measured> {
    let mut connection = Connection::open(address).await?;
    let mut measured = Measured::default();
    while Instant::now() < end {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let (took, location) = exchange(&mut connection, &*shape, number).await?;
        if (begin..end).contains(&Instant::now()) {
            measured.latencies.push(took);
        }
        measured.locations.extend(location);
        measured.answers += 1;
    }
    Ok(measured)
}

/// Sends one request and checks its answer; gives its `Location` and how long that took.
pub(crate) async fn exchange<S: Shape>(
    connection: &mut Connection<Full<Bytes>>,
    shape: &S,
    number: u64,
) -> anyhow::Result<(Duration, Option<String>)> {
    let (path, body) = shape.request(number)?;
    let mut request = connection.request(S::METHOD, &path);
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(key) = shape.idempotency_key(number) {
        request = request.header("idempotency-key", key);
    }
    if let Some(shown) = shape.authorization() {
        request = request.header(AUTHORIZATION, shown);
    }
    let request = request.body(Full::new(body))?;
    let sent = Instant::now();
    let answer = connection.send(request).await.context(path)?;
    let took = sent.elapsed();
    if answer.status != S::STATUS {
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        bail!("a {} was answered with {}: {body}", S::METHOD, answer.status);
    }
    let location = answer.location.map(|location| location.to_str().map(str::to_owned));
    Ok((took, location.transpose()?))
}
