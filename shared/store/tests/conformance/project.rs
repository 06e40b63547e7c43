//! Projects, members, and lists that keep to what their reader may see.

use std::collections::BTreeSet;

use chrono::Duration;
use slipway_domain::access::Role;
use slipway_domain::gate_settings::{GateScope, GateSettings};
use slipway_domain::id::AccountId;
use slipway_domain::member::Member;
use slipway_domain::page::NamedPageRequest;
use slipway_domain::project::Project;
use slipway_store::deployment::Filter;
use slipway_store::{exemption, job_info, stack};

use super::*;

on_both_engines! {
    a_project_comes_back_as_it_was_put_in_and_is_made_once,
    a_project_is_held_until_its_first_stack_is_there,
    memberships_come_back_by_account_and_by_project,
    a_membership_is_changed_from_the_version_that_was_read,
    lists_keep_to_what_their_reader_may_see,
    an_archive_is_used_by_whoever_sent_it_or_sees_its_deployment,
    stacks_that_are_older_than_projects_have_one,
}

fn project(name: &str) -> Project {
    Project {
        name: name.into(),
        description: Some("For tests.".into()),
        created_by: Some(Principal::local(Door::Rest).actor),
        created_at: now(),
        updated_at: now(),
        version: 1,
    }
}

async fn add(rig: &Rig, name: &str) -> Project {
    let one = project(name);
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.insert_project(&one).await.unwrap());
    tx.commit().await.unwrap();
    one
}

fn only(names: &[&str]) -> Reach {
    Reach::Projects(names.iter().map(|name| (*name).to_owned()).collect())
}

async fn a_project_comes_back_as_it_was_put_in_and_is_made_once(rig: Rig) {
    let (b, a) = (add(&rig, "b").await, add(&rig, "a").await);
    let c = add(&rig, "c").await;
    let mut tx = rig.store.begin().await.unwrap();
    assert!(!tx.insert_project(&project("a")).await.unwrap());
    assert_eq!(tx.project("a").await.unwrap(), Some(a.clone()));
    assert_eq!(tx.project("x").await.unwrap(), None);
    let first = NamedPageRequest { limit: 1, after: None };
    let rows = tx.projects(&Reach::Everywhere, &first).await.unwrap();
    assert_eq!(rows, [a.clone(), b.clone()]);
    let next = NamedPageRequest { limit: 5, after: Some("a".into()) };
    assert_eq!(tx.projects(&Reach::Everywhere, &next).await.unwrap(), [b.clone(), c.clone()]);
    assert_eq!(tx.projects(&only(&["a", "c", "x"]), &next).await.unwrap(), [c]);
    assert_eq!(tx.projects(&only(&["b"]), &next).await.unwrap(), [b]);
    assert_eq!(tx.projects(&only(&[]), &next).await.unwrap(), []);

    let later = a.updated_at + Duration::hours(1);
    assert!(!tx.describe_project("a", None, 2, later).await.unwrap());
    assert!(tx.describe_project("a", None, 1, later).await.unwrap());
    let changed = Project { description: None, updated_at: later, version: 2, ..a };
    assert_eq!(tx.lock_project("a").await.unwrap(), Some(changed));
    tx.delete_project("a").await.unwrap();
    assert_eq!(tx.project("a").await.unwrap(), None);
}

async fn a_project_is_held_until_its_first_stack_is_there(rig: Rig) {
    add(&rig, "shop").await;
    let mut making = rig.store.begin().await.unwrap();
    let names = BTreeSet::from(["shop", "bank"]);
    assert_eq!(making.hold_projects(&names).await.unwrap(), ["shop".to_owned()].into());
    let store = rig.store.clone();
    let removing = tokio::spawn(async move {
        let mut tx = store.begin().await.unwrap();
        tx.lock_project("shop").await.unwrap().unwrap();
        tx.belongings("shop", now()).await.unwrap()
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!removing.is_finished(), "who removes waits for who makes a stack");
    let new = key("net");
    let keys = [(StackId::new(&RandomMint), &new)];
    let made = making.make_stacks(&keys, DriverKind::Terraform, now()).await.unwrap();
    assert_eq!(made.len(), 1);
    making.commit().await.unwrap();
    assert_eq!(removing.await.unwrap().stacks, 1, "and sees it then");

    let mut tx = rig.store.begin().await.unwrap();
    let scope = GateScope { project: Some("shop".into()), environment: None };
    let by = Principal::local(Door::Rest).actor;
    assert!(tx.set_gate_settings(&scope, &GateSettings::default(), 0, &by, now()).await.unwrap());
    tx.insert_exemption(&policy::exemption(Some("shop"), None, 1)).await.unwrap();
    let left = tx.belongings("shop", now()).await.unwrap();
    assert_eq!((left.stacks, left.gate_settings, left.exemptions), (1, 1, 1));
    let late = tx.belongings("shop", now() + Duration::days(2)).await.unwrap();
    assert_eq!(late.exemptions, 0);
    let other = tx.belongings("bank", now()).await.unwrap();
    assert_eq!((other.stacks, other.gate_settings, other.exemptions), (0, 0, 0));
}

fn member(account: AccountId, project: Option<&str>, roles: &[Role]) -> Member {
    Member {
        account_id: account,
        project: project.map(str::to_owned),
        roles: roles.iter().copied().collect(),
        changed_by: Principal::local(Door::Rest).actor,
        created_at: now(),
        updated_at: now(),
        version: 1,
    }
}

async fn memberships_come_back_by_account_and_by_project(rig: Rig) {
    let mut ids: Vec<_> = (0..3).map(|_| AccountId::new(&RandomMint)).collect();
    ids.sort_unstable();
    let [ann, bob, eve] = ids[..] else { unreachable!() };
    add(&rig, "shop").await;
    let all = [
        member(ann, None, &[Role::Admin]),
        member(ann, Some("shop"), &[Role::Developer, Role::Approver]),
        member(bob, Some("shop"), &[Role::Viewer]),
        member(bob, Some("bank"), &[Role::Operator]),
    ];
    let mut tx = rig.store.begin().await.unwrap();
    for one in &all {
        assert!(tx.set_member(one, 0).await.unwrap());
    }
    let mut of = tx.memberships(ann).await.unwrap();
    of.sort();
    let roles = |index: usize| all[index].roles.clone();
    assert_eq!(of, [(None, roles(0)), (Some("shop".into()), roles(1))]);
    assert_eq!(tx.memberships(eve).await.unwrap(), []);
    let page = PageRequest { limit: 1, after: None };
    let rows = tx.members(Some("shop"), page).await.unwrap();
    assert_eq!(rows, [all[2].clone(), all[1].clone()]);
    let next = PageRequest { limit: 1, after: Some(bob.0) };
    assert_eq!(tx.members(Some("shop"), next).await.unwrap(), [all[1].clone()]);
    assert_eq!(tx.members(None, page).await.unwrap(), [all[0].clone()]);
    assert_eq!(tx.lock_house_members().await.unwrap(), [all[0].clone()]);
    assert_eq!(tx.member(Some("bank"), bob).await.unwrap(), Some(all[3].clone()));
    assert_eq!(tx.member(None, bob).await.unwrap(), None);
    // With the project go its memberships, and no others.
    tx.delete_project("shop").await.unwrap();
    assert_eq!(tx.members(Some("shop"), page).await.unwrap(), []);
    assert_eq!(tx.memberships(bob).await.unwrap().len(), 1);
}

async fn a_membership_is_changed_from_the_version_that_was_read(rig: Rig) {
    let ann = AccountId::new(&RandomMint);
    let first = member(ann, Some("shop"), &[Role::Viewer]);
    let second = Member { roles: [Role::Admin].into(), version: 2, ..first.clone() };
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.set_member(&first, 0).await.unwrap());
    assert!(!tx.set_member(&first, 0).await.unwrap());
    assert!(!tx.set_member(&second, 7).await.unwrap());
    assert!(tx.set_member(&second, 1).await.unwrap());
    assert_eq!(tx.member(Some("shop"), ann).await.unwrap(), Some(second));
    assert!(!tx.delete_member(Some("shop"), ann, 1).await.unwrap());
    assert!(!tx.delete_member(None, ann, 2).await.unwrap());
    assert!(tx.delete_member(Some("shop"), ann, 2).await.unwrap());
    assert_eq!(tx.member(Some("shop"), ann).await.unwrap(), None);
}

/// A deployment in a project, with a queued plan.
async fn in_project(store: &Store, project: &str, name: &str) -> Record {
    let mut record = deployment(store, &format!("{project}-{name}")).await;
    let d = &mut record.deployment;
    d.id = DeploymentId::new(&RandomMint);
    d.stack.project = project.into();
    let mut tx = store.begin().await.unwrap();
    let stacks = [(StackId::new(&RandomMint), &d.stack)];
    let stack = tx.ensure_stacks(&stacks, DriverKind::Terraform, now()).await.unwrap().remove(0);
    d.stack_id = stack.stack.id;
    tx.insert_deployments(&[New { record: &record, variables: &Variables::new(), events: &[] }])
        .await
        .unwrap();
    let job = NewJob { project: project.into(), ..new_job(&record, JobKind::Plan, 0) };
    tx.insert_jobs(&[job], now()).await.unwrap();
    tx.commit().await.unwrap();
    record
}

async fn lists_keep_to_what_their_reader_may_see(rig: Rig) {
    let mut expected = std::collections::BTreeMap::<&str, Vec<DeploymentId>>::new();
    for number in 0..4 {
        for project in ["mine", "ours", "theirs"] {
            let record = in_project(&rig.store, project, &format!("n{number}")).await;
            expected.entry(project).or_default().push(record.deployment.id);
        }
    }
    let page = PageRequest { limit: 3, after: None };
    for reach in [&["mine"][..], &["mine", "ours"], &["mine", "ours", "nowhere"], &[]] {
        let mut want: Vec<_> =
            reach.iter().filter_map(|name| expected.get(name)).flatten().copied().collect();
        want.sort_unstable();
        want.reverse();
        let within = only(reach);
        let mut tx = rig.store.read().await.unwrap();
        // Page by page, so that cursors are right.
        let (mut seen, mut ask) = (Vec::new(), page);
        loop {
            let rows = tx.deployments(&Filter::default(), &within, ask).await.unwrap();
            seen.extend(rows.iter().take(3).map(|row| row.deployment.id));
            if rows.len() <= 3 {
                break;
            }
            ask.after = seen.last().map(|id| id.0);
        }
        assert_eq!(seen, want, "{reach:?}");
        let whole = PageRequest { limit: 200, after: None };
        let stacks = tx.stacks(&stack::Filter::default(), &within, whole).await.unwrap();
        let jobs = tx.job_infos(&job_info::Filter::default(), &within, whole).await.unwrap();
        assert_eq!((stacks.len(), jobs.len()), (want.len(), want.len()), "{reach:?}");
        let totals = tx.queue_totals(&within).await.unwrap();
        let waiting: i64 = totals.iter().map(|total| total.waiting).sum();
        assert_eq!(usize::try_from(waiting).unwrap(), want.len(), "{reach:?}");
        // What is asked for and what may be seen must both hold.
        let theirs = Filter { project: Some("theirs".into()), ..Filter::default() };
        assert_eq!(tx.deployments(&theirs, &within, whole).await.unwrap(), []);
    }
    claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    let running = tx.running_jobs(&Reach::Everywhere).await.unwrap();
    let of: Vec<_> = ["mine", "ours", "theirs"].into_iter().map(|name| only(&[name])).collect();
    let mut parts = Vec::new();
    for reach in &of {
        parts.extend(tx.running_jobs(reach).await.unwrap());
    }
    assert_eq!(parts, running);
    for project in [Some("mine"), Some("theirs"), None] {
        let by = Principal::local(Door::Rest).actor;
        let scope = GateScope { project: project.map(str::to_owned), environment: None };
        tx.set_gate_settings(&scope, &GateSettings::default(), 0, &by, now()).await.unwrap();
        tx.insert_exemption(&policy::exemption(project, None, 1)).await.unwrap();
    }
    for (reach, count) in [(only(&["mine"]), 2), (only(&[]), 1), (Reach::Everywhere, 3)] {
        // Those for everything are seen by everybody.
        assert_eq!(tx.all_gate_settings(&reach).await.unwrap().len(), count, "{reach:?}");
        let all = exemption::Filter::default();
        let found = tx.exemptions(&all, &reach, page, now()).await.unwrap();
        assert_eq!(found.len(), count, "{reach:?}");
    }
}

async fn an_archive_is_used_by_whoever_sent_it_or_sees_its_deployment(rig: Rig) {
    let id = ArtifactId::new(&RandomMint);
    let sealed =
        rig.store.seal_artifact(id, ArtifactKind::Source, b"archive", now()).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_upload(&sealed, "ann").await.unwrap();
    tx.commit().await.unwrap();
    let may = async |owner: &str, reach: &Reach| {
        let mut tx = rig.store.read().await.unwrap();
        tx.is_source_within(id, owner, reach).await.unwrap()
    };
    assert!(may("ann", &only(&[])).await);
    assert!(!may("bob", &only(&["shop", "bank"])).await);
    let mut record = deployment(&rig.store, "net").await;
    record.source_artifact = Some(id);
    let mut tx = rig.store.begin().await.unwrap();
    tx.update_deployment(&mut record, DeploymentState::Submitted, &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(may("bob", &only(&["shop"])).await && may("bob", &only(&["shop", "bank"])).await);
    assert!(!may("bob", &only(&["bank"])).await);
}

async fn stacks_that_are_older_than_projects_have_one(rig: Rig) {
    let first = deployment(&rig.store, "a").await.deployment.created_at;
    deployment(&rig.store, "b").await;
    // The very words of the migration, over stacks that were there before it.
    let text = include_str!("../../../../migrations/sqlite/0018_members.sql");
    let insert = text.split(';').find(|part| part.contains("insert into projects")).unwrap();
    let other = include_str!("../../../../migrations/postgres/0018_members.sql");
    assert!(other.contains(insert.trim()), "both engines do the same");
    if let Some(url) = &rig.url {
        let mut raw = sqlx::PgConnection::connect(url).await.unwrap();
        raw.execute(sqlx::AssertSqlSafe(insert.to_owned())).await.unwrap();
    } else {
        let url = format!("sqlite:{}", rig.dir.path().join("test.db").display());
        let mut raw = sqlx::SqliteConnection::connect(&url).await.unwrap();
        raw.execute(sqlx::AssertSqlSafe(insert.to_owned())).await.unwrap();
    }
    let found = rig.store.read().await.unwrap().project("shop").await.unwrap().unwrap();
    assert_eq!((found.version, found.created_by, found.created_at), (1, None, first));
}
