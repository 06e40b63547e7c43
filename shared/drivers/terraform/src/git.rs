//! Fetches a source tree from a git repository: shallow, without hooks, helpers, submodules or
//! anybody's own git configuration, and only over protocols that are allowed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_domain::port::driver::{DriverError, Run};
use slipway_domain::tree::{Tree, Unsafe};
use slipway_process::{self as process, Command, Ended, Failed, Stdout, Stops};

use crate::failure;
use crate::host::Host;
use crate::stream::{self, Ears};
use crate::workspace::{Workspace, blocking, trouble};

const STEP: &str = "fetch";
/// Largest list of a commit's files, in bytes.
const MAX_LIST_BYTES: usize = 32 << 20;

/// Fetches `reference` (the default branch when `None`) and returns its tree and commit.
pub(crate) async fn fetch(
    host: &Host,
    run: &dyn Run,
    url: &str,
    reference: Option<&str>,
) -> Result<(Tree, String), DriverError> {
    failure::asked_before(run)?;
    let protocols = allowed(host, url)?;
    let program = host
        .env
        .find("git")
        .ok_or_else(|| DriverError::permanent("git is not on this worker's PATH"))?;
    stream::step(run, STEP, None);
    let pinned = pin(host, url).await?;
    let dir = run.workspace().join("git");
    let repo = Repo { host, run, program, dir: dir.clone(), protocols, pinned };
    let limit = Duration::from_secs(host.git.timeout_s);
    let fetched = tokio::time::timeout(limit, repo.fetch(url, reference)).await;
    let (tree, commit) = fetched.map_err(|_| {
        DriverError::transient(format!(
            "fetching the repository took longer than {} s",
            limit.as_secs()
        ))
    })??;
    // The tree is in memory; the disk is needed for the work.
    blocking(move || crate::workspace::remove(&dir).map_err(trouble)).await?;
    stream::step(run, STEP, Some(&commit));
    Ok((tree, commit))
}

/// The protocols git may use, if `url`'s is one of them.
fn allowed(host: &Host, url: &str) -> Result<String, DriverError> {
    let mut protocols = vec!["https", "ssh"];
    if host.git.allow_http {
        protocols.push("http");
    }
    if host.git.allow_file {
        protocols.push("file");
    }
    let scheme = match url.split_once("://") {
        Some((scheme, _)) => scheme,
        // `git@host:path`
        None if url.contains(':') && !url.contains("::") && !url.starts_with(['-', '/', '.']) => {
            "ssh"
        }
        None => "",
    };
    if protocols.contains(&scheme) && !url.contains(['\n', '\0']) {
        return Ok(protocols.join(":"));
    }
    Err(DriverError::permanent(format!(
        "repositories over {:?} are not allowed here; allowed are {}",
        scheme,
        protocols.join(", ")
    )))
}

/// Where git is made to connect to: the addresses that were looked at. Otherwise it would resolve the
/// name once more, and whoever owns the name may answer otherwise then.
#[derive(Debug, Default)]
struct Pinned {
    /// For HTTP: curl's own notation.
    resolve: Option<String>,
    /// For SSH: options of ssh.
    ssh: String,
}

/// Variables that name a proxy: behind one, names are the proxy's to resolve and to refuse.
const PROXIES: [&str; 6] =
    ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// Looks where a repository is, and refuses what is not for users to call.
async fn pin(host: &Host, url: &str) -> Result<Pinned, DriverError> {
    if url.starts_with("file://") {
        return Ok(Pinned::default());
    }
    let (name, port) = slipway_outbound::host_of_repository(url)
        .ok_or_else(|| DriverError::permanent("the URL of the repository names no host"))?;
    let outbound = &host.git.outbound;
    let http = url.starts_with("http");
    if http && PROXIES.iter().any(|proxy| host.env.get(proxy).is_some()) {
        if let Ok(address) = name.parse() {
            outbound.check_address(&name, address).map_err(inside)?;
        }
        return Ok(Pinned::default());
    }
    let found = outbound.resolve(&name, port).await.map_err(inside)?;
    let addresses: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Ok(Pinned::default());
    }
    if http {
        let list = addresses.iter().map(|address| {
            if address.contains(':') { format!("[{address}]") } else { address.clone() }
        });
        let list = list.collect::<Vec<_>>().join(",");
        return Ok(Pinned { resolve: Some(format!("{name}:{port}:{list}")), ..Pinned::default() });
    }
    if port != 22 {
        // The name under which ssh knows such a host's key cannot be given along with an address.
        return Ok(Pinned::default());
    }
    // Addresses and a name without any sign that a shell would act on.
    let first = addresses.first().map(String::as_str).unwrap_or_default();
    Ok(Pinned { ssh: format!(" -oHostName={first} -oHostKeyAlias={name}"), ..Pinned::default() })
}

fn inside(why: slipway_outbound::Refused) -> DriverError {
    let summary = format!("the repository was not fetched: {why}");
    match why {
        slipway_outbound::Refused::Unresolved(_) => DriverError::transient(summary),
        _ => DriverError::permanent(summary),
    }
}

struct Repo<'a> {
    host: &'a Host,
    run: &'a dyn Run,
    program: PathBuf,
    dir: PathBuf,
    protocols: String,
    pinned: Pinned,
}

impl Repo<'_> {
    async fn fetch(
        &self,
        url: &str,
        reference: Option<&str>,
    ) -> Result<(Tree, String), DriverError> {
        std::fs::create_dir_all(&self.dir).map_err(trouble)?;
        self.must(&["init", "--quiet"], "fetch").await?;
        let wanted = reference.unwrap_or("HEAD");
        let common = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc"];
        let shallow: Vec<&str> =
            common.iter().copied().chain(["--depth=1", "--", url, wanted]).collect();
        let first = self.git(&shallow, Stdout::Lines).await?;
        let commit = if first.0.code == Some(0) {
            self.resolve("FETCH_HEAD^{commit}").await?
        } else {
            // A server may refuse to give out a commit by its id, and a short id is never given
            // out: then everything is fetched, and the commit looked for in it.
            let is_id =
                (4..=64).contains(&wanted.len()) && wanted.bytes().all(|b| b.is_ascii_hexdigit());
            if !is_id || first.0.asked.is_some() || failure::is_passing(&first.1.join("\n")) {
                return Err(self.failed(&first, url, wanted));
            }
            let all: Vec<&str> = common
                .iter()
                .copied()
                .chain([
                    "--",
                    url,
                    "+refs/heads/*:refs/fetched/heads/*",
                    "+refs/tags/*:refs/fetched/tags/*",
                ])
                .collect();
            let second = self.git(&all, Stdout::Lines).await?;
            if second.0.code != Some(0) {
                return Err(self.failed(&second, url, wanted));
            }
            let resolved = self.resolve(&format!("{wanted}^{{commit}}")).await;
            resolved.map_err(|_| self.failed(&first, url, wanted))?
        };
        self.measure(&commit).await?;
        self.must(&["checkout", "--quiet", "--force", "--detach", &commit], "checkout").await?;
        let (dir, limits) = (self.dir.clone(), self.host.limits);
        let tree = blocking(move || Tree::from_directory(&dir, limits).map_err(refused)).await?;
        Ok((tree, commit))
    }

    async fn resolve(&self, what: &str) -> Result<String, DriverError> {
        let (ended, _) = self
            .git(
                &["rev-parse", "--verify", "--quiet", "--end-of-options", what],
                Stdout::Keep(4096),
            )
            .await?;
        let text = String::from_utf8_lossy(&ended.stdout);
        // `--end-of-options` itself is printed by some versions.
        let commit =
            text.lines().map(str::trim).rfind(|line| !line.starts_with("--")).unwrap_or_default();
        if ended.code == Some(0)
            && commit.len() >= 40
            && commit.bytes().all(|b| b.is_ascii_hexdigit())
        {
            Ok(commit.to_owned())
        } else {
            Err(DriverError::permanent("the repository has no such commit"))
        }
    }

    /// Refuses a commit that is too big before anything of it is written.
    async fn measure(&self, commit: &str) -> Result<(), DriverError> {
        let args = ["ls-tree", "-r", "-l", "-z", "--full-tree", commit];
        let (ended, errors) = self.git(&args, Stdout::Keep(MAX_LIST_BYTES)).await?;
        if ended.code != Some(0) {
            return Err(DriverError::transient(format!(
                "git ls-tree failed: {}",
                errors.join(" ")
            )));
        }
        let limits = self.host.limits;
        let (mut entries, mut bytes) = (0_usize, 0_u64);
        for line in ended.stdout.split(|b| *b == 0) {
            // <mode> <type> <object> <size>\t<path>
            let head = line.split(|b| *b == b'\t').next().unwrap_or_default();
            let size = String::from_utf8_lossy(head);
            let Some(size) = size.split_whitespace().nth(3) else { continue };
            entries += 1;
            bytes = bytes.saturating_add(size.parse().unwrap_or(0));
        }
        if entries > limits.entries || bytes > limits.total_bytes {
            return Err(DriverError::permanent(format!(
                "the repository is too big: {entries} files of {bytes} bytes; allowed are {} files \
                 of {} bytes",
                limits.entries, limits.total_bytes
            )));
        }
        Ok(())
    }

    async fn must(&self, args: &[&str], what: &str) -> Result<(), DriverError> {
        let (ended, errors) = self.git(args, Stdout::Lines).await?;
        if ended.asked.is_some() {
            return Err(DriverError::Stopped);
        }
        if ended.code != Some(0) {
            return Err(DriverError::transient(format!("git {what} failed: {}", errors.join(" "))));
        }
        Ok(())
    }

    async fn git(
        &self,
        args: &[&str],
        stdout: Stdout,
    ) -> Result<(Ended, Vec<String>), DriverError> {
        failure::asked_before(self.run)?;
        let settings = [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.symlinks=true",
            "core.autocrlf=false",
            "core.attributesFile=/dev/null",
            "credential.helper=",
            "submodule.recurse=false",
            "protocol.ext.allow=never",
            "fetch.fsckObjects=true",
            "gc.auto=0",
            "advice.detachedHead=false",
            "init.defaultBranch=main",
        ];
        let mut all: Vec<OsString> = Vec::new();
        for setting in settings {
            all.extend(["-c".into(), setting.into()]);
        }
        // A redirect leads to where nobody has looked.
        all.extend(["-c".into(), "http.followRedirects=false".into()]);
        if let Some(resolve) = &self.pinned.resolve {
            all.extend(["-c".into(), format!("http.curloptResolve={resolve}").into()]);
        }
        all.extend(args.iter().map(Into::into));
        let mut env = self
            .host
            .env
            .clone()
            .with("GIT_TERMINAL_PROMPT", "0")
            .with("GIT_ASKPASS", "")
            .with("GIT_CONFIG_GLOBAL", "/dev/null")
            .with("GIT_CONFIG_NOSYSTEM", "1")
            .with("GIT_ATTR_NOSYSTEM", "1")
            .with("GIT_ALLOW_PROTOCOL", self.protocols.clone())
            .with(
                "GIT_CEILING_DIRECTORIES",
                self.dir.parent().unwrap_or(Path::new("/")).as_os_str(),
            )
            .with("LC_ALL", "C");
        if let Some(askpass) = self.host.env.get("GIT_ASKPASS") {
            env = env.with("GIT_ASKPASS", askpass.to_owned());
        }
        if env.get("GIT_SSH").is_none() && env.get("GIT_SSH_COMMAND").is_none() {
            let ssh = format!("ssh -oBatchMode=yes -oConnectTimeout=20{}", self.pinned.ssh);
            env = env.with("GIT_SSH_COMMAND", ssh);
        }
        let command = Command {
            program: self.program.clone(),
            args: all,
            dir: self.dir.clone(),
            env,
            guard: self.host.guard.program(),
        };
        // Git's words are logged as they are; a URL of ours holds no credentials.
        let workspace = Workspace::new(self.run.workspace(), None)?;
        let mut ears = Ears::new(self.run, self.host.clock.as_ref(), &workspace, STEP);
        let mut listener = |stream, line: &str| ears.hear(stream, line);
        let ended = process::run(command, &Stops::of(self.run), stdout, &mut listener).await;
        let ended = ended.map_err(|failed| match failed {
            Failed::TooMuch(_) => DriverError::permanent("the repository has too many files"),
            failed => failure::of_process("git command", &failed),
        })?;
        Ok((ended, ears.tail))
    }

    fn failed(&self, (ended, said): &(Ended, Vec<String>), url: &str, wanted: &str) -> DriverError {
        if ended.asked.is_some() {
            return DriverError::Stopped;
        }
        let said = said.join(" ");
        let said: String = self.run.redactor().text(&said).chars().take(500).collect();
        let summary = format!("{wanted:?} could not be fetched from {url}: {said}");
        if failure::is_passing(&said) {
            DriverError::transient(summary)
        } else {
            DriverError::permanent(summary)
        }
    }
}

fn refused(why: Unsafe) -> DriverError {
    match why {
        Unsafe::Unreadable(error) => trouble(error),
        why => DriverError::permanent(format!("the repository's tree was refused: {why}")),
    }
}
