//! What a recovery would make anew although its effects may be whole: a person is asked first.

use slipway_domain::port::driver::{DriverError, Stop};

use super::*;

/// An apply that is interrupted when the ledger has a line: its tool ends in order, with a
/// provisioner cut off.
async fn interrupted(rig: &mut Rig, source: &Tree, planned: &Planned, ledger: &Ledger) -> Arc<Job> {
    let job = Arc::new(Job::new());
    let (driver, input) = (rig.driver.clone(), rig.applying(source, planned));
    let task = tokio::spawn({
        let job = job.clone();
        async move { driver.apply(job.as_ref(), input).await }
    });
    ledger.has(1).await;
    job.ask(Stop::Gently);
    let ended = task.await.unwrap();
    assert!(matches!(ended, Err(DriverError::Stopped)), "{ended:?}");
    rig.state = job.last_state();
    job
}

fn case<'a>(rig: &'a Rig, source: &'a Tree, approved: &'a Planned, job: &Job) -> Case<'a> {
    Case {
        rig,
        source,
        approved,
        journal: heard(job),
        state: rig.state.clone(),
        collected: true,
        operation: Operation::Deploy,
        variables: Variables::new(),
    }
}

/// A provisioner that was cut off in its last moment has failed, to its tool, and done everything.
#[tokio::test]
async fn a_provisioner_that_was_cut_off_does_not_run_again_by_itself() {
    let ledger = Ledger::new();
    let mut rig = Rig::new().await;
    let text = ledger.resource("p", "", "60")
        + &ledger.resource("next", "input = terraform_data.p.id", "0")
        + "output \"id\" {\n  value = terraform_data.p.id\n}\n";
    let source = tree(&[("main.tf", &text)]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = interrupted(&mut rig, &source, &planned, &ledger).await;
    let kept = rig.state.clone().unwrap();
    assert!(String::from_utf8(kept.content.to_vec()).unwrap().contains("tainted"));

    let of = case(&rig, &source, &planned, &job);
    let recovered = of.recover(&[]).await;
    asks(&recovered);
    assert_eq!(doubted(&recovered), ["terraform_data.p"]);
    assert!(recovered.report.in_doubt[0].detail.contains("tainted"), "{recovered:?}");
    assert!(recovered.report.tainted.is_empty(), "{recovered:?}");

    let recovered = of.recover(&[absent("terraform_data.p")]).await;
    assert_eq!(recovered.report.tainted, ["terraform_data.p"]);
    let counts = Counts::of(&continues(recovered).changes);
    assert_eq!((counts.replace, counts.create), (1, 1));

    // All is well with it: its mark is taken away, and the rest goes on without it.
    let said = Job::new();
    let whole = [exists("terraform_data.p", None)];
    let recovered = rig.driver.recover(&said, of.input(&whole)).await.unwrap();
    assert_eq!(recovered.report.done, ["terraform_data.p"]);
    let next = continues(recovered);
    let counts = Counts::of(&next.changes);
    assert_eq!((counts.replace, counts.create), (0, 1), "{:?}", next.changes);
    let unmarked = said.last_state().unwrap();
    assert!(!String::from_utf8(unmarked.content.to_vec()).unwrap().contains("tainted"));
    assert_eq!(unmarked.mark.lineage, kept.mark.lineage);
    assert!(unmarked.mark.serial > kept.mark.serial, "{unmarked:?}");
    assert_eq!(next.state, unmarked.mark);

    // The recovery itself may be lost after that.
    rig.state = Some(unmarked);
    let again = case(&rig, &source, &planned, &job).recover(&whole).await;
    assert_eq!(again.report.done, ["terraform_data.p"]);
    assert_eq!(continues(again).state, next.state);

    rig.apply(&Job::new(), &source, &next).await.unwrap();
    assert_eq!(ledger.lines(), ["terraform_data.p", "terraform_data.next"], "each once");
    assert!(rig.plan(&Job::new(), &source).await.unwrap().no_changes);
}

/// Where a backend of the configuration's own keeps the state, it is told to that backend.
#[tokio::test]
async fn a_mark_is_taken_away_where_the_state_is() {
    let ledger = Ledger::new();
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("state");
    let server = crate::store::http::Server::start(file.clone()).await;
    let mut rig = Rig::new().await;
    let backend = format!(
        "terraform {{\n  backend \"http\" {{\n    address = \"{}\"\n  }}\n}}\n",
        server.url
    );
    let source = tree(&[("main.tf", &(backend + &ledger.resource("p", "", "60")))]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = interrupted(&mut rig, &source, &planned, &ledger).await;
    let read = || std::fs::read_to_string(&file).unwrap();
    assert!(read().contains("tainted"), "{}", read());
    let of = case(&rig, &source, &planned, &job);
    asks(&of.recover(&[]).await);
    assert!(read().contains("tainted"), "nobody has said anything of it");
    let said = of.recover(&[exists("terraform_data.p", None)]).await;
    assert!(matches!(said.next, AfterRecovery::Finished(_)), "{said:?}");
    assert!(!read().contains("tainted"), "{}", read());
    assert_eq!(ledger.lines(), ["terraform_data.p"]);
}

/// What is taken in only to be made anew at once is made twice.
#[tokio::test]
async fn what_was_made_is_not_taken_in_to_be_replaced_unless_somebody_says_so() {
    let mut rig = Rig::new().await;
    let text = "resource \"terraform_data\" \"same\" {}\n\
                resource \"terraform_data\" \"t\" {\n  triggers_replace = [\"v\"]\n}\n";
    let source = tree(&[("main.tf", text)]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::new();
    rig.apply(&job, &source, &planned).await.unwrap();
    rig.state = None;
    let of = case(&rig, &source, &planned, &job);
    let made: BTreeMap<String, String> = heard(&job)
        .into_iter()
        .filter_map(|entry| Some((entry.address, entry.resource_id?)))
        .collect();
    let recovered = of.recover(&[]).await;
    asks(&recovered);
    assert_eq!(doubted(&recovered), ["terraform_data.t"]);
    let id = made["terraform_data.t"].as_str();
    let doubt = &recovered.report.in_doubt[0];
    assert_eq!(doubt.resource_id.as_deref(), Some(id));
    assert!(doubt.detail.contains("made anew") && doubt.detail.contains(id), "{doubt:?}");
    assert_eq!(recovered.report.imports.keys().collect::<Vec<_>>(), ["terraform_data.same"]);

    let said = of.recover(&[exists("terraform_data.t", Some(id))]).await;
    assert_eq!(Counts::of(&proposes(&said).changes).replace, 1);
    let said = of.recover(&[absent("terraform_data.t")]).await;
    let counts = Counts::of(&proposes(&said).changes);
    assert_eq!((counts.replace, counts.create), (0, 1));
}
