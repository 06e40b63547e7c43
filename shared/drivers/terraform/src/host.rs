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

use crate::cache::Cache;
use crate::environment::{Environment, is_executable};
use crate::hcl::Dialect;
use crate::options::{GitOptions, Guard, Options};
use crate::process::{self, Command, Stdout, Stops};
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
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Cache,
    /// Where providers come from, as far as it decides what is installed.
    pub(crate) origin: String,
    /// The operator's CLI configuration, used instead of [`Inner::cli_config`].
    own_cli_config: Option<PathBuf>,
    /// The CLI configuration that every job gets a copy of.
    pub(crate) cli_config: String,
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
            cache: Cache::new(cache_dir, clock.clone()),
            clock,
            origin,
            cli_config: cli_config(mirror.as_deref(), options.direct),
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
        let env = quiet(self.env.clone());
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
        if self.tool.name == "tofu" { Dialect::OpenTofu } else { Dialect::Terraform }
    }

    /// Whether it knows `import` blocks.
    pub(crate) fn knows_imports(&self) -> bool {
        numbers(&self.tool.version) >= (1, 5)
    }

    /// Whether `init` knows `-json`.
    pub(crate) fn init_speaks_json(&self) -> bool {
        numbers(&self.tool.version) >= (1, 9)
    }
}

fn quiet(env: Environment) -> Environment {
    env.with("TF_IN_AUTOMATION", "1").with("TF_INPUT", "0").with("CHECKPOINT_DISABLE", "1")
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
    let run = crate::unattended::Unattended;
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
fn cli_config(mirror: Option<&Path>, direct: bool) -> String {
    let mut text = String::from("disable_checkpoint = true\nprovider_installation {\n");
    if let Some(mirror) = mirror {
        let path = hcl_edit::expr::Expression::from(mirror.to_string_lossy().as_ref());
        let _ = write!(text, "  filesystem_mirror {{\n    path = {path}\n  }}\n");
    }
    if mirror.is_none() || direct {
        text.push_str("  direct {}\n");
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(cli_config(None, false).contains("direct {}"));
        let mirror = cli_config(Some(Path::new("/a \"b\" ${c}")), false);
        assert!(!mirror.contains("direct"), "{mirror}");
        let body = hcl_edit::parser::parse_body(&mirror).unwrap();
        let block = body.get_blocks("provider_installation").next().unwrap();
        let block = block.body.get_blocks("filesystem_mirror").next().unwrap();
        let path = block.body.get_attribute("path").unwrap().value.as_str();
        assert_eq!(path, Some("/a \"b\" ${c}"));
        assert!(cli_config(Some(Path::new("/m")), true).contains("direct {}"));
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
