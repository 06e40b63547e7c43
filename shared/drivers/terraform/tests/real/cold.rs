//! Many plans at once of stacks that were never seen before and share providers, through one
//! driver and through workers of their own: none fails, and what is shared is put in place once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use slipway_domain::tree::Tree;

use crate::job::{Job, Rig, inits, mirror, tree};

/// How many plans.
const PLANS: usize = 24;

/// What each of the kinds of stack has: they share providers and are not the same.
const KINDS: [(&str, usize); 4] = [
    ("resource \"random_id\" \"r\" {\n  byte_length = 4\n}\n", 1),
    (
        "resource \"random_id\" \"r\" {\n  byte_length = 4\n}\nresource \"null_resource\" \"n\" {}\n",
        2,
    ),
    (
        "resource \"null_resource\" \"n\" {}\nresource \"local_file\" \"f\" {\n  content  = \"c\"\n  \
         filename = \"f.txt\"\n}\n",
        2,
    ),
    (
        "resource \"local_file\" \"f\" {\n  content  = \"c\"\n  filename = \"f.txt\"\n}\n\
         resource \"random_id\" \"r\" {\n  byte_length = 4\n}\n",
        2,
    ),
];

/// One of so many stacks. The name of the module makes each its own to the cache.
pub(crate) fn stack(number: usize) -> (Tree, usize) {
    let (resources, count) = KINDS[number % KINDS.len()];
    let call = format!("module \"m{number}\" {{\n  source = \"./m\"\n}}\n");
    let module = "resource \"null_resource\" \"inner\" {}\n";
    (tree(&[("main.tf", &format!("{resources}{call}")), ("m/main.tf", module)]), count + 1)
}

/// Plans stacks at once, through one driver; every one of them must succeed.
pub(crate) async fn plan_at_once(
    rig: Arc<Rig>,
    numbers: impl Iterator<Item = usize>,
) -> Vec<String> {
    let tasks: Vec<_> = numbers
        .map(|number| {
            let rig = rig.clone();
            tokio::spawn(async move {
                let (source, count) = stack(number);
                let job = Job::new();
                let planned = rig.plan(&job, &source).await;
                let planned =
                    planned.unwrap_or_else(|e| panic!("stack {number}: {e:?}\n{}", job.text()));
                assert_eq!(planned.changes.len(), count, "stack {number}");
                inits(&job)
            })
        })
        .collect();
    let mut steps = Vec::new();
    for task in tasks {
        steps.extend(task.await.unwrap());
    }
    steps
}

#[tokio::test]
async fn many_different_cold_plans_at_once_all_succeed() {
    let rig = Arc::new(Rig::with_mirror().await);
    let steps = plan_at_once(rig.clone(), 0..PLANS).await;
    assert_eq!(steps, vec!["init: running"; PLANS], "each is new to the cache");
    // What they left is whole: the same once more needs no init.
    let steps = plan_at_once(rig, 0..PLANS).await;
    assert_eq!(steps, vec!["init: cached"; PLANS]);
}

/// The archives stand for a registry: the tool unpacks them as it does what it downloads.
#[tokio::test]
async fn what_many_cold_plans_download_is_downloaded_once() {
    let packed = tempfile::tempdir().unwrap();
    crate::packed::pack(&mirror(), packed.path());
    let rig = Arc::new(Rig::with(|o| o.provider_mirror = Some(packed.path().to_path_buf())).await);
    let steps = plan_at_once(rig.clone(), 0..PLANS).await;
    let downloads = steps.iter().filter(|step| *step == "init: downloading").count();
    assert!(downloads <= KINDS.len(), "each question is asked once: {steps:?}");
    assert!(steps.iter().all(|s| s == "init: downloading" || s == "init: running"), "{steps:?}");
    assert_eq!(leftovers(&rig.cache), Vec::<String>::new());
    let packages = crate::packed::packages(&rig.cache.join("packages"));
    let kinds: Vec<&str> = packages.iter().map(|p| p.split('/').nth(2).unwrap()).collect();
    assert_eq!(kinds, ["local", "null", "random"], "one package each: {packages:?}");
    // The registry is gone, and nobody needs it for what was asked before.
    packed.close().unwrap();
    let steps = plan_at_once(rig, PLANS..PLANS + 4).await;
    assert_eq!(steps, vec!["init: running"; 4]);
}

/// What is in the store is unpacked, and a lock file may know nothing but archives, or an unpacked
/// package of another platform beside them: then only the archive can prove that it is right.
#[tokio::test]
async fn a_lock_file_that_knows_archives_is_met_with_the_archive() {
    let packed = tempfile::tempdir().unwrap();
    crate::packed::pack(&mirror(), packed.path());
    let rig = Rig::with(|o| o.provider_mirror = Some(packed.path().to_path_buf())).await;
    let resource = "resource \"null_resource\" \"n\" {}\n";
    rig.plan(&Job::new(), &tree(&[("main.tf", resource)])).await.unwrap();
    let host = packed.path().join("registry.terraform.io/hashicorp/null");
    let archive = std::fs::read_dir(host).unwrap().next().unwrap().unwrap().path();
    let name = archive.file_name().unwrap().to_str().unwrap().to_owned();
    let version = name.split('_').nth(1).unwrap();
    let digest = slipway_domain::artifact::digest(&std::fs::read(archive).unwrap());
    let right = format!("zh:{}", digest.rsplit(':').next().unwrap());
    let wrong = format!("zh:{}", "0".repeat(64));
    let foreign = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let locked = |hashes: &[&str]| {
        let lock = format!(
            "provider \"registry.terraform.io/hashicorp/null\" {{\n  version = \"{version}\"\n  \
             hashes = {hashes:?}\n}}\n"
        );
        tree(&[("main.tf", resource), (".terraform.lock.hcl", &lock)])
    };
    for (hashes, steps) in [
        (vec![right.as_str()], vec!["init: downloading"]),
        (vec![foreign, &right], vec!["init: running", "init: downloading"]),
    ] {
        let job = Job::new();
        let planned = rig.plan(&job, &locked(&hashes)).await;
        planned.unwrap_or_else(|error| panic!("{hashes:?} {error:?}\n{}", job.text()));
        assert_eq!(inits(&job), steps, "{hashes:?}");
        let packages = crate::packed::packages(&rig.cache.join("packages"));
        assert_eq!(packages.len(), 1, "it is the one that is there: {packages:?}");
    }
    // What is named is another content: refused, although the store has that version.
    for hashes in [vec![wrong.as_str()], vec![foreign, &wrong]] {
        let error = rig.plan(&Job::new(), &locked(&hashes)).await.unwrap_err();
        let (summary, _) = crate::job::permanent(error);
        assert!(summary.contains("checksum"), "{summary}");
    }
}

/// Names the cache of a worker that this test starts, and which half is its.
const CACHE: &str = "SLIPWAY_TEST_COLD_CACHE";
const HALF: &str = "SLIPWAY_TEST_COLD_HALF";

/// The test starts itself twice: each is a worker, in a process of its own, on one cache.
#[tokio::test]
async fn workers_in_processes_of_their_own_share_a_cold_cache() {
    if let (Some(cache), Some(half)) = (std::env::var_os(CACHE), std::env::var_os(HALF)) {
        let rig = Rig::with(|options| {
            options.provider_mirror = Some(mirror());
            options.cache_dir = cache.into();
        });
        let half = usize::from(half == "second");
        // Half of what one does is done by the other too.
        let from = half * PLANS / 4;
        plan_at_once(Arc::new(rig.await), from..from + PLANS / 2).await;
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let workers = ["first", "second"].map(|half| worker(dir.path(), half));
    for (worker, output) in
        workers.map(|worker| worker.wait_with_output().unwrap()).iter().enumerate()
    {
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "worker {worker}: {said}");
        assert!(said.contains("1 passed"), "worker {worker} did nothing: {said}");
    }
    assert_eq!(leftovers(dir.path()), Vec::<String>::new());
}

fn worker(cache: &Path, half: &str) -> std::process::Child {
    #[expect(clippy::disallowed_methods, reason = "the worker is this test itself")]
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = "cold::workers_in_processes_of_their_own_share_a_cold_cache";
    command.args([name, "--exact"]).env(CACHE, cache).env(HALF, half);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What is in a cache and should not be: half-made packages.
pub(crate) fn leftovers(cache: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![cache.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for item in std::fs::read_dir(dir).unwrap().flatten() {
            let name = item.file_name().to_string_lossy().into_owned();
            if name.starts_with(".new") || name.starts_with(".tmp") || name.ends_with(".bad") {
                found.push(item.path().display().to_string());
            }
            if item.file_type().unwrap().is_dir() {
                todo.push(item.path());
            }
        }
    }
    found
}
