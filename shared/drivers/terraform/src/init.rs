//! Decides whether `init` must run, and runs it: not at all when there is nothing to install,
//! from the cache when the same was installed before, and once for many jobs that want the same.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use slipway_domain::port::driver::{DriverError, Run};

use crate::allow::{self, Named};
use crate::cache::{KeyParts, Modules, Restored, Wanted};
use crate::hcl::{Asked, Backend, Configuration, Installed};
use crate::host::Host;
use crate::install::{check_modules, install};
use crate::stream;
use crate::workspace::{Workspace, blocking, write_private};

const STEP: &str = "init";
/// The dependency lock file, as a person knows it.
const LOCK_FILE: &str = ".terraform.lock.hcl";

/// How a workspace became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// There was nothing to install.
    NotNeeded,
    /// From the cache.
    Cached,
    /// `init` ran.
    Ran,
}

/// What has to be installed for a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    /// The name of it in the cache; `None` when the configuration is not understood well enough.
    pub(crate) key: Option<String>,
    /// `.terraform/modules/modules.json`, when there are only local modules.
    local_modules: Option<String>,
    /// Nothing at all to install, the backend apart.
    nothing: bool,
    /// `init` has to run in every workspace, for the backend.
    always: bool,
    /// What `init` is told beside.
    flags: &'static [&'static str],
    modules: Modules,
    lasting: bool,
    /// What the store of providers is asked for.
    wanted: Wanted,
}

impl Need {
    /// For commands that use no backend: it is not asked for anything.
    pub(crate) fn without_backend(self) -> Self {
        Self { always: false, flags: &["-backend=false"], ..self }
    }

    /// For a workspace that holds more than the configuration says: only `init` knows what.
    pub(crate) fn and_more(mut self) -> Self {
        self.wanted.complete = false;
        Self { key: None, nothing: false, local_modules: None, ..self }
    }
}

/// Finds out what is needed. Blocking.
pub(crate) fn need(
    host: &Host,
    workspace: &Workspace,
    configuration: Option<&Configuration>,
    state_providers: &[String],
) -> Result<Need, DriverError> {
    let lock_file = Workspace::read(&workspace.lock_file())?.unwrap_or_default();
    let Some(configuration) = configuration else {
        host.allowed.check(&of_lock_file(&lock_file))?;
        return Ok(Need {
            key: None,
            local_modules: None,
            nothing: false,
            always: true,
            flags: &[],
            modules: Modules::Changing,
            lasting: false,
            wanted: Wanted::default(),
        });
    };
    let locked = allow::locked(&lock_file, LOCK_FILE);
    let mut named: Named =
        locked.iter().map(|(address, locked)| (address.clone(), locked.asked.clone())).collect();
    let foreign: Vec<String> = state_providers
        .iter()
        .filter(|p| !p.starts_with("terraform.io/builtin/") && !configuration.requires(p))
        .cloned()
        .collect();
    let mut providers: BTreeSet<String> = foreign.iter().cloned().collect();
    for (address, asked) in &configuration.providers {
        let address = allow::full(address, host.dialect());
        providers.insert(address.clone());
        // The configuration is the better place to point at.
        named.insert(address, asked.clone());
    }
    for address in &foreign {
        let asked = Asked { module: "(the state)".to_owned(), place: None };
        named.entry(address.clone()).or_insert(asked);
    }
    host.allowed.check(&named)?;
    let always = configuration.backend != Backend::Unset;
    let remote = configuration.remote_modules();
    let nothing =
        configuration.understood && !configuration.needs_providers && foreign.is_empty() && !remote;
    let requirements: Vec<String> = configuration.requirements.iter().cloned().collect();
    let modules: Vec<String> = configuration
        .modules
        .iter()
        .map(|m| format!("{} {} {}", m.key, m.source, m.version.as_deref().unwrap_or_default()))
        .collect();
    let key = KeyParts {
        tool: &host.tool.to_string(),
        platform: &host.platform,
        origin: &host.origin,
        lock_file: &lock_file,
        requirements: &requirements,
        modules: &modules,
        state_providers: &foreign,
    }
    .key();
    let question = KeyParts {
        tool: &host.tool.to_string(),
        platform: &host.platform,
        origin: &host.origin,
        lock_file: &[],
        requirements: &without_modules(&requirements),
        modules: &[],
        state_providers: &foreign,
    }
    .key();
    let version = |address: &String| locked.get(address).and_then(|locked| locked.version.clone());
    let wanted = Wanted {
        providers: providers.into_iter().map(|p| (p.clone(), version(&p))).collect(),
        question,
        archives: locked.values().any(|locked| !locked.unpacked),
        complete: configuration.understood && !remote,
    };
    let keeps = if configuration.modules.is_empty() {
        Modules::None
    } else if configuration.modules.iter().all(|m| m.dir.is_some() || is_fixed(m)) {
        Modules::Lasting
    } else {
        Modules::Changing
    };
    let exact = configuration.modules.iter().all(|m| m.dir.is_some() || is_exact(m));
    Ok(Need {
        key: configuration.understood.then_some(key),
        local_modules: (nothing && !configuration.modules.is_empty())
            .then(|| manifest(&configuration.modules, workspace)),
        nothing,
        always,
        flags: &[],
        modules: keeps,
        lasting: !lock_file.is_empty() && exact,
        wanted,
    })
}

/// The requirements alone: which module asks does not matter to what is downloaded.
fn without_modules(requirements: &[String]) -> Vec<String> {
    let all = requirements.iter().map(|r| r.split_once(": ").map_or(r.as_str(), |(_, what)| what));
    all.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

fn of_lock_file(content: &[u8]) -> Named {
    let locked = allow::locked(content, LOCK_FILE);
    locked.into_iter().map(|(address, locked)| (address, locked.asked)).collect()
}

/// Makes a workspace ready for a plan. `again`: what was ready did not do; install it anew.
pub(crate) async fn prepare(
    host: &Host,
    run: &dyn Run,
    workspace: &Workspace,
    need: &Need,
    again: bool,
) -> Result<Ready, DriverError> {
    if need.nothing && !need.always && !again {
        stream::step(run, STEP, Some("not needed"));
        if let Some(manifest) = need.local_modules.clone() {
            let workspace = workspace.clone();
            blocking(move || {
                let file = workspace.data_dir().join("modules/modules.json");
                write_private(&file, manifest.as_bytes())
            })
            .await?;
        }
        return Ok(Ready::NotNeeded);
    }
    let Some(key) = need.key.clone() else {
        let wanted = &need.wanted;
        cold(host, run, workspace, wanted, need.flags).await?;
        return Ok(Ready::Ran);
    };
    if again {
        let (host, key, workspace) = (host.clone(), key.clone(), workspace.clone());
        blocking(move || {
            host.cache.condemn(&key);
            crate::workspace::remove(&workspace.data_dir()).map_err(crate::workspace::trouble)
        })
        .await?;
    } else if let Some(ready) = from_cache(host, run, workspace, need, &key).await? {
        return Ok(ready);
    }
    // Somebody else may be installing just this; then wait, and take theirs.
    let held = tokio::select! {
        held = host.cache.hold(&key) => held,
        _ = run.stopped(slipway_domain::port::driver::Stop::Gently) => return Err(DriverError::Stopped),
    };
    if let Some(ready) = from_cache(host, run, workspace, need, &key).await? {
        return Ok(ready);
    }
    cold(host, run, workspace, &need.wanted, need.flags).await?;
    publish(host, workspace, need, key).await;
    drop(held);
    Ok(Ready::Ran)
}

/// Runs `init` where nothing is known of what it will install.
async fn cold(
    host: &Host,
    run: &dyn Run,
    workspace: &Workspace,
    wanted: &Wanted,
    flags: &[&str],
) -> Result<(), DriverError> {
    if host.allowed.restricts() && !wanted.complete {
        check_modules(host, run, workspace).await?;
    }
    install(host, run, workspace, wanted, flags).await
}

async fn from_cache(
    host: &Host,
    run: &dyn Run,
    workspace: &Workspace,
    need: &Need,
    key: &str,
) -> Result<Option<Ready>, DriverError> {
    let restored = {
        let (host, key, workspace) = (host.clone(), key.to_owned(), workspace.clone());
        blocking(move || Ok(host.cache.restore(&key, &workspace, None))).await?
    };
    match restored {
        Restored::Nothing => Ok(None),
        Restored::Whole if !need.always => {
            stream::step(run, STEP, Some("cached"));
            Ok(Some(Ready::Cached))
        }
        Restored::Whole | Restored::Providers => {
            install(host, run, workspace, &need.wanted, need.flags).await?;
            Ok(Some(Ready::Ran))
        }
    }
}

/// Keeps what was installed. A cache that cannot be written costs time, not the job.
async fn publish(host: &Host, workspace: &Workspace, need: &Need, key: String) {
    let (host, workspace, need) = (host.clone(), workspace.clone(), need.clone());
    let kept = tokio::task::spawn_blocking(move || {
        let modules = match need.modules {
            Modules::Lasting if !nested_are_fixed(&workspace) => Modules::Changing,
            modules => modules,
        };
        host.cache.publish(&key, &workspace, need.lasting, modules)
    });
    match kept.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the init cache could not be written"),
        Err(error) => tracing::warn!(%error, "the init cache could not be written"),
    }
}

/// Makes a workspace ready for an apply: with just the providers that its plan was made with,
/// which `lock_file` names.
pub(crate) async fn prepare_apply(
    host: &Host,
    run: &dyn Run,
    workspace: &Workspace,
    key: Option<&str>,
    lock_file: &[u8],
    own_backend: bool,
) -> Result<Ready, DriverError> {
    host.allowed.check(&of_lock_file(lock_file))?;
    if let Some(key) = key {
        let (host, key, ws, lock) =
            (host.clone(), key.to_owned(), workspace.clone(), lock_file.to_vec());
        let restored = blocking(move || Ok(host.cache.restore(&key, &ws, Some(&lock)))).await?;
        if restored != Restored::Nothing && !own_backend {
            stream::step(run, STEP, Some("cached"));
            return Ok(Ready::Cached);
        }
    }
    let flags: &[&str] = if own_backend { &[] } else { &["-backend=false"] };
    let locked = allow::locked(lock_file, LOCK_FILE);
    let wanted = Wanted {
        archives: locked.values().any(|locked| !locked.unpacked),
        providers: locked.into_iter().map(|(address, locked)| (address, locked.version)).collect(),
        question: hex::encode(Sha256::digest(lock_file)),
        complete: true,
    };
    install(host, run, workspace, &wanted, flags).await?;
    Ok(Ready::Ran)
}

/// Whether a module's content cannot change under its source and version: then it may be kept (for
/// a day, if its version is a range).
fn is_fixed(module: &Installed) -> bool {
    is_registry(&module.source) || is_pinned(&module.source)
}

fn is_exact(module: &Installed) -> bool {
    is_pinned(&module.source)
        || module.version.as_deref().is_some_and(|v| {
            let v = v.trim().trim_start_matches('=').trim();
            !v.is_empty() && v.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b))
        })
}

/// `namespace/name/provider`, with a host in front or not.
fn is_registry(source: &str) -> bool {
    let source = source.split("//").next().unwrap_or(source);
    let parts = source.split('/').count();
    (3..=4).contains(&parts)
        && !source.contains([':', '@', '?'])
        && !["github.com/", "bitbucket.org/"].iter().any(|host| source.starts_with(host))
}

/// A git source with a commit or what looks like a version tag; an archive with a checksum.
fn is_pinned(source: &str) -> bool {
    let Some((_, query)) = source.split_once('?') else { return false };
    query.split('&').any(|pair| match pair.split_once('=') {
        Some(("ref", r)) => {
            let version = r.strip_prefix('v').unwrap_or(r);
            (r.len() == 40 && r.bytes().all(|b| b.is_ascii_hexdigit()))
                || (version.matches('.').count() >= 2
                    && version.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        }
        Some(("checksum", sum)) => !sum.is_empty(),
        _ => false,
    })
}

/// Whether what the modules call in turn is fixed too, by what `init` wrote down.
fn nested_are_fixed(workspace: &Workspace) -> bool {
    let Ok(content) = std::fs::read(workspace.data_dir().join("modules/modules.json")) else {
        return false;
    };
    let Ok(manifest) = serde_json::from_slice::<serde_json::Value>(&content) else { return false };
    manifest["Modules"].as_array().is_some_and(|modules| {
        modules.iter().all(|module| {
            let source = module["Source"].as_str().unwrap_or_default();
            source.is_empty() || source.starts_with('.') || is_registry(source) || is_pinned(source)
        })
    })
}

/// `modules.json` as `init` would write it for local modules.
fn manifest(modules: &[Installed], workspace: &Workspace) -> String {
    let mut list = vec![serde_json::json!({"Key": "", "Source": "", "Dir": "."})];
    for module in modules {
        let dir = module.dir.as_deref().unwrap_or_default();
        list.push(serde_json::json!({
            "Key": module.key, "Source": module.source, "Dir": workspace.seen_from_root(dir),
        }));
    }
    serde_json::json!({ "Modules": list }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(source: &str, version: Option<&str>) -> Installed {
        Installed {
            key: "m".into(),
            source: source.into(),
            version: version.map(str::to_owned),
            dir: None,
        }
    }

    #[test]
    fn only_modules_that_cannot_change_are_kept() {
        for source in [
            "terraform-aws-modules/vpc/aws",
            "app.terraform.io/acme/vpc/aws",
            "terraform-aws-modules/iam/aws//modules/user",
            "git::https://h/r.git?ref=v1.2.3",
            "git::https://h/r.git//sub?ref=0123456789abcdef0123456789abcdef01234567",
            "https://h/m.zip?checksum=sha256:abc",
        ] {
            assert!(is_fixed(&module(source, None)), "{source}");
        }
        for source in [
            "git::https://h/r.git",
            "git::https://h/r.git?ref=main",
            "github.com/acme/vpc",
            "git@github.com:acme/vpc.git",
            "https://h/m.zip",
            "s3::https://b/m.zip",
        ] {
            assert!(!is_fixed(&module(source, None)), "{source}");
        }
        assert!(is_exact(&module("a/b/c", Some("= 1.2.3"))));
        for range in [Some("~> 1.0"), Some(">= 1"), Some("1.2.3, 1.2.4"), None] {
            assert!(!is_exact(&module("a/b/c", range)), "{range:?}");
        }
    }
}
