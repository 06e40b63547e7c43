//! Git sources, from a repository on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use slipway_domain::port::driver::{Driver as _, DriverError, SourceInput};
use slipway_domain::tree::{Limits, Tree};
use slipway_outbound::{Allow, Guard as Outbound};

use crate::job::{Job, Rig, permanent};

pub(crate) struct Repo {
    dir: tempfile::TempDir,
}

impl Repo {
    pub(crate) fn new() -> Self {
        let repo = Self { dir: tempfile::tempdir().unwrap() };
        repo.git(&["init", "-q", "-b", "main"]);
        repo
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    #[expect(clippy::disallowed_methods, reason = "the test's own git, not the driver's")]
    fn git(&self, args: &[&str]) -> String {
        let out = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(args)
            .current_dir(self.path())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            let path: PathBuf = self.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn source(&self, reference: Option<&str>, path: Option<&str>) -> SourceInput {
        SourceInput::Git {
            url: self.url(),
            reference: reference.map(str::to_owned),
            path: path.map(str::to_owned),
        }
    }
}

async fn fetch(rig: &Rig, job: &Job, source: SourceInput) -> Result<(String, Tree), DriverError> {
    let planned = rig.driver.plan(job, rig.input(source, &[])).await?;
    let fetched = planned.fetched.unwrap();
    let tree = Tree::from_tar_gz(&fetched.archive, Limits::default()).unwrap();
    assert_eq!(planned.source_digest, tree.digest());
    Ok((fetched.commit, tree))
}

#[tokio::test]
async fn branches_tags_and_commits_are_fetched() {
    let rig = Rig::new().await;
    let repo = Repo::new();
    let first = repo.commit(&[("main.tf", "# first\n"), ("dir/a", "x")]);
    repo.git(&["tag", "v1"]);
    let second = repo.commit(&[("main.tf", "# second\n")]);
    let short = &first[..10];
    for (reference, commit, text) in [
        (None, &second, "# second\n"),
        (Some("main"), &second, "# second\n"),
        (Some("v1"), &first, "# first\n"),
        (Some(first.as_str()), &first, "# first\n"),
        (Some(short), &first, "# first\n"),
    ] {
        let job = Job::new();
        let (fetched, tree) = fetch(&rig, &job, repo.source(reference, None)).await.unwrap();
        assert_eq!(&fetched, commit, "{reference:?}");
        assert_eq!(tree.file("main.tf").unwrap().as_ref(), text.as_bytes());
        assert!(tree.entries().all(|(path, _)| !path.starts_with(".git")));
        assert_eq!(job.steps()[..2], ["fetch".to_owned(), format!("fetch: {commit}")]);
    }
}

#[tokio::test]
async fn a_root_module_below_the_top_sees_its_neighbours() {
    let rig = Rig::new().await;
    let repo = Repo::new();
    repo.commit(&[
        ("env/main.tf", "module \"m\" {\n  source = \"../mod\"\n}\n"),
        ("mod/main.tf", "resource \"terraform_data\" \"x\" {}\n"),
    ]);
    let job = Job::new();
    let planned =
        rig.driver.plan(&job, rig.input(repo.source(None, Some("env")), &[])).await.unwrap();
    assert_eq!(planned.changes[0].address, "module.m.terraform_data.x");
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_says_so() {
    let rig = Rig::new().await;
    let repo = Repo::new();
    repo.commit(&[("main.tf", "")]);
    let (summary, _) =
        permanent(fetch(&rig, &Job::new(), repo.source(Some("nowhere"), None)).await.unwrap_err());
    assert!(summary.contains("\"nowhere\" could not be fetched"), "{summary}");
    let (summary, _) =
        permanent(fetch(&rig, &Job::new(), repo.source(Some("deadbeef"), None)).await.unwrap_err());
    assert!(summary.contains("deadbeef"), "{summary}");
    let strict = Rig::with(|options| options.git.allow_file = false).await;
    for url in [repo.url(), "ext::sh -c id".into(), "http://127.0.0.1:1/x".into(), "-oProxy".into()]
    {
        let source = SourceInput::Git { url: url.clone(), reference: None, path: None };
        let (summary, _) = permanent(fetch(&strict, &Job::new(), source).await.unwrap_err());
        assert!(summary.contains("not allowed"), "{url}: {summary}");
    }
    let source =
        SourceInput::Git { url: "https://127.0.0.1:1/x".into(), reference: None, path: None };
    let (summary, _) = permanent(fetch(&strict, &Job::new(), source.clone()).await.unwrap_err());
    assert!(summary.contains("not on the public internet"), "{summary}");
    assert!(summary.contains("outbound.allow"), "{summary}");
    let inside = Rig::with(|options| {
        options.git.allow_file = false;
        options.git.outbound = Outbound::new(Allow::parse(["127.0.0.1"]).unwrap());
    });
    let error = fetch(&inside.await, &Job::new(), source).await.unwrap_err();
    assert!(matches!(error, DriverError::Transient { .. }), "{error:?}");
}

#[tokio::test]
async fn hooks_filters_and_links_of_a_repository_do_nothing() {
    let rig = Rig::new().await;
    let repo = Repo::new();
    let mark = repo.path().join("ran");
    let hook = repo.path().join(".git/hooks/post-checkout");
    std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", repo.path().join("leak")).unwrap();
    repo.commit(&[("main.tf", ""), (".gitattributes", "* filter=evil\n")]);
    let (summary, _) =
        permanent(fetch(&rig, &Job::new(), repo.source(None, None)).await.unwrap_err());
    assert!(summary.contains("link that leaves the tree"), "{summary}");
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_repository_that_is_too_big_is_refused_before_it_is_written() {
    let rig = Rig::with(|options| options.limits = Limits { total_bytes: 1000, entries: 5 }).await;
    let repo = Repo::new();
    repo.commit(&[("main.tf", ""), ("big", &"x".repeat(2000))]);
    let (summary, _) =
        permanent(fetch(&rig, &Job::new(), repo.source(None, None)).await.unwrap_err());
    assert!(summary.contains("too big"), "{summary}");
}
