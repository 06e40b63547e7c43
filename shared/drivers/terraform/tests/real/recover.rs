//! The recovery of applies that were really killed: with worker, guard and tool at once, and a
//! ledger outside of all of them that says what was done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use slipway_domain::artifact::digest;
use slipway_domain::deployment::{Operation, Variables};
use slipway_domain::event::{EventBody, ResourceStatus};
use slipway_domain::id::{DeploymentId, Mint as _, RandomMint, StackId};
use slipway_domain::plan::{Action, Binding, Counts};
use slipway_domain::port::driver::{
    AfterRecovery, Driver as _, Planned, RecoverInput, Recovered, Run as _, Salvage, StateBlob,
};
use slipway_domain::recovery::{JournalEntry, Resolution, ResolutionOutcome};
use slipway_domain::tree::Tree;

use crate::job::{Job, Rig, key, output, permanent, tree, values};

mod anew;

/// What is written down outside.
struct Ledger {
    dir: tempfile::TempDir,
}

impl Ledger {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn has(&self, lines: usize) {
        until(|| self.lines().len() >= lines).await;
    }

    /// A resource that writes its own address down when it is made, and then takes its time.
    fn resource(&self, name: &str, rest: &str, seconds: &str) -> String {
        format!(
            "resource \"terraform_data\" \"{name}\" {{\n  {rest}\n  provisioner \"local-exec\" {{\n    \
             command = \"echo terraform_data.{name} >> {}; sleep {seconds}\"\n  }}\n}}\n",
            self.path().display()
        )
    }
}

async fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_mins(1), "it does not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Processes that run in a directory.
fn running_in(dir: &Path) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let inside = all.filter(|item| {
        std::fs::read_link(item.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
    });
    inside.count()
}

/// An apply that is killed when `when` comes true: what its worker had heard, and what was found
/// afterwards.
struct Cut {
    heard: Vec<JournalEntry>,
    salvage: Salvage,
    last_saved: Option<StateBlob>,
}

fn heard(job: &Job) -> Vec<JournalEntry> {
    let events = job.events.lock().unwrap().clone();
    let entries = events.into_iter().filter_map(|event| match event {
        EventBody::Resource { address, action, status, resource_id, id_key, .. } => {
            Some(JournalEntry { address, action, status, resource_id, id_key })
        }
        _ => None,
    });
    entries.collect()
}

async fn cut(rig: &Rig, source: &Tree, planned: &Planned, when: impl AsyncFn(&Job)) -> Cut {
    let cut = cut_if_running(rig, source, planned, when).await;
    cut.unwrap_or_else(|state| panic!("it came to its end: {state:?}"))
}

/// The same; if it came to its end before, the state that it left.
async fn cut_if_running(
    rig: &Rig,
    source: &Tree,
    planned: &Planned,
    when: impl AsyncFn(&Job),
) -> Result<Cut, Option<StateBlob>> {
    let job = Arc::new(Job::new());
    let (driver, input) = (rig.driver.clone(), rig.applying(source, planned));
    let task = tokio::spawn({
        let job = job.clone();
        async move { driver.apply(job.as_ref(), input).await }
    });
    when(&job).await;
    // What dies with its worker is killed with its whole group, the guard too.
    task.abort();
    match task.await {
        Ok(ended) => {
            ended.unwrap_or_else(|error| panic!("{error:?}\n{}", job.text()));
            return Err(job.last_state());
        }
        Err(error) => assert!(error.is_cancelled()),
    }
    until(|| running_in(job.workspace()) == 0).await;
    let salvage = rig.driver.salvage(job.workspace());
    let heard = heard(&job);
    let journal = salvage.journal.clone().unwrap();
    assert_eq!(heard, journal[..heard.len()], "the worker heard what was said, as far as it came");
    Ok(Cut { heard, salvage, last_saved: job.last_state() })
}

impl Cut {
    fn journal(&self) -> Vec<JournalEntry> {
        self.salvage.journal.clone().unwrap()
    }

    /// As the house would: the last that can be read.
    fn state(&self) -> Option<StateBlob> {
        self.salvage.state.clone().or_else(|| self.last_saved.clone())
    }
}

/// What is recovered from.
struct Case<'a> {
    rig: &'a Rig,
    source: &'a Tree,
    approved: &'a Planned,
    journal: Vec<JournalEntry>,
    state: Option<StateBlob>,
    collected: bool,
    operation: Operation,
    variables: Variables,
}

impl<'a> Case<'a> {
    fn of(rig: &'a Rig, source: &'a Tree, approved: &'a Planned, cut: &Cut) -> Self {
        Self {
            rig,
            source,
            approved,
            journal: cut.journal(),
            state: cut.state(),
            collected: true,
            operation: Operation::Deploy,
            variables: Variables::new(),
        }
    }

    fn input(&self, resolutions: &[Resolution]) -> RecoverInput {
        let planned = self.approved;
        RecoverInput {
            deployment_id: DeploymentId(RandomMint.uuid()),
            stack_id: StackId(RandomMint.uuid()),
            stack: key(),
            operation: self.operation,
            source: self.source.clone(),
            root: self.rig.root.clone(),
            variables: self.variables.clone(),
            settings: Vec::new(),
            variables_digest: "v".to_owned(),
            approved: Binding {
                plan_file: digest(&planned.plan_file),
                source: planned.source_digest.clone(),
                lock_file: planned.lock_file_digest.clone(),
                variables: "v".to_owned(),
                tool: planned.tool.clone(),
                state: planned.state.clone(),
                operation: self.operation.as_str().to_owned(),
            },
            plan_file: planned.plan_file.clone(),
            context: planned.context.clone(),
            journal: self.journal.clone(),
            collected: self.collected,
            carries: 0,
            state: self.state.clone(),
            resolutions: resolutions.to_vec(),
            key: [7; 32],
        }
    }

    async fn recover(&self, resolutions: &[Resolution]) -> Recovered {
        let job = Job::new();
        let recovered = self.rig.driver.recover(&job, self.input(resolutions)).await;
        recovered.unwrap_or_else(|error| panic!("{error:?}\n{}", job.text()))
    }
}

fn absent(address: &str) -> Resolution {
    Resolution { address: address.into(), outcome: ResolutionOutcome::Absent, id: None }
}

fn exists(address: &str, id: Option<&str>) -> Resolution {
    let id = id.map(str::to_owned);
    Resolution { address: address.into(), outcome: ResolutionOutcome::Exists, id }
}

fn doubted(recovered: &Recovered) -> Vec<&str> {
    recovered.report.in_doubt.iter().map(|doubt| doubt.address.as_str()).collect()
}

#[track_caller]
fn asks(recovered: &Recovered) {
    assert!(matches!(recovered.next, AfterRecovery::Ask), "{recovered:?}");
}

#[track_caller]
fn continues(recovered: Recovered) -> Planned {
    match recovered.next {
        AfterRecovery::Continue(planned) => {
            assert!(recovered.report.refusals.is_empty());
            *planned
        }
        _ => panic!("{recovered:?}"),
    }
}

#[track_caller]
fn proposes(recovered: &Recovered) -> Planned {
    match &recovered.next {
        AfterRecovery::Propose(planned) => {
            assert!(!recovered.report.refusals.is_empty());
            planned.as_ref().clone()
        }
        _ => panic!("{recovered:?}"),
    }
}

#[tokio::test]
async fn what_was_done_and_what_is_in_doubt_agree_with_the_ledger_wherever_it_is_killed() {
    let all: Vec<String> = (0..8).map(|i| format!("r{i}")).collect();
    for kill_at in [0, 1, 3, 5, 7] {
        let ledger = Ledger::new();
        let text: String = all
            .iter()
            .enumerate()
            .map(|(i, name)| ledger.resource(name, "", &format!("0.{}", 2 + i % 3)))
            .collect();
        let source = tree(&[("main.tf", &text)]);
        let mut rig = Rig::with(|options| options.parallelism = Some(3)).await;
        let planned = rig.plan(&Job::new(), &source).await.unwrap();
        let killed = cut(&rig, &source, &planned, async |job: &Job| match kill_at {
            0 => until(|| !heard(job).is_empty()).await,
            n => ledger.has(n).await,
        })
        .await;
        let mut written = ledger.lines();
        let case = Case::of(&rig, &source, &planned, &killed);
        let recovered = case.recover(&[]).await;
        let report = recovered.report.clone();
        assert!(report.failed.is_empty(), "{report:?}");
        // Killed while the state was being written, what was said to be done is lost.
        let lost: Vec<&str> = report.lost.iter().map(|lost| lost.address.as_str()).collect();
        for line in &written {
            let known = report.done.contains(line)
                || doubted(&recovered).contains(&line.as_str())
                || lost.contains(&line.as_str());
            assert!(known, "{line}: {report:?}");
        }
        let state = case.state.clone().map(|state| state.content).unwrap_or_default();
        let state = String::from_utf8(state.to_vec()).unwrap();
        for address in &report.done {
            assert!(written.contains(address), "{address} is in no ledger");
            assert!(
                state.contains(&format!("\"{}\"", address.trim_start_matches("terraform_data.")))
            );
        }
        assert!(report.untouched.iter().all(|address| !written.contains(address)), "{report:?}");
        let listed = report.done.len() + report.in_doubt.len() + report.untouched.len();
        assert_eq!(listed + lost.len(), 8, "{report:?}");
        // Three at once, and each takes a while: some were in flight.
        asks(&recovered);

        // The ledger says which were made; then each is there once.
        let (there, not): (Vec<_>, Vec<_>) = doubted(&recovered)
            .into_iter()
            .partition(|address| written.iter().any(|l| l == address));
        let mut said: Vec<Resolution> = not.into_iter().map(absent).collect();
        said.extend(there.iter().map(|address| exists(address, Some(&format!("id-of-{address}")))));
        let answered = case.recover(&said).await;
        rig.state = case.state.clone();
        match answered.next {
            // What is in the state already needs no import.
            AfterRecovery::Finished(_) => {}
            AfterRecovery::Continue(next) => {
                assert!(answered.report.imports.is_empty());
                rig.apply(&Job::new(), &source, &next).await.unwrap();
            }
            AfterRecovery::Propose(next) => {
                assert!(!answered.report.imports.is_empty(), "{:?}", answered.report);
                rig.apply(&Job::new(), &source, &next).await.unwrap();
            }
            AfterRecovery::Ask => panic!("{answered:?}"),
        }
        written = ledger.lines();
        written.sort();
        let once: Vec<String> = (0..8).map(|i| format!("terraform_data.r{i}")).collect();
        assert_eq!(written, once, "killed at {kill_at}");
        assert!(rig.plan(&Job::new(), &source).await.unwrap().no_changes);
    }
}

/// Killed again and again, with a person who looks into the ledger when asked: at the end each is
/// there once.
#[tokio::test]
async fn however_often_it_is_killed_nothing_is_made_twice() {
    const ROUNDS: u32 = 3;
    for round in 0..ROUNDS {
        let mut seed = RandomMint.uuid().as_u64_pair().1 | 1;
        eprintln!("round {round}, seed {seed}");
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let ledger = Ledger::new();
        let mut text = String::from(
            "resource \"random_id\" \"r\" {\n  count       = 6\n  byte_length = 4\n}\n\
             resource \"null_resource\" \"n\" {\n  count = 4\n}\n",
        );
        for i in 0..10 {
            let rest = match i {
                0..4 => String::new(),
                _ => format!("input = [terraform_data.l{}.id, random_id.r[{}].hex]", i - 4, i % 6),
            };
            text += &ledger.resource(&format!("l{i}"), &rest, &format!("0.{}", 1 + random(3)));
        }
        let source = tree(&[("main.tf", &text)]);
        let mut rig = Rig::with_mirror().await;
        let mut approved = rig.plan(&Job::new(), &source).await.unwrap();
        let mut next = approved.clone();
        let mut journal = Vec::new();
        let mut story = Vec::new();
        loop {
            // In the end it is left alone.
            let longest = if story.len() < 6 { 1500 } else { 60_000 };
            let delay = Duration::from_millis(200 + random(longest));
            let killed = cut_if_running(&rig, &source, &next, async |_: &Job| {
                tokio::time::sleep(delay).await;
            });
            let killed = match killed.await {
                Ok(killed) => killed,
                Err(state) => {
                    rig.state = state;
                    break;
                }
            };
            journal.extend(killed.journal());
            rig.state = killed.state().or(rig.state.take());
            let mut said = Vec::new();
            let recovered = loop {
                let mut case = Case::of(&rig, &source, &approved, &killed);
                case.journal.clone_from(&journal);
                case.state.clone_from(&rig.state);
                let recovered = case.recover(&said).await;
                if !matches!(recovered.next, AfterRecovery::Ask) {
                    break recovered;
                }
                assert!(said.is_empty(), "asked twice: {said:?} {recovered:?}");
                let written = ledger.lines();
                said = doubted(&recovered)
                    .into_iter()
                    .map(|address| {
                        let made = written.iter().any(|line| line == address);
                        if made { exists(address, Some("by-hand")) } else { absent(address) }
                    })
                    .collect();
            };
            story.push(format!("{delay:?}: {recovered:?}"));
            match recovered.next {
                AfterRecovery::Finished(_) => break,
                AfterRecovery::Continue(planned) => next = *planned,
                AfterRecovery::Propose(planned) => {
                    next = *planned;
                    approved = next.clone();
                    journal.clear();
                }
                AfterRecovery::Ask => unreachable!(),
            }
        }
        let mut lines = ledger.lines();
        lines.sort();
        let once: Vec<String> = (0..10).map(|i| format!("terraform_data.l{i}")).collect();
        assert_eq!(lines, once, "{}", story.join("\n"));
        let last = rig.plan(&Job::new(), &source).await.unwrap();
        let left: Vec<_> = last.changes.iter().map(|c| (&c.address, c.action)).collect();
        assert!(last.no_changes, "{left:?}\n{}", story.join("\n"));
    }
}

/// Three before a wait, three after it. The wait is of the state alone.
fn around_a_wait(ledger: &Ledger, extra: &str) -> Tree {
    let mut text = extra.to_owned();
    for name in ["a", "b", "c"] {
        text += &ledger.resource(name, "", "0");
    }
    text += "resource \"time_sleep\" \"wait\" {\n  create_duration = \"3s\"\n  \
             depends_on = [terraform_data.a, terraform_data.b, terraform_data.c]\n}\n";
    for name in ["x", "y", "z"] {
        text += &ledger.resource(name, "depends_on = [time_sleep.wait]", "0");
    }
    text += "output \"id\" {\n  value = terraform_data.z.id\n}\n\
             output \"secret\" {\n  value = \"s3cret-s3cret\"\n  sensitive = true\n}\n";
    tree(&[("main.tf", &text)])
}

async fn waits(job: &Job) {
    until(|| heard(job).iter().any(|entry| entry.address == "time_sleep.wait")).await;
}

#[tokio::test]
async fn killed_between_two_resources_it_goes_on_and_each_is_made_once() {
    let ledger = Ledger::new();
    let mut rig = Rig::with_mirror().await;
    rig.root = Some("env".to_owned());
    let backend = "terraform {\n  backend \"local\" {\n    path = \"deep/x.tfstate\"\n  }\n}\n\
                   variable \"v\" {\n  type = string\n  sensitive = true\n}\n\
                   resource \"terraform_data\" \"plain\" {\n  input = var.v\n}\n";
    let inner = around_a_wait(&ledger, backend);
    let text = String::from_utf8(inner.file("main.tf").unwrap().to_vec()).unwrap();
    let source = tree(&[("env/main.tf", &text), ("env/slipway-recovery.tofu", "")]);
    let variables = [("v", json!("hunter22-hunter22"))];
    let planned = rig.plan_with(&Job::new(), &source, &variables).await.unwrap();
    let killed = cut(&rig, &source, &planned, waits).await;
    let mut case = Case::of(&rig, &source, &planned, &killed);
    case.variables = values(&variables);
    assert!(case.state.is_some(), "the state is where its backend puts it");
    let recovered = case.recover(&[]).await;
    assert_eq!(recovered.report.done.len(), 4, "{recovered:?}");
    assert_eq!(recovered.report.untouched.len(), 4, "with the wait, which is begun anew");
    let next = continues(recovered);
    assert_eq!(Counts::of(&next.changes).create, 4);
    assert_eq!(next.source_digest, planned.source_digest);

    // Other variables are not what was approved.
    case.variables = values(&[("v", json!("other-other-other"))]);
    let other = case.recover(&[]).await;
    proposes(&other);
    assert!(!format!("{:?}", other.report).contains("other-other"), "{:?}", other.report);

    let (mut journal, state) = (case.journal.clone(), case.state.clone());
    rig.state = state;
    let job = Job::new();
    let applied = rig.apply(&job, &source, &next).await.unwrap();
    let mut lines = ledger.lines();
    lines.sort();
    assert_eq!(lines, ["a", "b", "c", "x", "y", "z"].map(|name| format!("terraform_data.{name}")));

    // The worker died after all was done, and nobody was told.
    journal.extend(heard(&job));
    let case = Case {
        rig: &rig,
        source: &source,
        approved: &planned,
        journal,
        state: rig.state.clone(),
        collected: true,
        operation: Operation::Deploy,
        variables: values(&variables),
    };
    let recovered = case.recover(&[]).await;
    let AfterRecovery::Finished(finished) = &recovered.next else { panic!("{recovered:?}") };
    assert_eq!(finished.state, applied.state);
    assert_eq!(output(&finished.outputs, "id").value, output(&applied.outputs, "id").value);
    assert_eq!(output(&finished.outputs, "secret").value, json!("s3cret-s3cret"));
    assert_eq!(recovered.report.done.len(), 8, "{:?}", recovered.report);
}

#[tokio::test]
async fn modules_and_providers_are_there_for_the_new_plan_too() {
    let ledger = Ledger::new();
    let rig = Rig::with_mirror().await;
    let inner = "resource \"random_id\" \"r\" {\n  byte_length = 4\n}\n\
                 resource \"time_sleep\" \"s\" {\n  create_duration = \"60s\"\n  \
                 depends_on = [random_id.r]\n}\n";
    let outer = "module \"m\" {\n  for_each = toset([\"k.x\"])\n  source   = \"./inner\"\n}\n"
        .to_owned()
        + &ledger.resource("a", "", "0");
    let source = tree(&[("main.tf", &outer), ("inner/main.tf", inner)]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let killed = cut(&rig, &source, &planned, async |job: &Job| {
        let ended = |job: &Job| job.resources(ResourceStatus::Completed).len();
        until(|| ended(job) == 2 && heard(job).len() == 5).await;
    })
    .await;
    let case = Case::of(&rig, &source, &planned, &killed);
    let job = Job::new();
    let recovered = rig.driver.recover(&job, case.input(&[])).await.unwrap();
    assert_eq!(job.steps(), ["recover", "init: cached", "show", "plan", "show"]);
    assert_eq!(recovered.report.untouched, ["module.m[\"k.x\"].time_sleep.s"], "{recovered:?}");
    let next = continues(recovered);
    // And on a worker that has none of it.
    let other = Rig::with_mirror().await;
    let elsewhere = Case { rig: &other, ..Case::of(&rig, &source, &planned, &killed) };
    let next_there = continues(elsewhere.recover(&[]).await);
    assert_eq!(next.changes, next_there.changes);
    assert_eq!(next.lock_file_digest, planned.lock_file_digest);
}

#[tokio::test]
async fn without_the_last_moment_what_is_left_is_asked_about() {
    let ledger = Ledger::new();
    let rig = Rig::with_mirror().await;
    let source = around_a_wait(&ledger, "");
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let killed = cut(&rig, &source, &planned, waits).await;
    let mut case = Case::of(&rig, &source, &planned, &killed);
    case.collected = false;
    case.journal.clone_from(&killed.heard);
    let recovered =
        case.recover(&[absent("terraform_data.x"), absent("terraform_data.nowhere")]).await;
    asks(&recovered);
    assert_eq!(doubted(&recovered), ["terraform_data.y", "terraform_data.z"]);
    assert!(recovered.report.refusals[0].contains("nowhere"), "{:?}", recovered.report);
    let said = ["x", "y", "z"].map(|name| absent(&format!("terraform_data.{name}")));
    continues(case.recover(&said).await);
}

#[tokio::test]
async fn somebody_elses_state_is_proposed_and_not_gone_on_with() {
    let ledger = Ledger::new();
    let mut rig = Rig::with_mirror().await;
    let bystander = "resource \"terraform_data\" \"still\" {\n  input = \"one\"\n}\n";
    rig.deploy(&tree(&[("main.tf", bystander)])).await;
    let source = around_a_wait(&ledger, bystander);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let killed = cut(&rig, &source, &planned, waits).await;
    let mut case = Case::of(&rig, &source, &planned, &killed);
    continues(case.recover(&[]).await);
    let mut state = case.state.clone().unwrap();
    let text = String::from_utf8(state.content.to_vec()).unwrap();
    assert!(text.contains("\"one\""));
    state.content = text.replace("\"one\"", "\"two\"").into();
    state.mark.serial += 1;
    case.state = Some(state);
    let recovered = case.recover(&[]).await;
    let next = proposes(&recovered);
    assert_eq!(Counts::of(&next.changes).update, 1);
    let refusals = recovered.report.refusals.join("\n");
    assert!(refusals.contains("terraform_data.still"), "{refusals}");
}

#[tokio::test]
async fn what_was_made_and_is_lost_is_taken_in_by_its_id() {
    let mut rig = Rig::with_mirror().await;
    let text = "resource \"random_id\" \"r\" {\n  count       = 2\n  byte_length = 4\n}\n\
                resource \"terraform_data\" \"t\" {}\n";
    let source = tree(&[("main.tf", text)]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::new();
    rig.apply(&job, &source, &planned).await.unwrap();
    let made: BTreeMap<String, String> = heard(&job)
        .into_iter()
        .filter_map(|entry| Some((entry.address, entry.resource_id?)))
        .collect();
    let mut case = Case {
        rig: &rig,
        source: &source,
        approved: &planned,
        journal: heard(&job),
        state: None,
        collected: true,
        operation: Operation::Deploy,
        variables: Variables::new(),
    };
    let recovered = case.recover(&[]).await;
    assert_eq!(recovered.report.lost.len(), 3, "{recovered:?}");
    assert_eq!(recovered.report.imports, made);
    let next = proposes(&recovered);
    assert_eq!(Counts::of(&next.changes).create, 0, "{:?}", next.changes);
    assert_eq!(next.source_digest, planned.source_digest);

    // By another id; one by which nothing can be imported is asked about again.
    let recovered = case.recover(&[exists("random_id.r[0]", Some("not base64 at all!"))]).await;
    asks(&recovered);
    assert_eq!(doubted(&recovered)[0], "random_id.r[0]");
    assert!(recovered.report.in_doubt[0].detail.contains("could not be taken"), "{recovered:?}");
    // Said to be gone: made anew, which nobody has approved.
    let all: Vec<Resolution> = made.keys().map(|address| absent(address)).collect();
    let recovered = case.recover(&all).await;
    assert_eq!(Counts::of(&proposes(&recovered).changes).create, 3);
    assert!(recovered.report.imports.is_empty());

    // The plan takes in the very things.
    case.state = None;
    drop(case);
    rig.state = None;
    rig.apply(&Job::new(), &source, &next).await.unwrap();
    let state = String::from_utf8(rig.state.clone().unwrap().content.to_vec()).unwrap();
    assert!(made.values().all(|id| state.contains(id)), "{state}");
    assert!(rig.plan(&Job::new(), &source).await.unwrap().no_changes);
}

#[tokio::test]
async fn imports_that_were_approved_are_made_once_whoever_wrote_them() {
    let rig = Rig::with_mirror().await;
    let text = "resource \"random_id\" \"r\" {\n  for_each    = toset([\"a\", \"b\"])\n  byte_length = 4\n}\n\
                import {\n  for_each = { a = \"1zSh-A\", b = \"L65ytQ\" }\n  \
                to       = random_id.r[each.key]\n  id       = each.value\n}\n\
                resource \"terraform_data\" \"t\" {}\n";
    let source = tree(&[("main.tf", text)]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let none = Cut {
        heard: Vec::new(),
        salvage: Salvage { journal: Some(Vec::new()), state: None },
        last_saved: None,
    };
    let case = Case::of(&rig, &source, &planned, &none);
    let recovered = case.recover(&[]).await;
    assert!(recovered.report.imports.is_empty(), "{recovered:?}");
    assert_eq!(Counts::of(&continues(recovered).changes).import, 2);

    // Those that a recovery wrote are in no source, and not forgotten by the next.
    let bare = tree(&[("main.tf", "resource \"terraform_data\" \"t\" {}\n")]);
    let planned = rig.plan(&Job::new(), &bare).await.unwrap();
    let mut case = Case::of(&rig, &bare, &planned, &none);
    case.journal = vec![JournalEntry {
        address: "terraform_data.t".into(),
        action: Action::Create,
        status: ResourceStatus::Started,
        resource_id: None,
        id_key: None,
    }];
    // It lives in the state alone: nobody is asked, and it is made.
    continues(case.recover(&[]).await);
    case.journal[0].status = ResourceStatus::Completed;
    case.journal[0].resource_id = Some("made-before".into());
    let proposed = proposes(&case.recover(&[]).await);
    let again = Case::of(&rig, &bare, &proposed, &none);
    let recovered = again.recover(&[]).await;
    assert_eq!(recovered.report.imports["terraform_data.t"], "made-before");
    assert_eq!(Counts::of(&continues(recovered).changes).import, 1);
}

#[tokio::test]
async fn what_cannot_be_imported_by_its_id_is_asked_about() {
    let mut rig = Rig::with_mirror().await;
    let source = tree(&[("main.tf", "resource \"null_resource\" \"n\" {}\n")]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::new();
    rig.apply(&job, &source, &planned).await.unwrap();
    rig.state = None;
    let cut = Cut {
        heard: heard(&job),
        salvage: Salvage { journal: Some(heard(&job)), state: None },
        last_saved: None,
    };
    let case = Case::of(&rig, &source, &planned, &cut);
    let recovered = case.recover(&[]).await;
    asks(&recovered);
    assert!(recovered.report.lost[0].obstacle.is_some(), "{recovered:?}");
    assert_eq!(doubted(&recovered), ["null_resource.n"]);
    let recovered = case.recover(&[absent("null_resource.n")]).await;
    assert_eq!(Counts::of(&proposes(&recovered).changes).create, 1);
}

#[tokio::test]
async fn what_a_person_says_of_a_create_in_doubt_is_done() {
    let ledger = Ledger::new();
    let mut rig = Rig::new().await;
    let text = ledger.resource("a", "", "0")
        + &ledger.resource(
            "b",
            "depends_on = [terraform_data.a]",
            "$(test -e once && echo 0 || echo 60)",
        );
    let source = tree(&[("main.tf", &text)]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let killed = cut(&rig, &source, &planned, async |_: &Job| ledger.has(2).await).await;
    let case = Case::of(&rig, &source, &planned, &killed);
    let recovered = case.recover(&[]).await;
    asks(&recovered);
    assert_eq!(doubted(&recovered), ["terraform_data.b"]);
    assert_eq!(recovered.report.in_doubt[0].action, Action::Create);
    let unsure = case.recover(&[exists("terraform_data.b", None)]).await;
    asks(&unsure);
    assert!(unsure.report.in_doubt[0].detail.contains("id is needed"), "{unsure:?}");
    let taken = case.recover(&[exists("terraform_data.b", Some("b-by-hand"))]).await;
    assert_eq!(taken.report.imports["terraform_data.b"], "b-by-hand");
    let proposed = proposes(&taken);
    assert_eq!(Counts::of(&proposed.changes).create, 0);
    let next = continues(case.recover(&[absent("terraform_data.b")]).await);
    assert_eq!(Counts::of(&next.changes).create, 1);

    rig.state = case.state.clone();
    let applied = rig.apply(&Job::new(), &source, &proposed).await.unwrap();
    assert_eq!(rig.state.as_ref().unwrap().mark, applied.state);
    assert_eq!(ledger.lines(), ["terraform_data.a", "terraform_data.b"], "nothing ran again");
}

#[tokio::test]
async fn what_the_state_learns_before_its_provisioners_have_run_is_asked_about() {
    let ledger = Ledger::new();
    let rig = Rig::with_mirror().await;
    // The wait ends, and the whole state is written, while `p` is still at it.
    let text = ledger.resource("p", "", "60")
        + "resource \"time_sleep\" \"w\" {\n  create_duration = \"1s\"\n}\n";
    let source = tree(&[("main.tf", &text)]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let killed = cut(&rig, &source, &planned, async |job: &Job| {
        ledger.has(1).await;
        until(|| job.resources(ResourceStatus::Completed).contains(&"time_sleep.w".to_owned()))
            .await;
    })
    .await;
    let case = Case::of(&rig, &source, &planned, &killed);
    let state = String::from_utf8(case.state.clone().unwrap().content.to_vec()).unwrap();
    assert!(state.contains("terraform_data") && !state.contains("tainted"), "{state}");
    let recovered = case.recover(&[]).await;
    asks(&recovered);
    assert_eq!(doubted(&recovered), ["terraform_data.p"]);
    assert!(recovered.report.in_doubt[0].detail.contains("provisioners"), "{recovered:?}");
    assert_eq!(recovered.report.done, ["time_sleep.w"]);
    let fine = case.recover(&[exists("terraform_data.p", None)]).await;
    assert!(matches!(fine.next, AfterRecovery::Finished(_)), "{fine:?}");
    let anew = case.recover(&[absent("terraform_data.p")]).await;
    assert_eq!(Counts::of(&proposes(&anew).changes).replace, 1, "{anew:?}");
}

#[tokio::test]
async fn a_killed_destroy_goes_on_when_it_is_known_what_is_gone() {
    let ledger = Ledger::new();
    let mut rig = Rig::new().await;
    let mut text = String::new();
    for (name, before) in [("a", ""), ("b", "a"), ("c", "b")] {
        let depends = if before.is_empty() {
            String::new()
        } else {
            format!("  depends_on = [terraform_data.{before}]\n")
        };
        let resource = format!(
            "resource \"terraform_data\" \"{name}\" {{\n{depends}  provisioner \"local-exec\" {{\n    when = destroy\n    \
             command = \"echo terraform_data.{name} >> {}; sleep 0.4\"\n  }}\n}}\n",
            ledger.path().display()
        );
        text += &resource;
    }
    let source = tree(&[("main.tf", &text)]);
    rig.deploy(&source).await;
    let planned = rig.destroy(&Job::new(), &source).await.unwrap();
    let killed = cut(&rig, &source, &planned, async |_: &Job| ledger.has(2).await).await;
    let mut case = Case::of(&rig, &source, &planned, &killed);
    case.operation = Operation::Destroy;
    let recovered = case.recover(&[]).await;
    asks(&recovered);
    assert_eq!(recovered.report.done, ["terraform_data.c"]);
    assert_eq!(doubted(&recovered), ["terraform_data.b"]);
    assert_eq!(recovered.report.in_doubt[0].action, Action::Delete);
    assert_eq!(recovered.report.untouched, ["terraform_data.a"]);
    let next = continues(case.recover(&[exists("terraform_data.b", None)]).await);
    assert_eq!(Counts::of(&next.changes).delete, 2);
    let mut journal = case.journal.clone();
    rig.state = case.state.clone();
    let job = Job::new();
    rig.apply(&job, &source, &next).await.unwrap();
    let of = |name: &str| ledger.lines().iter().filter(|l| l.ends_with(name)).count();
    assert_eq!((of(".a"), of(".b"), of(".c")), (1, 2, 1), "{:?}", ledger.lines());
    journal.extend(heard(&job));
    let case = Case {
        rig: &rig,
        source: &source,
        approved: &planned,
        journal,
        state: rig.state.clone(),
        collected: true,
        operation: Operation::Destroy,
        variables: Variables::new(),
    };
    let recovered = case.recover(&[]).await;
    assert!(matches!(recovered.next, AfterRecovery::Finished(_)), "{recovered:?}");
    assert_eq!(recovered.report.done.len(), 3);
}

#[tokio::test]
async fn of_a_backend_of_its_own_a_plan_is_proposed_at_most() {
    let backend = tempfile::tempdir().unwrap();
    let server = crate::store::http::Server::start(backend.path().join("state")).await;
    let text = |more: &str| {
        format!(
            "terraform {{\n  backend \"http\" {{\n    address = \"{}\"\n  }}\n}}\n\
             resource \"terraform_data\" \"x\" {{\n  input = \"v\"\n}}\n\
             output \"o\" {{\n  value = terraform_data.x.output\n}}\n{more}",
            server.url
        )
    };
    let rig = Rig::new().await;
    let source = tree(&[("main.tf", &text(""))]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let none = Cut {
        heard: Vec::new(),
        salvage: Salvage { journal: Some(Vec::new()), state: None },
        last_saved: None,
    };
    let mut case = Case::of(&rig, &source, &planned, &none);
    let recovered = case.recover(&[]).await;
    assert_eq!(Counts::of(&proposes(&recovered).changes).create, 1);
    assert!(recovered.report.refusals[0].contains("(http)"), "{recovered:?}");
    let job = Job::new();
    rig.driver.apply(&job, rig.applying(&source, &planned)).await.unwrap();
    assert!(rig.driver.salvage(job.workspace()).state.is_none());
    case.journal = heard(&job);
    let recovered = case.recover(&[]).await;
    assert_eq!(recovered.report.done, ["terraform_data.x"]);
    let AfterRecovery::Finished(finished) = &recovered.next else { panic!("{recovered:?}") };
    assert_eq!(output(&finished.outputs, "o").value, json!("v"));
}

#[tokio::test]
async fn what_cannot_be_planned_is_an_error_with_what_the_tool_said() {
    let rig = Rig::new().await;
    let ok = tree(&[("main.tf", "resource \"terraform_data\" \"x\" {}\n")]);
    let planned = rig.plan(&Job::new(), &ok).await.unwrap();
    let none = Cut {
        heard: Vec::new(),
        salvage: Salvage { journal: Some(Vec::new()), state: None },
        last_saved: None,
    };
    let broken =
        tree(&[("main.tf", "resource \"terraform_data\" \"x\" {\n  input = nowhere.x\n}\n")]);
    let case = Case::of(&rig, &broken, &planned, &none);
    let error = rig.driver.recover(&Job::new(), case.input(&[])).await.unwrap_err();
    let (_, diagnostics) = permanent(error);
    assert!(!diagnostics.is_empty());
    let mut input = Case::of(&rig, &ok, &planned, &none).input(&[]);
    input.approved.tool.version = "0.0.1".into();
    let (summary, _) = permanent(rig.driver.recover(&Job::new(), input).await.unwrap_err());
    assert!(summary.contains("0.0.1"), "{summary}");
    let stopped = Job::new();
    stopped.ask(slipway_domain::port::driver::Stop::Gently);
    let case = Case::of(&rig, &ok, &planned, &none);
    let error = rig.driver.recover(&stopped, case.input(&[])).await.unwrap_err();
    assert!(matches!(error, slipway_domain::port::driver::DriverError::Stopped), "{error:?}");
}
