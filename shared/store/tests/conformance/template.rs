//! Published templates and their versions.

use std::collections::BTreeMap;

use chrono::Duration;
use slipway_domain::access::{Door, Principal};
use slipway_domain::template::{
    Bound, Constraint, InputSpec, Rule, TemplateState, TemplateVersion,
};
use slipway_store::template::{Deleted, Head};

use super::*;

on_both_engines! {
    a_template_comes_back_as_it_was_published,
    the_newest_active_version_is_offered,
    a_version_that_is_named_is_not_deleted,
    an_archive_of_a_version_is_not_swept,
    a_template_is_made_once,
}

fn head(name: &str, last_version: i32) -> Head {
    Head {
        name: name.to_owned(),
        title: "A network \u{1F600}".to_owned(),
        description: "Makes it.\n\"Quoted\"".to_owned(),
        category: Some("network".to_owned()),
        labels: BTreeMap::from([("team".to_owned(), "a b".to_owned())]),
        last_version,
        created_at: now(),
        updated_at: now(),
    }
}

async fn version(store: &Store, name: &str, number: i32) -> slipway_store::template::Record {
    let id = ArtifactId::new(&RandomMint);
    let content = format!("{name} {number}");
    let sealed =
        store.seal_artifact(id, ArtifactKind::Source, content.as_bytes(), now()).await.unwrap();
    let input = InputSpec {
        name: "size".to_owned(),
        kind: "number".to_owned(),
        description: None,
        required: true,
        default: None,
        sensitive: false,
        nullable: false,
        constraints: vec![Constraint {
            rules: vec![Rule::Not(Box::new(Rule::Minimum(Bound(3.into()))))],
            complete: true,
            expression: "!(var.size >= 3)".to_owned(),
            message: Some("small".to_owned()),
        }],
    };
    let record = slipway_store::template::Record {
        archive: id,
        version: TemplateVersion {
            name: name.to_owned(),
            version: number,
            state: TemplateState::Active,
            reason: None,
            digest: format!("sha256:{number}"),
            inputs: vec![input],
            published_by: Some(Principal::local(Door::Rest).actor),
            published_at: Some(now()),
        },
    };
    let mut tx = store.begin().await.unwrap();
    let mut head = if let Some(head) = tx.lock_template(name).await.unwrap() {
        head
    } else {
        let head = head(name, 0);
        assert!(tx.insert_template(&head).await.unwrap());
        head
    };
    tx.insert_artifact(&sealed).await.unwrap();
    tx.insert_template_version(&record).await.unwrap();
    head.last_version = number;
    tx.update_template(&head).await.unwrap();
    tx.commit().await.unwrap();
    record
}

async fn a_template_comes_back_as_it_was_published(rig: Rig) {
    let first = version(&rig.store, "net", 1).await;
    let second = version(&rig.store, "net", 2).await;
    version(&rig.store, "db", 1).await;
    let mut tx = rig.store.read().await.unwrap();
    let found = tx.template("net").await.unwrap().unwrap();
    assert_eq!(
        Head { created_at: found.created_at, updated_at: found.updated_at, ..head("net", 2) },
        found
    );
    let names: Vec<_> = tx.templates().await.unwrap().into_iter().map(|head| head.name).collect();
    assert_eq!(names, ["db", "net"]);
    assert_eq!(tx.count_templates().await.unwrap(), 2);
    assert_eq!(tx.template_versions("net").await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(tx.template_version("net", 1).await.unwrap(), Some(first));
    assert_eq!(tx.template_version("net", 3).await.unwrap(), None);
    assert_eq!(tx.template_version("nope", 1).await.unwrap(), None);
    assert_eq!(tx.template("nope").await.unwrap(), None);
    drop(tx);
    let (_, content) = rig.store.open_artifact(second.archive).await.unwrap().unwrap();
    assert_eq!(content.as_ref(), b"net 2");
}

async fn the_newest_active_version_is_offered(rig: Rig) {
    for number in 1..=3 {
        version(&rig.store, "net", number).await;
    }
    version(&rig.store, "db", 1).await;
    let offered = async || {
        let mut tx = rig.store.read().await.unwrap();
        let all = tx.offered_versions().await.unwrap();
        let one = tx.offered_version("net").await.unwrap().unwrap();
        let all: Vec<_> =
            all.into_iter().map(|r| (r.version.name, r.version.version, r.version.state)).collect();
        assert_eq!(all[1], (one.version.name, one.version.version, one.version.state));
        assert_eq!(all[0].0, "db");
        (all[1].1, all[1].2)
    };
    let set = async |version, deprecated| {
        let mut tx = rig.store.begin().await.unwrap();
        let changed = tx.set_template_state("net", version, deprecated).await.unwrap();
        tx.commit().await.unwrap();
        changed
    };
    let old = Some((now(), Some("old")));
    assert_eq!(offered().await, (3, TemplateState::Active));
    assert_eq!(set(Some(3), old).await, 1);
    assert_eq!(offered().await, (2, TemplateState::Active));
    assert_eq!(set(None, old).await, 3);
    assert_eq!(offered().await, (3, TemplateState::Deprecated));
    let mut tx = rig.store.read().await.unwrap();
    let reason = tx.template_version("net", 1).await.unwrap().unwrap().version.reason;
    assert_eq!(reason.as_deref(), Some("old"));
    let other = tx.template_version("db", 1).await.unwrap().unwrap().version;
    assert_eq!(other.state, TemplateState::Active, "another template is left alone");
    drop(tx);
    assert_eq!(set(Some(1), None).await, 1);
    assert_eq!(offered().await, (1, TemplateState::Active));
    assert_eq!(set(None, None).await, 2, "those that were not active");
    assert_eq!(offered().await, (3, TemplateState::Active));
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.template_version("net", 2).await.unwrap().unwrap().version.reason, None);
}

async fn a_version_that_is_named_is_not_deleted(rig: Rig) {
    let used = version(&rig.store, "net", 1).await;
    let unused = version(&rig.store, "net", 2).await;
    let mut record = deployment(&rig.store, "x").await;
    record.source_artifact = Some(used.archive);
    let mut tx = rig.store.begin().await.unwrap();
    tx.lock_deployment(record.deployment.id).await.unwrap();
    let from = record.deployment.state;
    tx.update_deployment(&mut record, from, &[]).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = rig.store.begin().await.unwrap();
    tx.lock_template("net").await.unwrap();
    assert_eq!(tx.delete_template_version(&used).await.unwrap(), Deleted::InUse);
    let gone = tx.delete_template_version(&unused).await.unwrap();
    assert_eq!(gone, Deleted::Gone(None));
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let left: Vec<_> = tx.template_versions("net").await.unwrap();
    assert_eq!(left, [used]);
    assert_eq!(tx.artifact(unused.archive).await.unwrap(), None);
}

async fn an_archive_of_a_version_is_not_swept(rig: Rig) {
    let kept = version(&rig.store, "net", 1).await;
    let later = now() + Duration::days(30);
    let swept = rig.store.sweep(later, later, later).await.unwrap();
    assert_eq!(swept.artifacts, 0);
    assert!(rig.store.open_artifact(kept.archive).await.unwrap().is_some());
}

async fn a_template_is_made_once(rig: Rig) {
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.insert_template(&head("net", 0)).await.unwrap());
    assert!(!tx.insert_template(&head("net", 0)).await.unwrap());
    tx.delete_template("net").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rig.store.read().await.unwrap().template("net").await.unwrap(), None);
}
