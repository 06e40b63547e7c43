//! Tests of the store: what comes back, what does not, and what is swept away.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::clock::FixedClock;

use super::*;

struct Rig {
    dir: tempfile::TempDir,
    clock: Arc<FixedClock>,
    cache: Cache,
    jobs: std::cell::Cell<u32>,
}

const PROVIDER: &str = "h/ns/type/1.0.0/linux_amd64";

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Arc::new(FixedClock::new(start));
        let cache = Cache::new(dir.path().join("cache"), clock.clone());
        Self { dir, clock, cache, jobs: std::cell::Cell::new(0) }
    }

    fn job(&self) -> Workspace {
        self.jobs.set(self.jobs.get() + 1);
        let top = self.dir.path().join(format!("job{}", self.jobs.get()));
        std::fs::create_dir_all(top.join("src")).unwrap();
        Workspace::new(&top, None).unwrap()
    }

    /// A workspace as `init` leaves it.
    fn installed(&self, content: &str) -> Workspace {
        let ws = self.job();
        let package = ws.data_dir().join("providers").join(PROVIDER);
        std::fs::create_dir_all(&package).unwrap();
        std::fs::write(package.join("provider"), content).unwrap();
        let module = ws.data_dir().join("modules/m");
        std::fs::create_dir_all(module.join(".git")).unwrap();
        std::fs::write(module.join("main.tf"), "m").unwrap();
        std::fs::write(module.join(".git/config"), "secret").unwrap();
        std::fs::write(ws.data_dir().join("terraform.tfstate"), "password").unwrap();
        std::fs::write(ws.lock_file(), "lock").unwrap();
        ws
    }

    fn days(&self, days: i64) {
        self.clock.advance(TimeDelta::days(days));
    }

    fn everything(&self) -> String {
        let mut text = String::new();
        let mut todo = vec![self.dir.path().join("cache")];
        while let Some(dir) = todo.pop() {
            for item in std::fs::read_dir(dir).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    text += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
                }
            }
        }
        text
    }
}

fn provider(ws: &Workspace) -> PathBuf {
    ws.data_dir().join("providers").join(PROVIDER).join("provider")
}

#[test]
fn what_is_published_comes_back_whole_and_no_secret_is_kept() {
    let rig = Rig::new();
    let first = rig.installed("binary");
    rig.cache.publish("k", &first, true, Modules::Lasting).unwrap();
    assert_eq!(std::fs::read(provider(&first)).unwrap(), b"binary", "the first job keeps its own");
    let second = rig.job();
    assert_eq!(rig.cache.restore("k", &second, None), Restored::Whole);
    assert_eq!(std::fs::read(provider(&second)).unwrap(), b"binary");
    assert_eq!(std::fs::read(second.lock_file()).unwrap(), b"lock");
    assert_eq!(std::fs::read(second.data_dir().join("modules/m/main.tf")).unwrap(), b"m");
    assert!(!second.data_dir().join("modules/m/.git").exists());
    assert!(!second.data_dir().join("terraform.tfstate").exists());
    let kept = rig.everything();
    assert!(!kept.contains("password") && !kept.contains("secret"), "{kept}");
    assert_eq!(rig.cache.restore("other", &rig.job(), None), Restored::Nothing);
}

#[test]
fn modules_that_change_are_not_kept() {
    let rig = Rig::new();
    rig.cache.publish("k", &rig.installed("b"), true, Modules::Changing).unwrap();
    let job = rig.job();
    assert_eq!(rig.cache.restore("k", &job, None), Restored::Providers);
    assert!(!job.data_dir().join("modules").exists());
}

#[test]
fn what_depends_on_its_day_is_made_anew_after_one() {
    let rig = Rig::new();
    rig.cache.publish("day", &rig.installed("b"), false, Modules::None).unwrap();
    rig.cache.publish("ever", &rig.installed("b"), true, Modules::None).unwrap();
    assert_eq!(rig.cache.restore("day", &rig.job(), None), Restored::Whole);
    rig.days(2);
    assert_eq!(rig.cache.restore("day", &rig.job(), None), Restored::Nothing);
    assert_eq!(rig.cache.restore("ever", &rig.job(), None), Restored::Whole);
    // An apply wants what its plan had, however old.
    assert_eq!(rig.cache.restore("day", &rig.job(), Some(b"lock")), Restored::Whole);
    assert_eq!(rig.cache.restore("day", &rig.job(), Some(b"another")), Restored::Nothing);
}

#[test]
fn a_damaged_entry_is_nothing() {
    let rig = Rig::new();
    rig.cache.publish("k", &rig.installed("b"), true, Modules::None).unwrap();
    let entry = rig.dir.path().join("cache/init/k");
    let current = std::fs::read_to_string(entry.join("current")).unwrap();
    for damage in ["{", ""] {
        std::fs::write(entry.join(&current).join("entry.json"), damage).unwrap();
        assert_eq!(rig.cache.restore("k", &rig.job(), None), Restored::Nothing);
    }
    std::fs::write(entry.join("current"), "../../../etc").unwrap();
    assert_eq!(rig.cache.restore("k", &rig.job(), None), Restored::Nothing);
    // Made anew, it works again.
    rig.cache.publish("k", &rig.installed("b"), true, Modules::None).unwrap();
    assert_eq!(rig.cache.restore("k", &rig.job(), None), Restored::Whole);
    std::fs::remove_dir_all(rig.dir.path().join("cache/packages")).unwrap();
    let job = rig.job();
    assert_eq!(rig.cache.restore("k", &job, None), Restored::Nothing);
    assert!(!job.data_dir().exists(), "nothing half restored is left");
}

#[test]
fn a_condemned_entry_is_gone_with_its_packages() {
    let rig = Rig::new();
    rig.cache.publish("k", &rig.installed("broken"), true, Modules::None).unwrap();
    rig.cache.condemn("k");
    assert_eq!(rig.cache.restore("k", &rig.job(), None), Restored::Nothing);
    // The same package, whole this time, of the same size.
    rig.cache.publish("k", &rig.installed("mended"), true, Modules::None).unwrap();
    let job = rig.job();
    assert_eq!(rig.cache.restore("k", &job, None), Restored::Whole);
    assert_eq!(std::fs::read(provider(&job)).unwrap(), b"mended");
}

#[test]
fn a_running_job_keeps_what_it_was_given_when_the_entry_is_replaced() {
    let rig = Rig::new();
    rig.cache.publish("k", &rig.installed("old"), false, Modules::None).unwrap();
    let running = rig.job();
    assert_eq!(rig.cache.restore("k", &running, None), Restored::Whole);
    rig.cache.publish("k", &rig.installed("newer"), false, Modules::None).unwrap();
    let next = rig.job();
    assert_eq!(rig.cache.restore("k", &next, None), Restored::Whole);
    assert_eq!(std::fs::read(provider(&running)).unwrap(), b"old");
    assert_eq!(std::fs::read(provider(&next)).unwrap(), b"newer");
}

#[test]
fn what_nothing_uses_is_swept_away() {
    let rig = Rig::new();
    rig.cache.publish("old", &rig.installed("old one"), true, Modules::None).unwrap();
    rig.cache.publish("used", &rig.installed("used"), true, Modules::None).unwrap();
    assert_eq!(rig.cache.restore("old", &rig.job(), None), Restored::Whole);
    rig.days(25);
    assert_eq!(rig.cache.restore("used", &rig.job(), None), Restored::Whole);
    rig.days(10);
    rig.cache.evict();
    assert_eq!(rig.cache.restore("old", &rig.job(), None), Restored::Nothing);
    assert_eq!(rig.cache.restore("used", &rig.job(), None), Restored::Whole);
    assert!(!rig.everything().contains("old one"), "its package is gone too");
}

#[tokio::test]
async fn one_at_a_time_holds_a_key() {
    let rig = Rig::new();
    let held = rig.cache.hold("k").await;
    let _other = rig.cache.hold("other").await;
    let waiting = tokio::time::timeout(Duration::from_millis(100), rig.cache.hold("k")).await;
    assert!(waiting.is_err());
    // Another process has its own view, and the same file.
    let elsewhere = Cache::new(rig.dir.path().join("cache"), rig.clock.clone());
    let elsewhere = Arc::new(elsewhere);
    let there = elsewhere.clone();
    let mut waiting = tokio::spawn(async move { drop(there.hold("k").await) });
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    drop(held);
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_somebody_is_about_to_keep_is_not_swept_away() {
    let rig = Rig::new();
    let held = rig.cache.hold("new").await;
    let made = rig.cache.entry_dir("new");
    private_dir(&made).unwrap();
    rig.cache.evict();
    assert!(made.is_dir(), "its maker holds the lock and has not come to its mark");
    drop(held);
    rig.cache.evict();
    assert!(!made.exists(), "nobody makes it any more");
}

#[test]
fn what_is_being_marked_as_used_is_not_swept_at_that_moment() {
    let rig = Rig::new();
    let ws = rig.installed("p");
    rig.cache.publish("k", &ws, true, Modules::None).unwrap();
    let packages = leaves(&rig.dir.path().join("cache/packages"), 5).unwrap();
    let package = packages.iter().find(|path| path.is_dir()).unwrap();
    let mark = package.with_file_name(used_name(package));
    std::thread::scope(|scope| {
        let marking = scope.spawn(|| (0..2000).for_each(|_| rig.cache.touch(&mark)));
        while !marking.is_finished() {
            rig.cache.evict();
            assert!(package.is_dir(), "it was swept away while it was being marked");
        }
    });
}

/// Whoever made it let go of it between the look and the removal.
#[test]
fn what_was_kept_since_somebody_looked_is_not_swept_away() {
    let rig = Rig::new();
    let dir = rig.cache.entry_dir("k");
    std::fs::create_dir_all(&dir).unwrap();
    let seen = rig.cache.unused_entries();
    assert_eq!(seen.len(), 1, "it has no mark yet");
    rig.cache.publish("k", &rig.installed("p"), true, Modules::None).unwrap();
    rig.cache.remove_entries(&seen);
    assert_eq!(rig.cache.restore("k", &rig.job(), None), Restored::Whole);
}
