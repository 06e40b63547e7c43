//! Over a real socket: serving, draining, stopping.

use std::time::Duration;

use slipway_api::ApiOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::house::{House, path};

struct Served {
    house: House,
    address: std::net::SocketAddr,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn served(drain: Duration) -> Served {
    let house = House::with(ApiOptions {
        drain_timeout: drain,
        max_archive_bytes: 1 << 20,
        ..Default::default()
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = house.state.clone();
    let shutdown = state.shutdown.clone();
    let task = tokio::spawn(slipway_api::serve(listener, state, shutdown));
    Served { house, address, task }
}

async fn get(address: std::net::SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn the_address_of_the_caller_is_on_record_and_shutdown_ends_streams() {
    let Served { house, address, task } = served(Duration::from_secs(10)).await;
    let body = crate::house::submission().to_string();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!(
        "POST /api/v1/deployments HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");

    let all = house.get("/api/v1/deployments").await.ok(200);
    let events = format!("{}/events", path(&all["items"][0]));
    let mut follower = get(address, &events).await;
    let mut first = [0u8; 4096];
    let read = follower.read(&mut first).await.unwrap();
    assert!(String::from_utf8_lossy(&first[..read]).starts_with("HTTP/1.1 200"));
    house.state.shutdown.cancel();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), follower.read_to_end(&mut rest)).await;
    ended.expect("the stream ends").unwrap();
    tokio::time::timeout(Duration::from_secs(5), task).await.expect("it stops").unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_that_does_not_end_does_not_hold_up_the_shutdown() {
    let Served { house, address, task } = served(Duration::from_millis(200)).await;
    let mut stuck = TcpStream::connect(address).await.unwrap();
    let half = "POST /api/v1/deployments HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    stuck.write_all(half.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    house.state.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), task).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_sends_too_much_reads_the_answer_that_says_so() {
    const SIZE: usize = 20 << 20;
    let Served { house, address, task } = served(Duration::from_millis(200)).await;
    for round in 0..10 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /api/v1/artifacts HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/gzip\r\nContent-Length: {SIZE}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // As most clients do: first all of the body, then the answer.
        for _ in 0..20 {
            let sent = stream.write_all(&vec![0; 1 << 20]).await;
            sent.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413", "round {round}");
    }
    house.state.shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_asks_first_is_not_told_to_send_what_is_too_much() {
    let Served { address, .. } = served(Duration::from_millis(200)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /api/v1/artifacts HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                Content-Type: application/gzip\r\nContent-Length: 20971520\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}
