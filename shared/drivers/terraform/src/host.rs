//! What is the same for every job on this machine: the tool and its version, the environment, the
//! cache. Finds the tool once, at the start.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slipway_domain::clock::Clock;
use slipway_domain::plan::Tool;
use slipway_domain::port::driver::Run;
use slipway_process::{self as process, Command, Environment, Guard, Stdout, Stops, is_executable};

use crate::allow::Allowed;
use crate::cache::Cache;
use crate::hcl::Dialect;
use crate::options::{GitOptions, Options};
use crate::workspace::Workspace;

/// How long the tool may take to tell its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

/// There is no usable Terraform or OpenTofu.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{why}. There are two ways to get one: install HashiCorp Terraform or OpenTofu and put it on \
     PATH; or set `terraform.binary` (or SLIPWAY_TERRAFORM_BINARY) to the path of its executable"
)]
pub struct ToolMissing {
    /// What was looked for and what was found.
    pub why: String,
}

/// Shared by all jobs; cheap to clone.
#[derive(Clone)]
pub(crate) struct Host(Arc<Inner>);

impl std::ops::Deref for Host {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// See [`Host`].
pub(crate) struct Inner {
    pub(crate) program: PathBuf,
    pub(crate) tool: Tool,
    /// e.g. `linux_amd64`.
    pub(crate) platform: String,
    pub(crate) env: Environment,
    pub(crate) guard: Guard,
    pub(crate) git: GitOptions,
    pub(crate) limits: slipway_domain::tree::Limits,
    pub(crate) parallelism: Option<u16>,
    gc_percent: Option<u16>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Cache,
    /// Where providers come from, as far as it decides what is installed.
    pub(crate) origin: String,
    /// The operator's CLI configuration, used instead of [`Host::cli_config`].
    own_cli_config: Option<PathBuf>,
    /// Which providers may be used.
    pub(crate) allowed: Allowed,
    mirror: Option<PathBuf>,
    direct: bool,
    /// Whether what is installed goes through the shared store.
    store: bool,
}

/// Where the tool is told to take providers from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supply {
    /// The operator's mirror, or the registries.
    Source,
    /// The shared store alone.
    Store,
    /// The store, and where they come from.
    StoreAndSource,
}

impl Host {
    /// Finds the tool.
    pub(crate) async fn detect(
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ToolMissing> {
        let env = Environment::from_process(&options.env_allow);
        let program = locate(&options, &env)?;
        let (tool, platform) = version(&program, &env, &options.guard).await?;
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|e| ToolMissing { why: format!("{} is not a path: {e}", path.display()) })
        };
        let mirror = options.provider_mirror.as_deref().map(absolute).transpose()?;
        let own_cli_config = options.cli_config_file.as_deref().map(absolute).transpose()?;
        let origin = match (&own_cli_config, &mirror) {
            (Some(own), _) => {
                // Another content may mean other providers; when it cannot be read the tool will
                // say so.
                let content = std::fs::read(own).unwrap_or_default();
                format!("{} {}", own.display(), slipway_domain::artifact::digest(&content))
            }
            (None, Some(mirror)) => format!("{} direct={}", mirror.display(), options.direct),
            (None, None) => String::new(),
        };
        let dialect = dialect(&tool);
        let allowed = Allowed::new(&options.allowed_providers, dialect);
        let origin = format!("{origin}{}", allowed.patterns().join(" "));
        let direct = mirror.is_none() || options.direct;
        // What is unpacked already needs no second place.
        let store =
            own_cli_config.is_none() && (direct || mirror.as_deref().is_some_and(is_packed));
        let cache_dir = absolute(&options.cache_dir)?;
        Ok(Self(Arc::new(Inner {
            program,
            tool,
            platform,
            env,
            guard: options.guard,
            git: options.git,
            limits: options.limits,
            parallelism: options.parallelism,
            gc_percent: options.gc_percent,
            cache: Cache::new(cache_dir, clock.clone()),
            clock,
            origin,
            allowed,
            mirror,
            direct,
            store,
            own_cli_config,
        })))
    }

    /// A command of the tool, in the root module's directory.
    pub(crate) fn command<S: Into<OsString>>(
        &self,
        run: &dyn Run,
        workspace: &Workspace,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let env = tuned(quiet(self.env.clone()), self.gc_percent);
        // What the tool and its providers trace belongs to the trace of the one who asked.
        let env = match run.traceparent() {
            Some(traceparent) => env.with("TRACEPARENT", traceparent),
            None => env,
        };
        let config = self.own_cli_config.clone().unwrap_or_else(|| workspace.cli_config());
        Command {
            program: self.program.clone(),
            args: args.into_iter().map(Into::into).collect(),
            dir: workspace.module().to_path_buf(),
            env: env.with("TF_CLI_CONFIG_FILE", config),
            guard: self.guard.program(),
        }
    }

    /// Whose files count.
    pub(crate) fn dialect(&self) -> Dialect {
        dialect(&self.tool)
    }

    /// Whether providers go through the store that all jobs share.
    pub(crate) fn has_store(&self) -> bool {
        self.store
    }

    /// The CLI configuration that a job gets.
    pub(crate) fn cli_config(&self, from: Supply) -> String {
        let store = self.cache.mirror();
        let store = (from != Supply::Source).then_some(store.as_path());
        let source = (from != Supply::Store).then_some((self.mirror.as_deref(), self.direct));
        cli_config(store, source, self.allowed.patterns())
    }

    /// Whether it knows `import` blocks.
    pub(crate) fn knows_imports(&self) -> bool {
        numbers(&self.tool.version) >= (1, 5)
    }

    /// Whether it runs tests.
    pub(crate) fn knows_tests(&self) -> bool {
        numbers(&self.tool.version) >= (1, 6)
    }

    /// Whether `init` knows `-json`.
    pub(crate) fn init_speaks_json(&self) -> bool {
        numbers(&self.tool.version) >= (1, 9)
    }
}

fn dialect(tool: &Tool) -> Dialect {
    if tool.name == "tofu" { Dialect::OpenTofu } else { Dialect::Terraform }
}

/// Whether a mirror has archives in it, which the tool unpacks for every job.
fn is_packed(mirror: &Path) -> bool {
    let below = |dir: &Path| -> Vec<PathBuf> {
        let items = std::fs::read_dir(dir).into_iter().flatten().flatten();
        items.map(|item| item.path()).collect()
    };
    // host / namespace / type / archive
    let types = below(mirror).into_iter().flat_map(|host| below(&host));
    types
        .flat_map(|namespace| below(&namespace))
        .flat_map(|kind| below(&kind))
        .any(|file| file.extension().is_some_and(|extension| extension == "zip"))
}

fn quiet(env: Environment) -> Environment {
    env.with("TF_IN_AUTOMATION", "1").with("TF_INPUT", "0").with("CHECKPOINT_DISABLE", "1")
}

/// How much garbage the tool and its providers may gather. What the operator passes on goes first.
fn tuned(env: Environment, gc_percent: Option<u16>) -> Environment {
    match gc_percent {
        Some(percent) if env.get("GOGC").is_none() => env.with("GOGC", percent.to_string()),
        _ => env,
    }
}

fn locate(options: &Options, env: &Environment) -> Result<PathBuf, ToolMissing> {
    if let Some(binary) = &options.binary {
        let binary = std::path::absolute(binary).unwrap_or_else(|_| binary.clone());
        if is_executable(&binary) {
            return Ok(binary);
        }
        let why = format!("{} is not an executable file", binary.display());
        return Err(ToolMissing { why });
    }
    ["terraform", "tofu"]
        .iter()
        .find_map(|name| env.find(name))
        .ok_or_else(|| ToolMissing { why: "neither `terraform` nor `tofu` is on PATH".to_owned() })
}

async fn version(
    program: &Path,
    env: &Environment,
    guard: &Guard,
) -> Result<(Tool, String), ToolMissing> {
    let wrong = |what: String| ToolMissing { why: format!("{} {what}", program.display()) };
    let command = Command {
        program: program.to_path_buf(),
        args: vec!["version".into()],
        dir: std::env::temp_dir(),
        env: quiet(env.clone()).with("TF_CLI_CONFIG_FILE", "/dev/null"),
        guard: guard.program(),
    };
    let run = slipway_process::Unattended;
    let mut said = String::new();
    let mut listener = |_: slipway_domain::log::LogStream, line: &str| {
        let _ = writeln!(said, "{}", line.chars().take(200).collect::<String>());
    };
    let stops = Stops::of(&run);
    let running = process::run(command, &stops, Stdout::Keep(64 << 10), &mut listener);
    let ended = tokio::time::timeout(VERSION_TIMEOUT, running)
        .await
        .map_err(|_| wrong("did not tell its version within 30 s".to_owned()))?
        .map_err(|failed| wrong(format!("does not run: {failed}")))?;
    if ended.code != Some(0) {
        return Err(wrong(format!("did not tell its version: {}", said.trim())));
    }
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let (tool, platform) =
        read_version(&text).ok_or_else(|| wrong("is neither Terraform nor OpenTofu".to_owned()))?;
    if numbers(&tool.version) < (1, 0) {
        return Err(wrong(format!("is {tool}; at least version 1.0 is needed")));
    }
    Ok((tool, platform))
}

/// Reads `Terraform v1.11.4` and `on linux_amd64`.
fn read_version(text: &str) -> Option<(Tool, String)> {
    let mut lines = text.lines();
    let (name, version) = lines.next()?.trim().split_once(" v")?;
    let name = match name {
        "Terraform" => "terraform",
        "OpenTofu" => "tofu",
        _ => return None,
    };
    let platform = lines.find_map(|line| line.trim().strip_prefix("on ")).unwrap_or("unknown");
    let tool = Tool { name: name.to_owned(), version: version.trim().to_owned() };
    Some((tool, platform.to_owned()))
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// The CLI configuration: where providers come from, and nothing else.
fn cli_config(
    store: Option<&Path>,
    source: Option<(Option<&Path>, bool)>,
    allowed: &[String],
) -> String {
    let mut text = String::from("disable_checkpoint = true\nprovider_installation {\n");
    let quoted = |text: &str| hcl_edit::expr::Expression::from(text).to_string();
    let include = match allowed {
        [] => String::new(),
        some => {
            let list: Vec<String> = some.iter().map(|pattern| quoted(pattern)).collect();
            format!("    include = [{}]\n", list.join(", "))
        }
    };
    let (mirror, direct) = source.unwrap_or_default();
    for path in [store, mirror].into_iter().flatten() {
        let path = quoted(&path.to_string_lossy());
        let _ = write!(text, "  filesystem_mirror {{\n    path = {path}\n{include}  }}\n");
    }
    if direct {
        let _ = write!(text, "  direct {{\n{include}  }}\n");
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_gathered_as_it_was_chosen_unless_the_operator_passes_something_on() {
        let gogc = |env: &Environment| env.get("GOGC").map(|v| v.to_string_lossy().into_owned());
        assert_eq!(gogc(&tuned(Environment::default(), Some(200))).as_deref(), Some("200"));
        assert_eq!(gogc(&tuned(Environment::default(), None)), None);
        let own = Environment::default().with("GOGC", "50");
        assert_eq!(gogc(&tuned(own, Some(200))).as_deref(), Some("50"));
    }

    #[test]
    fn both_tools_tell_their_versions() {
        let (tool, platform) =
            read_version("Terraform v1.11.4\non linux_amd64\n\nYour version is out of date!")
                .unwrap();
        assert_eq!(
            (tool.to_string().as_str(), platform.as_str()),
            ("terraform 1.11.4", "linux_amd64")
        );
        let (tool, _) = read_version("OpenTofu v1.12.6-dev\non darwin_arm64\n").unwrap();
        assert_eq!(tool.to_string(), "tofu 1.12.6-dev");
        assert!(read_version("bash v5").is_none() && read_version("").is_none());
        assert!(numbers("1.10.0-rc1") > numbers("1.9.8"));
    }

    #[test]
    fn providers_come_from_the_mirror_or_from_registries() {
        assert!(cli_config(None, Some((None, true)), &[]).contains("direct {"));
        let odd = Path::new("/a \"b\" ${c}");
        let mirror = cli_config(None, Some((Some(odd), false)), &[]);
        assert!(!mirror.contains("direct"), "{mirror}");
        let body = hcl_edit::parser::parse_body(&mirror).unwrap();
        let block = body.get_blocks("provider_installation").next().unwrap();
        let block = block.body.get_blocks("filesystem_mirror").next().unwrap();
        let path = block.body.get_attribute("path").unwrap().value.as_str();
        assert_eq!(path, Some("/a \"b\" ${c}"));
        assert!(cli_config(None, Some((Some(odd), true)), &[]).contains("direct {"));
    }

    #[test]
    fn the_store_comes_first_and_the_list_holds_everywhere() {
        let allowed = ["registry.terraform.io/hashicorp/*".to_owned()];
        let alone = cli_config(Some(Path::new("/store")), None, &allowed);
        assert!(alone.contains("/store") && !alone.contains("direct"), "{alone}");
        let both =
            cli_config(Some(Path::new("/store")), Some((Some(Path::new("/m")), true)), &allowed);
        assert!(both.find("/store") < both.find("/m") && both.find("/m") < both.find("direct"));
        assert_eq!(both.matches("include = [\"registry.terraform.io/hashicorp/*\"]").count(), 3);
    }

    #[tokio::test]
    async fn what_is_missing_says_how_to_get_it() {
        let mut options = Options::new("/nonexistent/cache");
        options.binary = Some("/nonexistent/terraform".into());
        let clock = Arc::new(slipway_domain::clock::SystemClock);
        let error = Host::detect(options, clock).await.err().unwrap().to_string();
        for part in ["/nonexistent/terraform", "put it on PATH", "SLIPWAY_TERRAFORM_BINARY"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
