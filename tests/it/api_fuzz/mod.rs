//! Requests that are made up from the OpenAPI document, against every endpoint: nothing ends in a
//! server error, and every answer is one that the document describes. Run it with `./test api-fuzz`.
//!
//! Environment: `SCHEMATHESIS_SEED` (1 when it is not set),
//! `SCHEMATHESIS_EXAMPLES` (made-up requests for each operation; 10).

use std::path::Path;
use std::process::Command;

use crate::chaos::run::number;
use crate::harness::{Database, Server, deployed, hello, planned, request, template};

/// Whatever is asked: no server error, and no status, media type, header or body that the document
/// does not know; what was deleted is gone, and what was made is there.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,use_after_free,\
                      ensure_resource_availability";

/// How long a run goes on: what is made up at random is repeated until then, so a slow machine sends
/// fewer requests.
const LIMIT_S: u32 = 900;

/// One run.
struct Run<'a> {
    url: &'a str,
    dir: &'a Path,
    phases: &'a str,
    examples: u64,
}

impl Run<'_> {
    fn go(&self) {
        let program = std::env::var_os("SLIPWAY_TEST_SCHEMATHESIS").expect(
            "SLIPWAY_TEST_SCHEMATHESIS is not set; `./test api-fuzz` installs it and says where",
        );
        let seed = number("SCHEMATHESIS_SEED").unwrap_or(1);
        let mut command = Command::new(program);
        command
            .arg("run")
            .arg(format!("{}/openapi.json", self.url))
            .args(["--phases", self.phases, "--checks", CHECKS, "--continue-on-failure"])
            .args(["--seed", &seed.to_string(), "--max-examples", &self.examples.to_string()])
            .args(["--max-time", &LIMIT_S.to_string(), "--request-timeout", "70", "--no-shrink"])
            // What it thinks of our patterns, and how fast it is, is not what is asked here.
            .args(["--suppress-health-check", "all", "--warnings", "off"])
            .current_dir(self.dir);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "seed {seed}:\n{said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let summary = said.split("SUMMARY").last().unwrap_or(&said);
        println!("{summary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_the_answer_is_documented() {
    let server = Server::start_with(Database::Sqlite, &[]).await;
    // Something that is there to be asked for.
    deployed(&server.client, &request("fuzz", template("hello"), hello("one"))).await;
    planned(&server.client, &request("waiting", template("hello"), hello("two"))).await;
    let run = Run {
        url: &server.url,
        dir: server.dir.path(),
        phases: "examples,coverage,fuzzing,stateful",
        examples: number("SCHEMATHESIS_EXAMPLES").unwrap_or(10),
    };
    run.go();
    server.client.health().await.unwrap();
}
