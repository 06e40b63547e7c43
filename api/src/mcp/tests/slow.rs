//! Clients that do not take what they asked for.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use super::client::{Client, World};
use super::house::House;
use crate::ApiOptions;

/// The one stream that may be open is free again when the time of the call is over.
#[tokio::test]
async fn a_wait_ends_in_time_though_its_client_takes_no_progress() {
    let house = House::new().await;
    let options = ApiOptions { max_streams: 1, ..ApiOptions::default() };
    let url = house.open_with(options, None).await;
    let client = Client::connect(&url, World::Stateless).await;
    let id = client.submit().await;
    let wait = json!({
        "name": "wait_for_deployment",
        "arguments": {"deployment_id": id, "timeout_s": 8},
        "_meta": {"progressToken": "p1"},
    });
    let body = client.message("tools/call", wait).to_string();
    let place = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/mcp")).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(place.parse().unwrap()).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {place}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: wait_for_deployment\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    deaf.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let ask = json!({"deployment_id": id, "timeout_s": 0});
    let taken = async || {
        let answer = client.call("wait_for_deployment", ask.clone()).await;
        answer.result()["structuredContent"]["code"] == "rate_limited"
    };
    let until = async |wanted: bool, why: &str| {
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        while taken().await != wanted {
            assert!(tokio::time::Instant::now() < end, "{why}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until(true, "the call did not begin").await;
    // Far more than fits on the way.
    house.say_steps(20_000).await;
    until(false, "the call goes on after its time").await;
    drop(deaf);
}
