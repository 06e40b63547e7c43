//! Only providers that the operator allows are downloaded, and a refusal says who asks for what.

use slipway_domain::plan::Diagnostic;
use slipway_domain::port::driver::{Driver as _, DriverError};
use slipway_domain::tree::Tree;

use crate::job::{Job, Rig, inits, mirror, permanent, tree};
use crate::packed;

const SETTING: &str = "terraform.allowed_providers";

/// A registry of archives, and a driver that may take `patterns` from it.
async fn rig(patterns: &[&str]) -> (Rig, tempfile::TempDir) {
    let registry = tempfile::tempdir().unwrap();
    packed::pack(&mirror(), registry.path());
    let rig = Rig::with(|options| {
        options.provider_mirror = Some(registry.path().to_path_buf());
        options.allowed_providers = patterns.iter().map(|&p| p.to_owned()).collect();
        options.git.allow_file = true;
    });
    (rig.await, registry)
}

async fn refused(rig: &Rig, source: &Tree) -> (String, Vec<Diagnostic>, Vec<String>) {
    let job = Job::new();
    let (summary, diagnostics) = permanent(rig.plan(&job, source).await.unwrap_err());
    assert!(summary.contains(SETTING), "{summary}");
    assert!(!rig.cache.join("packages").exists(), "nothing was downloaded");
    (summary, diagnostics, inits(&job))
}

#[tokio::test]
async fn what_is_allowed_is_planned_and_another_provider_fails_before_init() {
    let (rig, _registry) = rig(&["registry.terraform.io/hashicorp/null"]).await;
    let source = tree(&[
        (
            "main.tf",
            "resource \"null_resource\" \"n\" {}\nmodule \"net\" {\n  source = \"./net\"\n}\n",
        ),
        ("net/ids.tf", "\nresource \"random_id\" \"r\" {\n  byte_length = 4\n}\n"),
    ]);
    let (summary, diagnostics, inits) = refused(&rig, &source).await;
    assert!(inits.is_empty(), "{inits:?}");
    for part in ["registry.terraform.io/hashicorp/random", "module net", "net/ids.tf:2"] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
    assert_eq!(
        (diagnostics[0].file.as_deref(), diagnostics[0].line),
        (Some("net/ids.tf"), Some(2))
    );
    let alone = tree(&[("main.tf", "resource \"null_resource\" \"n\" {}\n")]);
    assert_eq!(rig.plan(&Job::new(), &alone).await.unwrap().changes.len(), 1);
}

#[tokio::test]
async fn required_providers_of_child_modules_and_lock_files_are_asked_too() {
    let (rig, _registry) = rig(&["hashicorp/null"]).await;
    let required = "terraform {\n  required_providers {\n    x = {\n      source = \"evil.example/a/x\"\
                    \n    }\n  }\n}\n";
    let call = "module \"m\" {\n  source = \"./m\"\n}\n";
    let (summary, ..) = refused(&rig, &tree(&[("main.tf", call), ("m/v.tf", required)])).await;
    assert!(summary.contains("evil.example/a/x") && summary.contains("m/v.tf:3"), "{summary}");
    let lock = "provider \"registry.terraform.io/hashicorp/random\" {\n  version = \"2.2.1\"\n}\n";
    let null = "resource \"null_resource\" \"n\" {}\n";
    let (summary, ..) =
        refused(&rig, &tree(&[("main.tf", null), (".terraform.lock.hcl", lock)])).await;
    assert!(summary.contains(".terraform.lock.hcl:1"), "{summary}");
}

#[tokio::test]
async fn a_fetched_module_is_asked_before_its_providers_are_downloaded() {
    let (rig, _registry) = rig(&["hashicorp/null"]).await;
    let repo = crate::source::Repo::new();
    repo.commit(&[("ids.tf", "resource \"random_id\" \"r\" {\n  byte_length = 4\n}\n")]);
    let source = tree(&[(
        "main.tf",
        &format!("module \"far\" {{\n  source = \"git::{}\"\n}}\n", repo.url()),
    )]);
    let (summary, diagnostics, inits) = refused(&rig, &source).await;
    assert_eq!(inits, ["init: modules"], "{summary}");
    assert!(summary.contains("module far") && summary.contains("hashicorp/random"), "{summary}");
    assert_eq!(diagnostics[0].file.as_deref(), Some(".terraform/modules/far/ids.tf"));
}

#[tokio::test]
async fn a_plan_of_before_is_not_applied_with_what_is_no_longer_allowed() {
    let (rig, registry) = rig(&[]).await;
    let source = tree(&[("main.tf", "resource \"null_resource\" \"n\" {}\n")]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let stricter = Rig::with(|options| {
        options.provider_mirror = Some(registry.path().to_path_buf());
        options.allowed_providers = vec!["hashicorp/random".to_owned()];
        options.cache_dir.clone_from(&rig.cache);
    });
    let stricter = stricter.await;
    let job = Job::new();
    let error = stricter.driver.apply(&job, stricter.applying(&source, &planned)).await;
    let Err(DriverError::Permanent { summary, .. }) = error else { panic!("{error:?}") };
    assert!(summary.contains("hashicorp/null") && summary.contains(SETTING), "{summary}");
}
