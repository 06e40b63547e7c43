//! A real MCP client, the official Python SDK, goes from template to applied.

use std::process::Command;

use crate::harness::{Server, repository};

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_goes_from_template_to_applied() {
    let server = Server::start().await;
    let script = repository().join("tests/rig/mcp_client.py");
    let output = Command::new("python3").arg(script).arg(&server.url).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        server.said.lock().unwrap()
    );
    assert!(said.contains("succeeded"), "{said}");
}
