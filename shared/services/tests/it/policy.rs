//! Policy packs from the upload to the gate, and exemptions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::SubsecRound as _;
use serde_json::json;
use slipway_domain::access::Scope;
use slipway_domain::exemption::{Exemption, NewExemption};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::gate::GateVerdict;
use slipway_domain::page::PageRequest;
use slipway_domain::plan::{Action, ResourceChange};
use slipway_domain::policy::{
    PackMode, PackUse, PolicyModule, PolicySettings, RuleOverride, SHIPPED,
};
use slipway_domain::tree::Tree;
use slipway_services::exemption;
use slipway_services::policy::{self, DryRunRequest, NamedPack, Sent, Subject, UploadPolicy};

use crate::rig::{Rig, code, on_both_engines};

on_both_engines! {
    what_is_uploaded_is_a_version_and_the_same_again_is_the_same,
    everything_that_is_wrong_is_said_and_nothing_is_kept,
    packs_that_mean_harm_are_refused_in_time,
    a_version_that_settings_name_stays,
    a_gate_asks_every_pack_and_counts_exemptions,
    a_pack_that_cannot_be_asked_denies,
    a_dry_run_judges_past_plans,
    exemptions_are_granted_within_scopes,
}

/// A pack that denies buckets, tested.
const GOOD: &str = "package user.buckets

import rego.v1

rules := {\"no_buckets\": {\"title\": \"No buckets\", \"severity\": \"high\", \"aliases\": [\"X_1\"]}}

result contains {\"rule\": \"no_buckets\", \"address\": address, \"state\": \"fail\", \"message\": \"a bucket\"} if {
\tsome r in input.resources
\tr.type == \"aws_s3_bucket\"
\taddress := r.address
}

test_bucket if {
\tfound := result with input as {\"resources\": [{\"type\": \"aws_s3_bucket\", \"address\": \"a.b\"}]}
\tcount(found) == 1
}
";

fn files(modules: &[(&str, &str)]) -> Sent {
    let module = |(path, text): &(&str, &str)| PolicyModule {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    Sent::Modules(UploadPolicy { modules: modules.iter().map(module).collect() })
}

fn one(text: &str) -> Sent {
    files(&[("mine.rego", text)])
}

async fn upload(rig: &Rig, name: &str, sent: Sent) -> Result<policy::Uploaded, Fault> {
    policy::upload(&rig.cx, &rig.who, name, sent, None).await
}

fn change(address: &str) -> ResourceChange {
    let (kind, name) = address.split_once('.').unwrap();
    ResourceChange {
        address: address.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        provider: "registry.terraform.io/hashicorp/aws".to_owned(),
        action: Action::Create,
        reason: None,
        before: serde_json::Value::Null,
        after: json!({"bucket": "x"}),
        unknown: Vec::new(),
        sensitive: Vec::new(),
        replace_paths: Vec::new(),
        previous_address: None,
        deposed: None,
        importing_id: None,
    }
}

fn subject(addresses: &[&str]) -> Subject {
    let context = slipway_policy::Context {
        project: "shop".to_owned(),
        environment: "dev".to_owned(),
        ..slipway_policy::Context::default()
    };
    let changes = Arc::new(addresses.iter().map(|address| change(address)).collect());
    Subject { changes, terraform: None, context }
}

fn only(name: &str, mode: PackMode) -> PolicySettings {
    let pack = PackUse { name: name.to_owned(), version: None, mode };
    PolicySettings { packs: vec![pack], ..PolicySettings::default() }
}

async fn what_is_uploaded_is_a_version_and_the_same_again_is_the_same(rig: Rig) {
    let first = upload(&rig, "mine", one(GOOD)).await.unwrap();
    assert!(first.created);
    assert_eq!((first.version.version, first.version.tests_passed), (1, 1));
    assert_eq!(first.version.rules[0].id, "no_buckets");
    let again = upload(&rig, "mine", one(GOOD)).await.unwrap();
    assert_eq!((again.created, &again.version), (false, &first.version));

    let mut tree = Tree::new();
    tree.add_file("sub/mine.rego", format!("{GOOD}\n# more\n"), false).unwrap();
    tree.add_file("README.md", "# Not Rego", false).unwrap();
    let archive = Sent::Archive(tree.to_tar_gz().unwrap());
    let keyed =
        async |sent| policy::upload(&rig.cx, &rig.who, "mine", sent, Some("k")).await.unwrap();
    let second = keyed(archive.clone()).await;
    assert_eq!(
        (second.version.version, &second.version.files[..]),
        (2, &["sub/mine.rego".to_owned()][..])
    );
    let replayed = keyed(archive).await;
    assert!(replayed.replayed && replayed.created && replayed.version == second.version);
    let other = policy::upload(&rig.cx, &rig.who, "mine", one(GOOD), Some("k")).await;
    assert_eq!(code(other), Code::IdempotencyKeyReused);
    // Back to an older text: that is a new version, so that it is the newest.
    assert_eq!(upload(&rig, "mine", one(GOOD)).await.unwrap().version.version, 3);

    let all = policy::list(&rig.cx, &rig.who).await.unwrap();
    let names: Vec<_> = all.iter().map(|pack| (pack.name.as_str(), pack.versions)).collect();
    assert_eq!(names, [(SHIPPED, 1), ("mine", 3)]);
    assert!(all[0].latest.rules.len() >= 40, "{}", all[0].latest.rules.len());
    let page = PageRequest { limit: 2, after: None };
    let page = policy::versions(&rig.cx, &rig.who, "mine", page).await.unwrap();
    assert_eq!(page.items.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 2]);
    assert!(page.next_cursor.is_some());
    let text = policy::modules(&rig.cx, &rig.who, "mine", 1).await.unwrap();
    assert_eq!(text[0].text, GOOD);
    assert!(!policy::modules(&rig.cx, &rig.who, SHIPPED, 0).await.unwrap().is_empty());
    assert_eq!(code(policy::get(&rig.cx, &rig.who, "other").await), Code::NotFound);
    assert_eq!(code(policy::version(&rig.cx, &rig.who, "mine", 9).await), Code::NotFound);
}

async fn everything_that_is_wrong_is_said_and_nothing_is_kept(rig: Rig) {
    let fault = upload(
        &rig,
        "mine",
        files(&[
            ("a.rego", "package user.a\n\na := {\n"),
            ("b.rego", "package user.b\n\nb := [\n"),
        ]),
    )
    .await
    .unwrap_err();
    assert_eq!(fault.code, Code::InvalidPolicy);
    let places: Vec<_> = fault.errors.iter().map(|e| (e.file.as_deref(), e.line)).collect();
    assert!(
        matches!(places[..], [(Some("a.rego"), Some(_)), (Some("b.rego"), Some(_))]),
        "{places:?}"
    );

    let fault = upload(
        &rig,
        "mine",
        one("package user.a\n\nimport rego.v1\n\ntest_no if false\n\ntest_yes if true\n\ndeny contains x if {\n\tx := input.y\n}\n"),
    )
    .await
    .unwrap_err();
    assert_eq!(
        (fault.code, fault.errors.len(), fault.errors[0].line),
        (Code::InvalidPolicy, 1, Some(5))
    );
    assert!(fault.detail.contains("user.a.test_no"), "{}", fault.detail);

    let call = "package user.a\n\nimport rego.v1\n\ndeny contains x if {\n\tx := http.send({\"method\": \"get\", \"url\": \"http://169.254.169.254\"})\n}\n";
    let fault = upload(&rig, "mine", one(call)).await.unwrap_err();
    assert_eq!((fault.code, fault.errors[0].line), (Code::InvalidPolicy, Some(6)));
    assert!(fault.errors[0].detail.contains("network"), "{:?}", fault.errors);

    for path in ["../x.rego", "/etc/x.rego", "a/../../x.rego", "x.txt", ""] {
        let fault = upload(&rig, "mine", files(&[(path, GOOD)])).await.unwrap_err();
        assert_eq!(
            (fault.code, fault.errors[0].pointer.as_str()),
            (Code::InvalidInput, "/modules/0/path"),
            "{path}"
        );
    }
    let twice = files(&[("x.rego", GOOD), ("./x.rego", GOOD)]);
    assert_eq!(code(upload(&rig, "mine", twice).await), Code::InvalidInput);
    assert_eq!(code(upload(&rig, "mine", files(&[])).await), Code::InvalidPolicy);
    for name in ["dry-run", "Mine", "../x", ""] {
        assert_eq!(code(upload(&rig, name, one(GOOD)).await), Code::InvalidInput, "{name}");
    }
    assert_eq!(code(upload(&rig, SHIPPED, one(GOOD)).await), Code::PolicyInUse);
    let mut stranger = rig.who.clone();
    stranger.grants.house.scopes.remove(&Scope::PoliciesWrite);
    let refused = policy::upload(&rig.cx, &stranger, "mine", one(GOOD), None).await;
    assert_eq!(code(refused), Code::Forbidden);
    assert_eq!(policy::list(&rig.cx, &rig.who).await.unwrap().len(), 1, "nothing was kept");
}

async fn packs_that_mean_harm_are_refused_in_time(rig: Rig) {
    let begin = Instant::now();
    let list = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let loops = format!(
        "package user.a\n\nimport rego.v1\n\nn := [{list}]\n\nlong if {{\n\tsome a in n\n\tsome b in n\n\tsome c in n\n\tsome d in n\n\ta + b + c + d < 0\n}}\n\ntest_a if long\n\ntest_b if long\n"
    );
    let fault = upload(&rig, "mine", one(&loops)).await.unwrap_err();
    assert_eq!((fault.code, fault.errors.len()), (Code::InvalidPolicy, 2), "{fault:?}");
    assert!(fault.errors[0].detail.contains("was stopped"), "{:?}", fault.errors);
    let deep = format!("package user.a\n\na := {}1{}\n", "[".repeat(31), "]".repeat(31));
    assert_eq!(code(upload(&rig, "mine", one(&deep)).await), Code::InvalidPolicy);
    let large = format!("package user.a\n# {}", "x".repeat(10 << 20));
    assert_eq!(code(upload(&rig, "mine", one(&large)).await), Code::InvalidPolicy);
    // A little archive that would be large, and one that leaves its place.
    let mut bomb = Tree::new();
    bomb.add_file("a.rego", "#".repeat(64 << 20), false).unwrap();
    let bomb = Sent::Archive(bomb.to_tar_gz().unwrap());
    assert_eq!(code(upload(&rig, "mine", bomb).await), Code::UnsafeArchive);
    let junk = Sent::Archive(bytes::Bytes::from_static(b"PK\x03\x04 no tar"));
    assert_eq!(code(upload(&rig, "mine", junk).await), Code::UnsafeArchive);
    assert!(begin.elapsed() < Duration::from_secs(100), "{:?}", begin.elapsed());
    assert!(upload(&rig, "mine", one(GOOD)).await.unwrap().created, "and the next one is taken");
}

async fn a_version_that_settings_name_stays(rig: Rig) {
    for text in [GOOD.to_owned(), format!("{GOOD}\n# 2\n")] {
        upload(&rig, "mine", one(&text)).await.unwrap();
    }
    let name = async |settings: Option<&PolicySettings>| {
        let mut tx = rig.cx.store.begin().await.unwrap();
        policy::name_packs(&mut tx, "project shop", settings, "/policy").await?;
        tx.commit().await.map_err(Fault::from)
    };
    let remove = async |version| policy::remove(&rig.cx, &rig.who, "mine", version).await;
    let pinned = |version| {
        let mut settings = only("mine", PackMode::Enforce);
        settings.packs[0].version = version;
        settings
    };
    let fault = name(Some(&pinned(Some(7)))).await.unwrap_err();
    assert_eq!(fault.errors[0].pointer, "/policy/packs/0");
    assert_eq!(code(name(Some(&only("none", PackMode::Warn))).await), Code::InvalidInput);

    name(Some(&pinned(Some(1)))).await.unwrap();
    let fault = remove(1).await.unwrap_err();
    assert_eq!(fault.code, Code::PolicyInUse);
    assert!(fault.detail.contains("project shop"), "{}", fault.detail);
    name(Some(&pinned(None))).await.unwrap();
    assert_eq!(code(remove(2).await), Code::PolicyInUse, "the newest one is taken");
    remove(1).await.unwrap();
    assert_eq!(code(remove(1).await), Code::NotFound);
    name(None).await.unwrap();
    remove(2).await.unwrap();
    assert_eq!(code(policy::get(&rig.cx, &rig.who, "mine").await), Code::NotFound);
    assert_eq!(code(policy::remove(&rig.cx, &rig.who, SHIPPED, 0).await), Code::PolicyInUse);
    let next = upload(&rig, "mine", one(GOOD)).await.unwrap();
    assert_eq!(next.version.version, 3, "numbers are not given out twice");
}

async fn grant(rig: &Rig, address: &str, days: i64) -> Exemption {
    let request = NewExemption {
        rule: "X_1".into(),
        address: address.into(),
        project: Some("shop".into()),
        environment: Some("dev".into()),
        reason: "a page that everybody may read".into(),
        owner: "web".into(),
        expires_at: rig.cx.now() + chrono::Duration::days(days),
    };
    exemption::create(&rig.cx, &rig.who, request, None).await.unwrap().exemption
}

async fn a_gate_asks_every_pack_and_counts_exemptions(rig: Rig) {
    upload(&rig, "mine", one(GOOD)).await.unwrap();
    let settings = only("mine", PackMode::Enforce);
    let ask = async |settings: &PolicySettings, addresses: &[&str]| {
        policy::gate(&rig.cx, settings, subject(addresses)).await.unwrap()
    };
    let buckets = ["aws_s3_bucket.a", "aws_s3_bucket.b"];
    let said = ask(&settings, &buckets).await;
    assert_eq!((said.result.verdict, said.findings.len()), (GateVerdict::Deny, 2));
    assert_eq!(said.packs[0].0.version, Some(1));
    assert_eq!(ask(&settings, &["aws_instance.a"]).await.result.verdict, GateVerdict::Pass);
    let warned = ask(&only("mine", PackMode::Warn), &buckets).await;
    assert_eq!(warned.result.verdict, GateVerdict::Warn);
    let off = ask(&only("mine", PackMode::Off), &buckets).await;
    assert_eq!((off.result.verdict, off.packs.len()), (GateVerdict::Pass, 0));
    let rules = [("X_1".to_owned(), RuleOverride::Warn {})].into();
    let lowered = ask(&PolicySettings { rules, ..settings.clone() }, &buckets).await;
    assert_eq!(lowered.result.verdict, GateVerdict::Warn);

    // By its name elsewhere, until it expires.
    let first = grant(&rig, "aws_s3_bucket.a", 2).await;
    assert_eq!(ask(&settings, &buckets).await.result.verdict, GateVerdict::Deny, "b is left");
    let second = grant(&rig, "aws_s3_bucket.*", 9).await;
    let said = ask(&settings, &buckets).await;
    assert_eq!(said.result.verdict, GateVerdict::Pass);
    assert_eq!(said.exemptions.iter().map(|one| one.id).collect::<Vec<_>>(), [second.id]);
    assert_eq!(said.holds_until, Some(second.expires_at));
    exemption::revoke(&rig.cx, &rig.who, second.id, None).await.unwrap();
    let said = ask(&settings, &buckets[..1]).await;
    assert_eq!(
        (said.result.verdict, said.holds_until),
        (GateVerdict::Pass, Some(first.expires_at))
    );
    rig.clock.advance(chrono::Duration::days(2));
    assert_eq!(ask(&settings, &buckets[..1]).await.result.verdict, GateVerdict::Deny, "it is over");

    // The built-in pack beside it.
    let both = PolicySettings {
        packs: vec![PackUse::shipped(), settings.packs[0].clone()],
        ..PolicySettings::default()
    };
    let said = ask(&both, &["aws_s3_bucket.a"]).await;
    assert_eq!(said.packs.len(), 2);
    assert!(said.findings.iter().any(|f| f.rule == "no_buckets"));
}

async fn a_pack_that_cannot_be_asked_denies(rig: Rig) {
    let said =
        policy::gate(&rig.cx, &only("gone", PackMode::Warn), subject(&["a.b"])).await.unwrap();
    assert_eq!(said.result.verdict, GateVerdict::Deny);
    assert!(said.findings[0].message.contains("no policy pack gone"), "{:?}", said.findings);

    // One that was kept by another version of this program, whose rules were others.
    let mut tx = rig.cx.store.begin().await.unwrap();
    let now = rig.cx.now().trunc_subsecs(6);
    tx.lock_policy("old", now).await.unwrap();
    let good = upload_version(&rig);
    let version = slipway_domain::policy::PolicyVersion {
        name: "old".into(),
        digest: "sha256:old".into(),
        ..good
    };
    let text = "package elsewhere\n\nallow := true\n";
    let modules = [PolicyModule { path: "a.rego".into(), text: text.into() }];
    tx.insert_policy_version(&version, &modules, now).await.unwrap();
    tx.commit().await.unwrap();
    let said =
        policy::gate(&rig.cx, &only("old", PackMode::Warn), subject(&["a.b"])).await.unwrap();
    assert_eq!(said.result.verdict, GateVerdict::Deny);
    assert!(said.findings[0].message.contains("cannot be compiled"), "{:?}", said.findings);
    // Nobody may exempt from that.
    let request = NewExemption {
        rule: "policy_error".into(),
        address: "*".into(),
        project: None,
        environment: None,
        reason: "it is in our way today".into(),
        owner: "x".into(),
        expires_at: now + chrono::Duration::days(1),
    };
    assert_eq!(code(exemption::create(&rig.cx, &rig.who, request, None).await), Code::InvalidInput);

    // One that loops on a plan is stopped and denies.
    let list = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let loops = format!(
        "package user.a\n\nimport rego.v1\n\nn := [{list}]\n\nwarn contains \"never\" if {{\n\tsome a in n\n\tsome b in n\n\tsome c in n\n\tsome d in n\n\ta + b + c + d < 0\n}}\n"
    );
    upload(&rig, "loops", one(&loops)).await.unwrap();
    let begin = Instant::now();
    let said =
        policy::gate(&rig.cx, &only("loops", PackMode::Warn), subject(&["a.b"])).await.unwrap();
    assert_eq!(said.result.verdict, GateVerdict::Deny);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

/// What a version looks like, without keeping one.
fn upload_version(rig: &Rig) -> slipway_domain::policy::PolicyVersion {
    let mut tree = Tree::new();
    tree.add_file("a.rego", GOOD, false).unwrap();
    let mut version = policy::check_tree(&tree).unwrap().version("old", 1);
    version.created_by = Some(rig.who.actor.clone());
    version
}

async fn a_dry_run_judges_past_plans(rig: Rig) {
    upload(&rig, "mine", one(GOOD)).await.unwrap();
    let (planned, digest) = rig.planned("net").await;
    let waiting = rig.submit("db").await;
    let request = |body: serde_json::Value| serde_json::from_value::<DryRunRequest>(body).unwrap();
    let run = async |body| policy::dry_run(&rig.cx, &rig.who, request(body)).await;
    let gone = slipway_domain::id::DeploymentId::new(&slipway_domain::id::RandomMint);
    let said =
        run(json!({"pack": {"name": "mine"}, "deployments": [planned, waiting, gone, planned]}))
            .await
            .unwrap();
    assert_eq!(said.results.len(), 1, "{said:?}");
    assert_eq!(said.results[0].deployment_id, planned);
    assert_eq!(said.results[0].plan_digest, digest);
    assert_eq!(said.results[0].verdict, GateVerdict::Pass);
    let skipped: Vec<_> = said.skipped.iter().map(|s| s.deployment_id).collect();
    assert_eq!(skipped, [waiting, gone]);

    let text = "package user.all\n\nimport rego.v1\n\ndeny contains {\"message\": \"no\", \"address\": a, \"rule\": \"all\"} if {\n\tsome r in input.resources\n\ta := r.address\n}\n";
    let said =
        run(json!({"modules": [{"path": "a.rego", "text": text}], "project": "shop", "last": 5}))
            .await
            .unwrap();
    assert_eq!((said.results.len(), said.skipped.len()), (1, 0), "{said:?}");
    assert_eq!(said.results[0].verdict, GateVerdict::Deny);
    assert!(!said.results[0].findings.is_empty());

    for (body, pointer) in [
        (json!({"project": "shop"}), "/pack"),
        (json!({"pack": {"name": "mine"}}), "/deployments"),
        (json!({"pack": {"name": "mine"}, "deployments": []}), "/deployments"),
        (json!({"pack": {"name": "mine"}, "project": "shop", "last": 51}), "/last"),
        (json!({"pack": {"name": "mine"}, "deployments": [gone], "last": 5}), "/project"),
        (json!({"pack": {"name": "other"}, "project": "shop"}), "/pack"),
    ] {
        let fault = run(body.clone()).await.unwrap_err();
        assert_eq!(
            (fault.code, fault.errors[0].pointer.as_str()),
            (Code::InvalidInput, pointer),
            "{body}"
        );
    }
    let broken = json!({"modules": [{"path": "a.rego", "text": "package"}], "project": "shop"});
    assert_eq!(code(run(broken).await), Code::InvalidPolicy);
    let named = NamedPack { name: SHIPPED.into(), version: None };
    let shipped = DryRunRequest { pack: Some(named), ..request(json!({"project": "shop"})) };
    assert_eq!(policy::dry_run(&rig.cx, &rig.who, shipped).await.unwrap().results.len(), 1);
}

async fn exemptions_are_granted_within_scopes(rig: Rig) {
    let request = NewExemption {
        rule: "X_1".into(),
        address: "a.b".into(),
        project: Some("shop".into()),
        environment: Some("dev".into()),
        reason: " a page that everybody may read ".into(),
        owner: "web".into(),
        expires_at: rig.cx.now() + chrono::Duration::days(30),
    };
    let mut few = rig.who.clone();
    few.grants.house.scopes = [Scope::ExemptionsWrite].into();
    let granted = exemption::create(&rig.cx, &few, request.clone(), Some("k")).await.unwrap();
    assert_eq!(granted.exemption.reason, "a page that everybody may read");
    let again = exemption::create(&rig.cx, &few, request.clone(), Some("k")).await.unwrap();
    assert_eq!((again.replayed, &again.exemption), (true, &granted.exemption));
    for (project, environment) in [(None, Some("dev")), (Some("shop"), None), (None, None)] {
        let broad = NewExemption {
            project: project.map(str::to_owned),
            environment: environment.map(str::to_owned),
            ..request.clone()
        };
        let refused = exemption::create(&rig.cx, &few, broad.clone(), None).await;
        assert_eq!(code(refused), Code::Forbidden, "{project:?} {environment:?}");
        exemption::create(&rig.cx, &rig.who, broad, None).await.unwrap();
    }
    let far = rig.cx.now() + chrono::Duration::days(366);
    let refused = NewExemption { expires_at: far, ..request.clone() };
    let fault = exemption::create(&rig.cx, &rig.who, refused, None).await.unwrap_err();
    assert_eq!(fault.errors[0].pointer, "/expires_at");

    let id = granted.exemption.id;
    assert_eq!(exemption::get(&rig.cx, &rig.who, id).await.unwrap(), granted.exemption);
    let revoked = exemption::revoke(&rig.cx, &few, id, Some("done".into())).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    rig.clock.advance(chrono::Duration::hours(1));
    let again = exemption::revoke(&rig.cx, &few, id, None).await.unwrap();
    assert_eq!(again.revoked_at, revoked.revoked_at, "the first one counts");
    let unknown = slipway_domain::id::ExemptionId::new(&slipway_domain::id::RandomMint);
    assert_eq!(code(exemption::get(&rig.cx, &rig.who, unknown).await), Code::NotFound);
    assert_eq!(code(exemption::revoke(&rig.cx, &rig.who, unknown, None).await), Code::NotFound);
    let page = PageRequest { limit: 2, after: None };
    let filter = exemption::Filter::default();
    let page = exemption::list(&rig.cx, &rig.who, &filter, page).await.unwrap();
    assert_eq!((page.items.len(), page.next_cursor.is_some()), (2, true));
}

#[test]
fn the_pack_of_the_documentation_is_a_good_one() {
    let page = include_str!("../../../../docs/POLICIES.md");
    let (_, rest) = page.split_once("```rego\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let mut tree = Tree::new();
    tree.add_file("naming.rego", text.to_owned(), false).unwrap();
    let version =
        policy::check_tree(&tree).unwrap_or_else(|f| panic!("{f:?}")).version("naming", 1);
    assert_eq!((version.tests_passed, version.rules[0].id.as_str()), (3, "bucket_name"));
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (json, _) = rest.split_once("```").unwrap();
    let settings: PolicySettings = serde_json::from_str(json).unwrap();
    assert_eq!(settings.problems(""), []);
}
