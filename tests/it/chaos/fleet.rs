//! The processes of an installation, each in a place of its own that it comes back to: killed,
//! frozen, asked to end, started again, and watched, so that none ends unseen.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use slipway_app::client::http::Client;

use super::clock::now_us;
use super::proc;
use crate::harness::{PATIENCE, command, quiet_port};

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Api,
    Worker,
}

/// A process that ended and that nobody had ended.
#[derive(Debug, Clone)]
pub(crate) struct Exit {
    pub(crate) place: String,
    pub(crate) at_us: i64,
    pub(crate) lived: Duration,
    pub(crate) status: String,
    /// The last lines that it said.
    pub(crate) said: String,
}

/// How a place is at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) pid: i32,
    /// For how long it has been up and not frozen; zero while it is frozen.
    pub(crate) well_for: Duration,
}

struct Up {
    child: Child,
    since: Instant,
    frozen: bool,
    /// Since when it has not been frozen.
    well_since: Instant,
    /// It was asked to end.
    asked: bool,
}

struct Place {
    name: String,
    role: Role,
    args: Vec<String>,
    env: Vec<(String, String)>,
    data: PathBuf,
    lives: u32,
    up: Option<Up>,
    /// When a process that ended by itself is started again.
    again: Option<Instant>,
    url: Option<String>,
    log: PathBuf,
}

struct Inner {
    dir: PathBuf,
    logs: PathBuf,
    env: Vec<(String, String)>,
    places: Mutex<Vec<Place>>,
    exits: Mutex<Vec<Exit>>,
    ended: AtomicBool,
}

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fleet(Arc<Inner>);

impl Fleet {
    /// An empty one: its processes have `env` in common, work below `dir` and write their logs
    /// to `logs`.
    pub(crate) fn new(dir: &Path, logs: &Path, env: Vec<(String, String)>) -> Self {
        Self(Arc::new(Inner {
            dir: dir.to_owned(),
            logs: logs.to_owned(),
            env,
            places: Mutex::default(),
            exits: Mutex::default(),
            ended: AtomicBool::new(false),
        }))
    }

    /// Where its processes work.
    pub(crate) fn dir(&self) -> &Path {
        &self.0.dir
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an API replica, and starts it.
    pub(crate) fn add_api(&self) -> usize {
        let address = format!("127.0.0.1:{}", quiet_port());
        let url = format!("http://{address}");
        self.add(Role::Api, vec!["api".into(), "--listen".into(), address], Some(url), Vec::new())
    }

    /// Adds a worker with environment of its own, and starts it.
    pub(crate) fn add_worker(&self, queues: &str, env: Vec<(String, String)>) -> usize {
        self.add(Role::Worker, vec!["worker".into(), "--queue".into(), queues.into()], None, env)
    }

    fn add(
        &self,
        role: Role,
        args: Vec<String>,
        url: Option<String>,
        env: Vec<(String, String)>,
    ) -> usize {
        let mut places = self.places();
        let number = places.iter().filter(|p| p.role == role).count() + 1;
        let name = format!("{}-{number}", if role == Role::Api { "api" } else { "worker" });
        // The same one after every start, as on a machine: what a dead process left is there.
        let data = self.0.dir.join(&name);
        let log = PathBuf::new();
        places.push(Place {
            name,
            role,
            args,
            env,
            data,
            lives: 0,
            up: None,
            again: None,
            url,
            log,
        });
        drop(places);
        let index = self.places().len() - 1;
        self.start(index);
        index
    }

    /// Indices of all places of a role.
    pub(crate) fn of(&self, role: Role) -> Vec<usize> {
        let places = self.places();
        (0..places.len()).filter(|i| places[*i].role == role).collect()
    }

    /// What a place is called.
    pub(crate) fn name(&self, index: usize) -> String {
        self.places()[index].name.clone()
    }

    /// A client of every API replica.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.places()
            .iter()
            .filter_map(|p| p.url.as_deref())
            .map(|u| Client::new(u).unwrap())
            .collect()
    }

    /// Starts a process that is down; one that is up stays as it is.
    pub(crate) fn start(&self, index: usize) {
        let mut places = self.places();
        let place = &mut places[index];
        if place.up.is_some() || self.0.ended.load(Ordering::SeqCst) {
            return;
        }
        place.lives += 1;
        place.again = None;
        place.log = self.0.logs.join(format!("{}.{}.log", place.name, place.lives));
        let log = File::create(&place.log).unwrap();
        let plain = command();
        let mut starting = Command::new("setpriv");
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => starting.env(name, value),
                None => starting.env_remove(name),
            };
        }
        let child = starting
            // It must not outlive the test, however that ends. This holds for the thread that
            // starts it, so every start must be on the thread of the test.
            .args(["--pdeathsig=KILL", "--"])
            .arg(plain.get_program())
            .args(&place.args)
            .arg("--data-dir")
            .arg(&place.data)
            .current_dir(&self.0.dir)
            .envs(self.0.env.iter().chain(&place.env).cloned())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let now = Instant::now();
        place.up = Some(Up { child, since: now, frozen: false, well_since: now, asked: false });
    }

    /// Kills a process as nothing can be caught; with `tree`, everything it started as well, as
    /// when a machine dies.
    pub(crate) fn kill(&self, index: usize, tree: bool) {
        let Some(mut up) = self.places()[index].up.take() else { return };
        let pid = pid(&up.child);
        if tree {
            // A machine dies in one moment: nobody in it notices that another is dead.
            proc::signal(pid, Signal::STOP);
            for child in proc::freeze_descendants(pid) {
                proc::signal(child, Signal::KILL);
            }
        }
        let _ = up.child.kill();
        let _ = up.child.wait();
    }

    /// Takes away what a process that is down left on its machine.
    pub(crate) fn forget(&self, index: usize) {
        let data = self.places()[index].data.clone();
        std::fs::remove_dir_all(&data).unwrap();
    }

    /// Freezes a process; with `tree`, what it started as well.
    pub(crate) fn freeze(&self, index: usize, tree: bool) {
        let mut places = self.places();
        let Some(up) = &mut places[index].up else { return };
        up.frozen = true;
        let pid = pid(&up.child);
        proc::signal(pid, Signal::STOP);
        if tree {
            proc::freeze_descendants(pid);
        }
    }

    /// Lets a frozen process go on; what it started before it, as the harder case.
    pub(crate) fn thaw(&self, index: usize) {
        let mut places = self.places();
        let Some(up) = &mut places[index].up else { return };
        let pid = pid(&up.child);
        for child in proc::descendants(pid, &proc::all()) {
            proc::signal(child, Signal::CONT);
        }
        proc::signal(pid, Signal::CONT);
        up.frozen = false;
        up.well_since = Instant::now();
    }

    /// Asks a process to end. Says how it ended, or `None` when it did not within `patience`; then
    /// it is killed.
    pub(crate) async fn drain(&self, index: usize, patience: Duration) -> Option<bool> {
        if let Some(up) = &mut self.places()[index].up {
            up.asked = true;
            proc::signal(pid(&up.child), Signal::TERM);
        }
        let end = Instant::now() + patience;
        while Instant::now() < end {
            {
                let mut places = self.places();
                let Some(up) = &mut places[index].up else { return Some(true) };
                if let Some(status) = up.child.try_wait().unwrap() {
                    places[index].up = None;
                    return Some(status.success());
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.kill(index, true);
        None
    }

    /// Looks after the processes for as long as it is polled: one that ends by itself is noted, and
    /// started again a little later, as an init system does.
    pub(crate) async fn attend(&self) {
        loop {
            let mut due = Vec::new();
            {
                let mut places = self.places();
                for (index, place) in places.iter_mut().enumerate() {
                    if place.again.is_some_and(|at| at <= Instant::now()) {
                        due.push(index);
                    }
                    let Some(up) = &mut place.up else { continue };
                    if up.asked {
                        continue;
                    }
                    let Some(status) = up.child.try_wait().unwrap() else { continue };
                    let exit = Exit {
                        place: place.name.clone(),
                        at_us: now_us(),
                        lived: up.since.elapsed(),
                        status: status.to_string(),
                        said: tail(&place.log),
                    };
                    self.0.exits.lock().unwrap_or_else(PoisonError::into_inner).push(exit);
                    place.up = None;
                    place.again = Some(Instant::now() + Duration::from_millis(300));
                }
            }
            for index in due {
                self.start(index);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends everything, at once, also what was left alone by a process that was killed. Nothing can
    /// be started any more.
    pub(crate) fn end(&self) {
        let mut places = self.places();
        self.0.ended.store(true, Ordering::SeqCst);
        let all = proc::all();
        let mut left = proc::below(&self.0.dir, &all);
        for place in &mut *places {
            if let Some(mut up) = place.up.take() {
                left.extend(proc::descendants(pid(&up.child), &all));
                let _ = up.child.kill();
                let _ = up.child.wait();
            }
        }
        // And what those may have started in the meantime.
        for _ in 0..50 {
            for pid in &left {
                proc::signal(*pid, Signal::KILL);
            }
            left = proc::below(&self.0.dir, &proc::all());
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How the places are that are up.
    pub(crate) fn standing(&self) -> Vec<Standing> {
        let places = self.places();
        let up = places.iter().filter_map(|p| p.up.as_ref());
        up.map(|up| Standing {
            pid: pid(&up.child),
            well_for: if up.frozen { Duration::ZERO } else { up.well_since.elapsed() },
        })
        .collect()
    }

    /// Processes that ended by themselves so far.
    pub(crate) fn exits(&self) -> Vec<Exit> {
        self.0.exits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a process's log says `word`.
    pub(crate) async fn says(&self, index: usize, word: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.places()[index].log.clone();
            if std::fs::read_to_string(&log).unwrap_or_default().contains(word) {
                return;
            }
            assert!(Instant::now() < end, "{} does not say {word:?}", log.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn tail(log: &Path) -> String {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = said.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
