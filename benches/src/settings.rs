//! What the caller (`./bench`) says through the environment, and where the tool is. The only place
//! that reads the environment.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Where things are and how much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The executable under test, a release build.
    pub(crate) slipway: PathBuf,
    /// An unpacked mirror of providers.
    mirror: Option<PathBuf>,
    /// A PostgreSQL on which databases may be made.
    postgres: Option<String>,
    /// Repetitions of what is timed one by one.
    pub(crate) repeat: usize,
    /// Length of each measurement under load, in seconds.
    pub(crate) seconds: u64,
    /// Parts of a benchmark that has several; all of them when `None`.
    parts: Option<String>,
    /// The scanner that is the peer of `gates`.
    checkov: Option<String>,
}

impl Settings {
    /// Reads the environment.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let slipway = PathBuf::from(text("SLIPWAY_TEST_BIN")?.context(
            "SLIPWAY_TEST_BIN is not set; `./bench NAME` builds the executable and sets it",
        )?);
        let slipway = std::path::absolute(&slipway)?;
        if !is_executable(&slipway) {
            bail!("SLIPWAY_TEST_BIN: {} is not an executable file", slipway.display());
        }
        let mirror = text("SLIPWAY_TEST_PROVIDER_MIRROR")?;
        Ok(Self {
            slipway,
            mirror: mirror.map(std::path::absolute).transpose()?,
            postgres: text("SLIPWAY_TEST_POSTGRES_URL")?,
            repeat: number("SLIPWAY_BENCH_REPEAT", 7)?,
            seconds: number("SLIPWAY_BENCH_SECONDS", 10)?,
            checkov: text("SLIPWAY_BENCH_CHECKOV")?,
            parts: text("SLIPWAY_BENCH_PARTS")?,
        })
    }

    /// The provider mirror.
    pub(crate) fn mirror(&self) -> anyhow::Result<&Path> {
        self.mirror.as_deref().context(
            "SLIPWAY_TEST_PROVIDER_MIRROR is not set; `./bench plan_overhead` builds the mirror",
        )
    }

    /// URL of the PostgreSQL server, as a superuser.
    pub(crate) fn postgres(&self) -> anyhow::Result<&str> {
        self.postgres
            .as_deref()
            .context("SLIPWAY_TEST_POSTGRES_URL is not set; `./bench submit` starts a PostgreSQL")
    }

    /// What `./bench` says in the variable `name`.
    pub(crate) fn needed(name: &str) -> anyhow::Result<String> {
        text(name)?.with_context(|| format!("{name} is not set; `./bench NAME` sets it"))
    }

    /// Whether a part of a benchmark is wanted.
    pub(crate) fn runs_part(&self, part: &str) -> bool {
        self.parts.as_ref().is_none_or(|parts| parts.split(',').any(|wanted| wanted == part))
    }

    /// The scanner that is the peer of `gates`.
    pub(crate) fn checkov(&self) -> anyhow::Result<PathBuf> {
        let path = self.checkov.as_ref().context(
            "SLIPWAY_BENCH_CHECKOV is not set; `./bench gates` installs checkov and sets it",
        )?;
        Ok(std::path::absolute(path)?)
    }

    /// Terraform or, without it, OpenTofu: found as the product finds it.
    pub(crate) fn tool() -> anyhow::Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let find = |name: &str| {
            std::env::split_paths(&path)
                .filter(|dir| dir.is_absolute())
                .map(|dir| dir.join(name))
                .find(|file| is_executable(file))
        };
        ["terraform", "tofu"]
            .into_iter()
            .find_map(find)
            .context("neither `terraform` nor `tofu` is on PATH")
    }
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn text(name: &str) -> anyhow::Result<Option<String>> {
    match std::env::var_os(name).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Err(_)) => bail!("{name} is not UTF-8"),
    }
}

fn number<T>(name: &str, default: T) -> anyhow::Result<T>
where
    T: std::str::FromStr + PartialOrd + From<u8>,
{
    let Some(text) = text(name)? else { return Ok(default) };
    match text.parse::<T>() {
        Ok(number) if number >= T::from(1) => Ok(number),
        _ => bail!("{name} is {text:?}; it must be a whole number from 1 up"),
    }
}
