//! Policy packs from the command line: tested here, uploaded, tried on a past plan; exemptions.

use std::process::Output;

use serde_json::Value;

use crate::harness::{Server, command, repository};

fn slipway(server: &Server, args: &[&str]) -> Output {
    command()
        .args(args)
        .env("SLIPWAY_URL", &server.url)
        .current_dir(server.dir.path())
        .output()
        .unwrap()
}

#[track_caller]
fn done(output: &Output, code: i32) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    format!("{out}{err}")
}

/// The complete pack of docs/POLICIES.md.
fn example() -> String {
    let page = std::fs::read_to_string(repository().join("docs/POLICIES.md")).unwrap();
    let (_, rest) = page.split_once("```rego\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_tested_pushed_and_tried() {
    let server = Server::start().await;
    let dir = server.path("naming");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("naming.rego"), example()).unwrap();
    std::fs::write(dir.join("README.md"), "# ours\n").unwrap();

    // Without a server.
    let tested = command()
        .args(["policies", "test", "naming", "--url", "http://127.0.0.1:9"])
        .current_dir(server.dir.path())
        .output()
        .unwrap();
    assert!(done(&tested, 0).contains("3 tests passed"), "{tested:?}");
    assert!(done(&slipway(&server, &["policies", "push", "naming"]), 0).contains("version 1"));
    assert!(done(&slipway(&server, &["policies", "push", "naming"]), 0).contains("version 1"));
    let listed = done(&slipway(&server, &["policies"]), 0);
    assert!(listed.contains("slipway/terraform") && listed.contains("naming"), "{listed}");
    let shown = done(&slipway(&server, &["policies", "show", "slipway/terraform"]), 0);
    assert!(shown.contains("CKV_AWS_24"), "{shown}");
    let source = done(&slipway(&server, &["policies", "show", "naming", "--source"]), 0);
    assert!(source.contains("package user.naming"), "{source}");

    done(&slipway(&server, &["deploy", "--template", "hello", "--var", "name=x", "--wait"]), 5);
    let tried = slipway(
        &server,
        &["policies", "dry-run", "--pack", "naming", "--project", "default", "--json"],
    );
    done(&tried, 0);
    let tried: Value = serde_json::from_slice(&tried.stdout).unwrap();
    assert_eq!(tried["results"][0]["form"], "normalised");
    assert_eq!(tried["results"][0]["verdict"], "pass");
    let strict = server.path("strict");
    std::fs::create_dir(&strict).unwrap();
    let text = "package user.strict\n\nimport rego.v1\n\ndeny contains {\"rule\": \"nothing\", \"address\": a, \"message\": \"nothing may be made\"} if {\n\tsome r in input.resources\n\ta := r.address\n}\n";
    std::fs::write(strict.join("a.rego"), text).unwrap();
    let tried = done(
        &slipway(&server, &["policies", "dry-run", "--dir", "strict", "--project", "default"]),
        0,
    );
    assert!(tried.contains("deny nothing at"), "{tried}");

    let broken = text.replace("some r in", "http.send({})\n\tsome r in");
    std::fs::write(strict.join("a.rego"), broken).unwrap();
    let here = done(&slipway(&server, &["policies", "test", "strict"]), 2);
    assert!(here.contains("a.rego:6:"), "{here}");
    let there = done(&slipway(&server, &["policies", "push", "strict"]), 2);
    assert!(there.contains("a.rego:6:"), "{there}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exemption_is_added_listed_and_revoked() {
    let server = Server::start().await;
    let added = slipway(
        &server,
        &[
            "exemptions",
            "add",
            "CKV_AWS_20",
            "aws_s3_bucket.*",
            "--project",
            "shop",
            "--env",
            "prod",
            "--reason",
            "a page that everybody may read",
            "--owner",
            "web",
            "--days",
            "30",
            "--json",
        ],
    );
    done(&added, 0);
    let added: Value = serde_json::from_slice(&added.stdout).unwrap();
    let id = added["id"].as_str().unwrap();
    let listed = done(&slipway(&server, &["exemptions", "list", "--state", "active"]), 0);
    assert!(listed.contains(id) && listed.contains("shop/prod"), "{listed}");
    done(&slipway(&server, &["exemptions", "revoke", id, "--reason", "fixed"]), 0);
    let listed = done(&slipway(&server, &["exemptions", "list", "--state", "active"]), 0);
    assert!(!listed.contains(id), "{listed}");
    let refused = slipway(
        &server,
        &["exemptions", "add", "*", "a.b", "--reason", "short", "--owner", "x", "--days", "1"],
    );
    let refused = done(&refused, 2);
    assert!(refused.contains("/rule") && refused.contains("/reason"), "{refused}");
}
