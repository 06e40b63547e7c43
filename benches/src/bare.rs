//! The peer of a plan: `init`, `plan` and `show`, as a CI job without Slipway runs them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::machine;

/// Runs the tool by itself.
#[derive(Debug, Clone)]
pub(crate) struct Bare {
    tool: PathBuf,
    cli_config: PathBuf,
}

impl Bare {
    /// `tool` with providers from `mirror`; writes its CLI configuration into `dir`.
    pub(crate) fn new(tool: &Path, mirror: &Path, dir: &Path) -> anyhow::Result<Self> {
        let path = mirror.to_str().filter(|path| !path.contains(['"', '\\', '$', '%', '\n']));
        let path = path.context("the mirror's path has characters that would need escaping")?;
        let cli_config = dir.join("bare.tfrc");
        let text = format!(
            "disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path \
             = \"{path}\"\n  }}\n}}\n"
        );
        fs::write(&cli_config, text)?;
        Ok(Self { tool: tool.to_owned(), cli_config })
    }

    /// How long it takes to get to the plan's JSON in `dir`, which holds a configuration. The plan
    /// must create `creates` resources. Blocking.
    pub(crate) fn plan(&self, dir: &Path, creates: usize) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.run(dir, &["init", "-input=false"])?;
        self.run(dir, &["plan", "-input=false", "-out=tfplan"])?;
        let shown = self.run(dir, &["show", "-json", "tfplan"])?;
        let took = started.elapsed();
        // Not part of the time: that both sides planned the same thing.
        let shown: serde_json::Value = serde_json::from_slice(&shown)?;
        let planned = shown["resource_changes"].as_array().map_or(0, |changes| {
            changes
                .iter()
                .filter(|c| c["change"]["actions"] == serde_json::json!(["create"]))
                .count()
        });
        if planned != creates {
            bail!("the bare plan creates {planned} resources, not {creates}");
        }
        Ok(took)
    }

    fn run(&self, dir: &Path, args: &[&str]) -> anyhow::Result<Vec<u8>> {
        let ended = machine::command(&self.tool, dir)
            .args(args.iter().map(OsStr::new))
            .env("TF_CLI_CONFIG_FILE", &self.cli_config)
            .env("TF_IN_AUTOMATION", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("{} does not start", self.tool.display()))?;
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            bail!("bare `{}` failed: {}", args.join(" "), said.trim());
        }
        Ok(ended.stdout)
    }
}

/// Copies the configuration files of a stack into a new directory.
pub(crate) fn copy(stack: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for file in fs::read_dir(stack).with_context(|| stack.display().to_string())? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "tf") {
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}
