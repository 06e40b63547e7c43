//! Signing in, with the real executable: the first admin, the command line, what stops the start.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{PATIENCE, quiet_port};

const PASSWORD: &str = "correct horse battery";

/// `slipway api` whose callers must sign in, and a home of its own for those who call.
struct House {
    dir: tempfile::TempDir,
    child: std::process::Child,
    url: String,
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn slipway(dir: &Path, args: &[&str]) -> Command {
    let mut command = crate::harness::command();
    command
        .args(args)
        .current_dir(dir)
        .env("SLIPWAY_AUTH_MODE", "required")
        .env("SLIPWAY_DATA_DIR", dir.join("data"))
        .env("XDG_CONFIG_HOME", dir.join("home"));
    command
}

fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {said}");
    String::from_utf8(stdout).unwrap()
}

fn refused(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert!(!status.success(), "{command:?}");
    String::from_utf8(stderr).unwrap()
}

impl House {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", quiet_port());
        let said = std::fs::File::create(dir.path().join("said")).unwrap();
        let child = slipway(dir.path(), &["api", "--listen", &address])
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        let house = Self { dir, child, url: format!("http://{address}") };
        let end = std::time::Instant::now() + PATIENCE;
        while !house.said().contains("There is no account yet") {
            assert!(std::time::Instant::now() < end, "{}", house.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        house
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("said")).unwrap()
    }

    fn slipway(&self, args: &[&str]) -> Command {
        let mut command = slipway(self.dir.path(), args);
        command.env("SLIPWAY_URL", &self.url);
        command
    }

    /// The token that makes the first admin, as it is shown at the start.
    fn first_token(&self) -> String {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let said = self.said();
            let after = said.split_once("shown this once:\n").map(|(_, after)| after);
            if let Some((token, _)) = after.and_then(|after| after.split_once('\n')) {
                return token.trim().to_owned();
            }
            assert!(std::time::Instant::now() < end, "{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A file with this text.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// The first text of that name in a document.
fn find<'a>(document: &'a serde_json::Value, name: &str) -> Option<&'a str> {
    match document {
        serde_json::Value::Object(fields) => fields
            .iter()
            .find_map(|(key, value)| value.as_str().filter(|_| key == name).or(find(value, name))),
        serde_json::Value::Array(items) => items.iter().find_map(|item| find(item, name)),
        _ => None,
    }
}

#[test]
fn the_first_admin_signs_in_and_machines_get_keys() {
    let house = House::start();
    let said = refused(&mut house.slipway(&["stacks"]));
    assert!(said.contains("Sign in first"), "{said}");
    let token = house.first_token();
    let (first, password) = (house.file("first", &token), house.file("password", PASSWORD));
    let register = ["register", "ann", "--first-token-file", &first, "--password-file", &password];
    done(&mut house.slipway(&register));
    let again = ["register", "bob", "--first-token-file", &first, "--password-file", &password];
    refused(&mut house.slipway(&again));
    // Another one, on the database itself.
    done(&mut house.slipway(&["admin", "create", "eve", "--password-file", &password]));
    let wrong = house.file("wrong", "not the password");
    refused(&mut house.slipway(&["login", "ann", "--password-file", &wrong]));
    done(&mut house.slipway(&["login", "ann", "--password-file", &password]));
    let kept = house.dir.path().join("home/slipway/credentials.json");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let signed_in: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
    let refresh = find(&signed_in, "refresh_token").expect("a refresh token is kept").to_owned();
    let me = done(&mut house.slipway(&["whoami"]));
    assert!(me.starts_with("ann (person)") && me.contains("everywhere: admin"), "{me}");
    done(&mut house.slipway(&["stacks"]));
    let made = done(&mut house.slipway(&["accounts", "create-service", "ci", "--json"]));
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let ci = made["id"].as_str().unwrap();
    let create = ["api-keys", "create", "n", "--scope", "stacks:read", "--account", ci];
    let key = done(&mut house.slipway(&create));
    let key = key.trim();
    assert!(key.starts_with("slp_"), "{key}");
    let me = done(house.slipway(&["whoami"]).env("SLIPWAY_TOKEN", key));
    assert!(me.starts_with("ci (service)"), "{me}");
    let said = refused(house.slipway(&["stacks"]).env("SLIPWAY_TOKEN", "slp_nonsense"));
    assert!(!said.contains("nonsense"), "{said}");
    assert!(done(&mut house.slipway(&["sessions", "list"])).contains("password"));
    done(&mut house.slipway(&["admin", "rotate-signing-key"]));
    done(&mut house.slipway(&["stacks"]));
    done(&mut house.slipway(&["logout"]));
    refused(&mut house.slipway(&["stacks"]));
    let log = house.said();
    // What the database, its journal and everything else of the server's hold.
    let mut kept = Vec::new();
    let mut todo = vec![house.dir.path().join("data")];
    while let Some(dir) = todo.pop() {
        for item in std::fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() { todo.push(path) } else { kept.push(std::fs::read(path).unwrap()) }
        }
    }
    assert!(kept.iter().map(Vec::len).sum::<usize>() > 100_000);
    // Of a key, its public part is known.
    let secret_part = key.split('_').nth(2).unwrap();
    for secret in [PASSWORD, secret_part, &token, refresh.as_str()] {
        // The first token is shown there, once.
        assert!(secret == token || !log.contains(secret), "{log}");
        let secret = secret.as_bytes();
        let found = kept.iter().any(|file| file.windows(secret.len()).any(|part| part == secret));
        assert!(!found, "{} is kept in clear", String::from_utf8_lossy(secret));
    }
}

#[test]
fn bad_configuration_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str, value: &str| {
        let mut command = slipway(dir.path(), &["api", "--listen", "127.0.0.1:0"]);
        refused(command.env(name, value))
    };
    let key = dir.path().join("signing.pem");
    let path = key.to_str().unwrap();
    let said = start("SLIPWAY_AUTH_SIGNING_KEY_PATH", path);
    assert!(said.contains("signing key") && said.contains(path), "{said}");
    std::fs::write(&key, "hunter2").unwrap();
    let mode =
        |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let said = start("SLIPWAY_AUTH_SIGNING_KEY_PATH", path);
    assert!(said.contains("can be read by others") && said.contains("chmod 600"), "{said}");
    mode(0o600);
    let said = start("SLIPWAY_AUTH_SIGNING_KEY_PATH", path);
    assert!(said.contains("there is no key in it") && !said.contains("hunter2"), "{said}");
    let said = start("SLIPWAY_AUTH_PASSWORD", "hunter2");
    assert!(said.contains("unknown variable") && !said.contains("hunter2"), "{said}");
    assert!(!dir.path().join("data").exists(), "nothing was made");
    for command in ["dev", "api"] {
        let mut command = slipway(dir.path(), &[command, "--listen", "0.0.0.0:0"]);
        let said = refused(command.env("SLIPWAY_AUTH_MODE", "none"));
        assert!(said.contains("auth.mode") && said.contains("whoever reaches it"), "{said}");
    }
}
