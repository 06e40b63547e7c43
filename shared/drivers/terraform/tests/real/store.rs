//! What was installed is kept and used again. These need providers.

use std::sync::Arc;

use slipway_domain::deployment::Operation;
use slipway_domain::plan::Counts;
use slipway_domain::port::driver::{Driver as _, SourceInput};
use slipway_domain::tree::Tree;

use crate::job::{Job, Rig, inits, tree};

fn source() -> Tree {
    tree(&[(
        "main.tf",
        "resource \"random_id\" \"r\" {\n  byte_length = 4\n}\n\
         resource \"null_resource\" \"n\" {\n  triggers = { id = random_id.r.hex }\n}\n\
         output \"hex\" {\n  value = random_id.r.hex\n}\n",
    )])
}

#[tokio::test]
async fn the_second_plan_needs_no_init_and_the_apply_none_either() {
    let mut rig = Rig::with_mirror().await;
    let job = Job::new();
    let planned = rig.plan(&job, &source()).await.unwrap();
    assert_eq!(inits(&job), ["init: running"]);
    assert!(planned.lock_file_digest.is_some());
    let job = Job::new();
    let again = rig.plan(&job, &source()).await.unwrap();
    assert_eq!(inits(&job), ["init: cached"]);
    assert_eq!(again.lock_file_digest, planned.lock_file_digest);
    let job = Job::new();
    let applied = rig.apply(&job, &source(), &again).await.unwrap();
    assert_eq!(job.steps(), ["init: cached", "apply"]);
    assert_eq!(applied.outputs[0].value.as_str().map(str::len), Some(8));
    let job = Job::new();
    assert!(rig.plan(&job, &source()).await.unwrap().no_changes);
    assert_eq!(inits(&job), ["init: cached"], "the state needs nothing that is not there");
    let destroy = rig.destroy(&Job::new(), &source()).await.unwrap();
    rig.apply(&Job::new(), &source(), &destroy).await.unwrap();
    assert_eq!(rig.state.unwrap().resource_count, 0);
}

#[tokio::test]
async fn a_worker_without_the_cache_can_apply_too() {
    let mut rig = Rig::with_mirror().await;
    let planned = rig.plan(&Job::new(), &source()).await.unwrap();
    let other = Rig::with_mirror().await;
    rig.driver = other.driver.clone();
    let job = Job::new();
    rig.apply(&job, &source(), &planned).await.unwrap();
    assert_eq!(job.steps(), ["init: running", "apply"]);
    drop(other);
}

#[tokio::test]
async fn a_damaged_cache_is_made_anew() {
    let rig = Rig::with_mirror().await;
    rig.plan(&Job::new(), &source()).await.unwrap();
    let init = rig.cache.join("init");
    let entry = std::fs::read_dir(&init).unwrap().flatten().map(|i| i.path()).find(|p| p.is_dir());
    let entry = entry.unwrap();
    let current = std::fs::read_to_string(entry.join("current")).unwrap();
    // A lock file that does not name the providers any more: only the tool notices.
    std::fs::write(entry.join(current).join("lock.hcl"), "# nothing\n").unwrap();
    let job = Job::new();
    rig.plan(&job, &source()).await.unwrap();
    assert_eq!(inits(&job), ["init: cached", "init: running"], "{}", job.text());
    assert!(job.events.lock().unwrap().iter().all(|e| e.kind() != "diagnostic"));
    let job = Job::new();
    rig.plan(&job, &source()).await.unwrap();
    assert_eq!(inits(&job), ["init: cached"]);
}

#[tokio::test]
async fn providers_that_only_the_state_needs_are_installed() {
    let mut rig = Rig::with_mirror().await;
    rig.deploy(&source()).await;
    let empty = tree(&[("main.tf", "output \"o\" {\n  value = 1\n}\n")]);
    let job = Job::new();
    let planned = rig.plan(&job, &empty).await.unwrap();
    assert_eq!(Counts::of(&planned.changes).delete, 2, "{}", job.text());
    assert_eq!(inits(&job), ["init: running"]);
    rig.apply(&Job::new(), &empty, &planned).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_not_there_fails_in_words() {
    let rig = Rig::with_mirror().await;
    let source = tree(&[("main.tf", "resource \"acme_thing\" \"x\" {}\n")]);
    let job = Job::new();
    let (summary, diagnostics) = crate::job::permanent(rig.plan(&job, &source).await.unwrap_err());
    assert!(summary.starts_with("the init failed"), "{summary}");
    assert!(diagnostics[0].detail.contains("hashicorp/acme"), "{diagnostics:?}");
}

#[tokio::test]
async fn many_cold_plans_at_once_run_one_init() {
    let rig = Arc::new(Rig::with_mirror().await);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let rig = rig.clone();
            tokio::spawn(async move {
                let job = Job::new();
                let planned = rig.plan(&job, &source()).await.map(|p| p.changes.len());
                (planned, inits(&job))
            })
        })
        .collect();
    let mut ran = 0;
    for task in tasks {
        let (planned, inits) = task.await.unwrap();
        assert_eq!(planned.unwrap(), 2);
        ran += usize::from(inits == ["init: running"]);
        assert!(inits == ["init: running"] || inits == ["init: cached"], "{inits:?}");
    }
    assert_eq!(ran, 1);
}

#[tokio::test]
async fn an_own_backend_keeps_its_state_and_tells_its_outputs() {
    let backend = tempfile::tempdir().unwrap();
    // The http backend is the only one that needs no account: a server of our own.
    let server = crate::store::http::Server::start(backend.path().join("state")).await;
    let source = tree(&[(
        "main.tf",
        &format!(
            "terraform {{\n  backend \"http\" {{\n    address = \"{}\"\n  }}\n}}\n\
             resource \"terraform_data\" \"x\" {{\n  input = \"v\"\n}}\n\
             output \"plain\" {{\n  value = terraform_data.x.output\n}}\n\
             output \"secret\" {{\n  value = \"s3cret\"\n  sensitive = true\n}}\n",
            server.url
        ),
    )]);
    let rig = Rig::new().await;
    let job = Job::new();
    let planned = rig.plan(&job, &source).await.unwrap();
    assert!(job.text().contains("keeps no copy"), "{}", job.text());
    assert_eq!(inits(&job), ["init: running"]);
    assert_eq!(planned.state.lineage, "");
    let job = Job::new();
    let applied = rig.driver.apply(&job, rig.applying(&source, &planned)).await.unwrap();
    assert!(job.states.lock().unwrap().is_empty());
    let secret = crate::job::output(&applied.outputs, "secret");
    assert_eq!((secret.value.as_str(), secret.sensitive), (Some("s3cret"), true));
    assert!(rig.plan(&Job::new(), &source).await.unwrap().no_changes);
    let mut input = rig.input(SourceInput::Tree(source.clone()), &[]);
    input.operation = Operation::Destroy;
    let destroy = rig.driver.plan(&Job::new(), input).await.unwrap();
    assert_eq!(Counts::of(&destroy.changes).delete, 1);
}

pub(crate) mod http {
    //! The least that Terraform's http backend needs.

    use std::path::PathBuf;

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    pub(crate) struct Server {
        pub url: String,
    }

    impl Server {
        pub(crate) async fn start(file: PathBuf) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/state", listener.local_addr().unwrap());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, file.clone()));
                }
            });
            Self { url }
        }
    }

    async fn serve(stream: TcpStream, file: PathBuf) {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head
            .lines()
            .find_map(|l| l.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        if head.starts_with("POST") {
            std::fs::write(&file, &body).unwrap();
            body.clear();
        } else {
            body = std::fs::read(&file).unwrap_or_default();
        }
        let status =
            if body.is_empty() && head.starts_with("GET") { "404 Not Found" } else { "200 OK" };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let stream = stream.get_mut();
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.write_all(&body).await;
    }
}
