//! Templates that are published: their versions, who gets which, and what happens when several
//! people work on one.

use bytes::Bytes;
use serde_json::json;
use slipway_domain::access::Scope;
use slipway_domain::deployment::{Operation, Options as How};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::source::Source;
use slipway_domain::template::{TemplateSource, TemplateState};
use slipway_domain::tree::Tree;
use slipway_services::deployment::{self, Submit};
use slipway_services::template::{self, Deprecate, Publish, Render, Restore};

use crate::rig::{Rig, key, on_both_engines};

on_both_engines! {
    versions_follow_each_other_and_equal_content_makes_none,
    a_deployment_says_which_version_it_got,
    what_is_deprecated_is_not_given_by_default,
    what_deployments_name_is_not_deleted,
    names_of_the_installation_are_not_taken,
    what_is_refused_leaves_nothing,
    of_those_who_publish_at_once_each_gets_its_own_number,
    a_version_is_deleted_or_deployed_and_never_both,
    a_rendering_masks_secrets_and_keeps_nothing,
    the_same_key_gives_the_same_answer,
    another_process_sees_a_new_version_at_once,
}

fn packed(files: &[(&str, &str)]) -> Bytes {
    let mut tree = Tree::new();
    for (path, content) in files {
        tree.add_file(path, content.as_bytes().to_vec(), false).unwrap();
    }
    tree.to_tar_gz().unwrap()
}

fn archive(comment: &str) -> Bytes {
    let main =
        format!("variable \"region\" {{}}\nvariable \"token\" {{}} # sensitive\n# {comment}\n");
    packed(&[("main.tf", &main)])
}

fn publication(name: &str) -> Publish {
    Publish {
        name: name.to_owned(),
        title: Some("A network".to_owned()),
        description: None,
        category: None,
        labels: None,
        expected_version: None,
    }
}

async fn push(rig: &Rig, name: &str, comment: &str) -> Result<template::Published, Fault> {
    template::publish(&rig.cx, &rig.who, publication(name), archive(comment), None).await
}

async fn submit(
    rig: &Rig,
    name: &str,
    version: Option<i32>,
) -> Result<slipway_domain::deployment::Deployment, Fault> {
    let request = Submit {
        stack: key("net"),
        source: Some(Source::Template { name: name.to_owned(), version }),
        variables: [("region".to_owned(), json!("eu"))].into(),
        operation: Operation::Deploy,
        options: How::default(),
    };
    deployment::submit(&rig.cx, &rig.who, request, None).await.map(|accepted| accepted.deployment)
}

fn version_of(source: &Source) -> Option<i32> {
    match source {
        Source::Template { version, .. } => *version,
        _ => None,
    }
}

async fn versions_follow_each_other_and_equal_content_makes_none(rig: Rig) {
    let first = push(&rig, "net", "one").await.unwrap();
    assert!(first.created);
    assert_eq!((first.template.version, first.template.latest_version), (1, 1));
    assert_eq!(first.template.source, TemplateSource::Uploaded);
    assert_eq!(first.template.inputs.len(), 2);
    let same = push(&rig, "net", "one").await.unwrap();
    assert!(!same.created);
    assert_eq!((same.template.version, same.template.digest), (1, first.template.digest));
    let second = push(&rig, "net", "two").await.unwrap();
    assert_eq!((second.template.version, second.created), (2, true));
    // What is said about it may change without a new version.
    let renamed = Publish { title: Some("Another title".to_owned()), ..publication("net") };
    let renamed =
        template::publish(&rig.cx, &rig.who, renamed, archive("two"), None).await.unwrap();
    assert!(!renamed.created);
    assert_eq!(template::get(&rig.cx, &rig.who, "net").await.unwrap().title, "Another title");
    // Back to what it was: a version of its own.
    assert_eq!(push(&rig, "net", "one").await.unwrap().template.version, 3);
    let seen = template::versions(&rig.cx, &rig.who, "net").await.unwrap();
    assert_eq!(seen.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(seen[0].digest, seen[2].digest);
    let (number, bytes) = template::download(&rig.cx, &rig.who, "net", Some(2)).await.unwrap();
    assert_eq!((number, bytes), (2, archive("two")));
    let stale = Publish { expected_version: Some(2), ..publication("net") };
    let refused =
        template::publish(&rig.cx, &rig.who, stale, archive("four"), None).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    let names: Vec<_> = template::list(&rig.cx, &rig.who).await.unwrap();
    assert!(names.iter().any(|t| t.name == "hello") && names.iter().any(|t| t.name == "net"));
}

async fn a_deployment_says_which_version_it_got(rig: Rig) {
    push(&rig, "net", "one").await.unwrap();
    let first = submit(&rig, "net", None).await.unwrap();
    assert_eq!(version_of(&first.source), Some(1));
    push(&rig, "net", "two").await.unwrap();
    assert_eq!(version_of(&submit(&rig, "net", None).await.unwrap().source), Some(2));
    let pinned = submit(&rig, "net", Some(1)).await.unwrap();
    assert_eq!(version_of(&pinned.source), Some(1));
    // And it is what the worker gets.
    let mut tx = rig.cx.store.read().await.unwrap();
    let one = tx.template_version("net", 1).await.unwrap().unwrap();
    let record = tx.deployment(pinned.id).await.unwrap().unwrap();
    assert_eq!(record.source_artifact, Some(one.archive));
    drop(tx);
    let built_in = submit(&rig, "hello", None).await.unwrap_err();
    assert_eq!(built_in.errors[0].pointer, "/variables/region", "it takes others");
    for (name, version, pointer) in
        [("net", Some(3), "/source/version"), ("nope", None, "/source/name")]
    {
        let refused = submit(&rig, name, version).await.unwrap_err();
        assert_eq!((refused.code, &*refused.errors[0].pointer), (Code::InvalidInput, pointer));
    }
}

async fn what_is_deprecated_is_not_given_by_default(rig: Rig) {
    push(&rig, "net", "one").await.unwrap();
    push(&rig, "net", "two").await.unwrap();
    let only = |version| Deprecate { version, reason: Some("use net3".to_owned()) };
    let after = template::deprecate(&rig.cx, &rig.who, "net", only(Some(2))).await.unwrap();
    assert_eq!((after.version, after.latest_version, after.state), (1, 2, TemplateState::Active));
    assert_eq!(version_of(&submit(&rig, "net", None).await.unwrap().source), Some(1));
    let after = template::deprecate(&rig.cx, &rig.who, "net", only(None)).await.unwrap();
    assert_eq!(after.state, TemplateState::Deprecated);
    let refused = submit(&rig, "net", None).await.unwrap_err();
    assert_eq!(refused.errors[0].pointer, "/source/version");
    assert!(refused.detail.contains("use net3"), "{refused}");
    assert_eq!(version_of(&submit(&rig, "net", Some(2)).await.unwrap().source), Some(2));
    let undo = Restore { version: None };
    let after = template::restore(&rig.cx, &rig.who, "net", undo).await.unwrap();
    assert_eq!((after.version, after.state), (2, TemplateState::Active));
    assert_eq!(version_of(&submit(&rig, "net", None).await.unwrap().source), Some(2));
    let missing = template::deprecate(&rig.cx, &rig.who, "net", only(Some(9))).await.unwrap_err();
    assert_eq!(missing.code, Code::NotFound);
}

async fn what_deployments_name_is_not_deleted(rig: Rig) {
    push(&rig, "net", "one").await.unwrap();
    push(&rig, "net", "two").await.unwrap();
    submit(&rig, "net", Some(1)).await.unwrap();
    let refused = template::delete_version(&rig.cx, &rig.who, "net", 1).await.unwrap_err();
    assert_eq!(refused.code, Code::TemplateInUse);
    template::delete_version(&rig.cx, &rig.who, "net", 2).await.unwrap();
    let gone = template::delete_version(&rig.cx, &rig.who, "net", 2).await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
    assert_eq!(template::get(&rig.cx, &rig.who, "net").await.unwrap().version, 1);
    // Its number is not given out again.
    assert_eq!(push(&rig, "net", "three").await.unwrap().template.version, 3);
    push(&rig, "db", "one").await.unwrap();
    template::delete_version(&rig.cx, &rig.who, "db", 1).await.unwrap();
    let gone = template::get(&rig.cx, &rig.who, "db").await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound, "with its last version");
}

async fn names_of_the_installation_are_not_taken(rig: Rig) {
    let refused = push(&rig, "hello", "mine").await.unwrap_err();
    assert_eq!(refused.code, Code::TemplateReserved);
    for refused in [
        template::deprecate(&rig.cx, &rig.who, "hello", Deprecate::default()).await.unwrap_err(),
        template::delete_version(&rig.cx, &rig.who, "hello", 1).await.unwrap_err(),
    ] {
        assert_eq!(refused.code, Code::TemplateReserved);
    }
    let own = template::get(&rig.cx, &rig.who, "hello").await.unwrap();
    assert_eq!((own.source, own.version), (TemplateSource::BuiltIn, 1));
    assert_eq!(template::versions(&rig.cx, &rig.who, "hello").await.unwrap().len(), 1);
    let mut reader = rig.who.clone();
    reader.grants.house.scopes.remove(&Scope::TemplatesWrite);
    let refused = template::publish(&rig.cx, &reader, publication("net"), archive("x"), None).await;
    assert_eq!(refused.unwrap_err().code, Code::Forbidden);
}

async fn what_is_refused_leaves_nothing(rig: Rig) {
    let untitled = Publish { title: None, ..publication("net") };
    let manifest = packed(&[("main.tf", ""), ("template.toml", "title = 1\n")]);
    let far = Publish { expected_version: Some(7), ..publication("net") };
    let name = Publish { name: "No Name".to_owned(), ..publication("net") };
    let title = Publish { title: Some("a\nb".to_owned()), ..publication("net") };
    let label =
        Publish { labels: Some([("A b".to_owned(), "x".to_owned())].into()), ..publication("net") };
    let mut linked = Tree::new();
    linked.add_file("a/main.tf", "", false).unwrap();
    let link = {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("main.tf"), "").unwrap();
        std::os::unix::fs::symlink("main.tf", dir.path().join("b.tf")).unwrap();
        let limits = slipway_domain::tree::Limits { total_bytes: 1 << 20, entries: 10 };
        Tree::from_directory(dir.path(), limits).unwrap().to_tar_gz().unwrap()
    };
    for (request, bytes, code, pointer) in [
        (publication("net"), Bytes::from_static(b"no gzip"), Code::UnsafeArchive, ""),
        (publication("net"), packed(&[]), Code::UnsafeArchive, ""),
        (publication("net"), link, Code::UnsafeArchive, "/archive"),
        (publication("net"), manifest, Code::InvalidConfiguration, "/archive"),
        (untitled, archive("x"), Code::InvalidInput, "/title"),
        (far, archive("x"), Code::Conflict, ""),
        (name, archive("x"), Code::InvalidInput, "/name"),
        (title, archive("x"), Code::InvalidInput, "/title"),
        (label, archive("x"), Code::InvalidInput, "/labels"),
    ] {
        let refused =
            template::publish(&rig.cx, &rig.who, request, bytes, Some("k")).await.unwrap_err();
        assert_eq!(refused.code, code, "{refused}");
        let first = refused.errors.first().map(|e| e.pointer.as_str()).unwrap_or_default();
        assert_eq!(first, pointer, "{refused}");
    }
    let mut tx = rig.cx.store.read().await.unwrap();
    assert_eq!(tx.count_templates().await.unwrap(), 0);
    assert_eq!(tx.offered_versions().await.unwrap(), []);
    drop(tx);
    let later = rig.cx.now() + chrono::Duration::days(2);
    assert_eq!(rig.cx.store.sweep(later, later, later).await.unwrap().artifacts, 0);
}

async fn of_those_who_publish_at_once_each_gets_its_own_number(rig: Rig) {
    let all = (0..8).map(|n| {
        let (cx, who) = (rig.cx.clone(), rig.who.clone());
        tokio::spawn(async move {
            let request = publication("net");
            template::publish(&cx, &who, request, archive(&n.to_string()), None).await
        })
    });
    let mut made = 0;
    for one in futures::future::join_all(all).await {
        match one.unwrap() {
            Ok(published) => made += i32::from(published.created),
            Err(fault) => assert_eq!(fault.code, Code::Conflict, "{fault}"),
        }
    }
    assert!(made >= 1);
    let versions = template::versions(&rig.cx, &rig.who, "net").await.unwrap();
    let numbers: Vec<_> = versions.iter().map(|v| v.version).collect();
    assert_eq!(numbers, (1..=made).rev().collect::<Vec<_>>(), "as many as were told so");
    // Who says what they have seen is told when it is not so any more.
    let all = (0..8).map(|n| {
        let (cx, who) = (rig.cx.clone(), rig.who.clone());
        tokio::spawn(async move {
            let request = Publish { expected_version: Some(made), ..publication("net") };
            template::publish(&cx, &who, request, archive(&format!("again {n}")), None).await
        })
    });
    let told: Vec<_> =
        futures::future::join_all(all).await.into_iter().map(|one| one.unwrap().is_ok()).collect();
    assert_eq!(told.iter().filter(|ok| **ok).count(), 1, "{told:?}");
}

async fn a_version_is_deleted_or_deployed_and_never_both(rig: Rig) {
    push(&rig, "net", "kept").await.unwrap();
    for n in 0..6 {
        let version = push(&rig, "net", &n.to_string()).await.unwrap().template.version;
        let (deployed, deleted) = tokio::join!(
            submit(&rig, "net", Some(version)),
            template::delete_version(&rig.cx, &rig.who, "net", version),
        );
        assert!(deployed.is_ok() != deleted.is_ok(), "{deployed:?} {deleted:?}");
        if let Ok(deployment) = deployed {
            let mut tx = rig.cx.store.read().await.unwrap();
            let record = tx.deployment(deployment.id).await.unwrap().unwrap();
            let archive = record.source_artifact.unwrap();
            assert!(tx.artifact(archive).await.unwrap().is_some());
        }
    }
}

async fn a_rendering_masks_secrets_and_keeps_nothing(rig: Rig) {
    push(&rig, "net", "one").await.unwrap();
    let variables =
        [("region".to_owned(), json!("eu")), ("token".to_owned(), json!("hunter2"))].into();
    let request = Render { version: None, variables };
    assert!(!format!("{request:?}").contains("hunter2"));
    let rendered = template::render(&rig.cx, &rig.who, "net", request).await.unwrap();
    let all = serde_json::to_string(&rendered).unwrap();
    assert!(!all.contains("hunter2"), "{all}");
    assert_eq!(rendered.masked, ["token"]);
    assert_eq!(rendered.tfvars, "region = \"eu\"\ntoken = \"***\"\n");
    assert_eq!((rendered.version, rendered.files.len()), (1, 1));
    assert!(rendered.files[0].content.as_deref().unwrap().contains("# one"));
    let wrong = Render { version: None, variables: [("x".to_owned(), json!(1))].into() };
    let refused = template::render(&rig.cx, &rig.who, "net", wrong).await.unwrap_err();
    assert_eq!(refused.errors[0].pointer, "/variables/x");
    let later = Render { version: Some(2), ..Render::default() };
    let refused = template::render(&rig.cx, &rig.who, "net", later).await.unwrap_err();
    assert_eq!(refused.code, Code::NotFound);
    let built_in = Render { version: Some(1), variables: [].into() };
    let rendered = template::render(&rig.cx, &rig.who, "hello", built_in).await.unwrap();
    assert!(rendered.files.iter().any(|file| file.path == "variables.tf"));
}

async fn the_same_key_gives_the_same_answer(rig: Rig) {
    let publish = async |comment: &str| {
        let request = publication("net");
        template::publish(&rig.cx, &rig.who, request, archive(comment), Some("key")).await
    };
    let first = publish("one").await.unwrap();
    push(&rig, "net", "two").await.unwrap();
    let again = publish("one").await.unwrap();
    assert!(again.replayed && again.created && !first.replayed);
    assert_eq!(again.template, first.template);
    assert_eq!(publish("other").await.unwrap_err().code, Code::IdempotencyKeyReused);
    assert_eq!(template::versions(&rig.cx, &rig.who, "net").await.unwrap().len(), 2);
}

async fn another_process_sees_a_new_version_at_once(rig: Rig) {
    let other = slipway_services::Ctx { gathered: std::sync::Arc::default(), ..rig.cx.clone() };
    push(&rig, "net", "one").await.unwrap();
    let seen = template::get(&other, &rig.who, "net").await.unwrap();
    assert_eq!(seen.version, 1);
    push(&rig, "net", "two").await.unwrap();
    let seen = template::get(&other, &rig.who, "net").await.unwrap();
    assert_eq!(seen.version, 2);
    let rendered = template::render(&other, &rig.who, "net", Render::default()).await.unwrap();
    assert_eq!(rendered.version, 2);
}
