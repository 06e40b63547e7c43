//! Which scanners are there, and asking several of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use slipway_domain::clock::{Clock, SystemClock};
use slipway_domain::port::driver::Run;
use slipway_domain::port::scanner::{Scan, ScanInput, Scanner};
use slipway_domain::scan::{ScanOutcome, ScanSettings, ScanStatus, ScannerName};

use crate::checkov::Checkov;
use crate::conftest::Conftest;
use crate::options::{Choice, Options};
use crate::tfsec::Tfsec;
use crate::tool::{Bench, Tool};
use crate::trivy::Trivy;

/// The scanners of this machine. Cheap to clone.
#[derive(Clone)]
pub struct Scanners {
    found: Vec<Arc<dyn Scanner>>,
    missing: Vec<(ScannerName, String)>,
    parallel: usize,
}

impl fmt::Debug for Scanners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scanners({self})")
    }
}

/// For people: what is there, and what is not and why.
#[async_trait]
impl Scan for Scanners {
    async fn scan_all(
        &self,
        settings: &ScanSettings,
        run: &dyn Run,
        input: &ScanInput,
    ) -> Vec<ScanOutcome> {
        let scans = settings.scanners.iter().map(|wanted| async move {
            let Some(scanner) = self.get(wanted.name) else {
                let status = ScanStatus::Missing { why: self.why_missing(wanted.name) };
                return ScanOutcome::without(wanted.name, status);
            };
            let own = Duration::from_secs(wanted.time_limit_s.into());
            let input = ScanInput { time_limit: own.min(input.time_limit), ..input.clone() };
            scanner.scan(run, &input).await
        });
        // Boxed: a stream of borrowed futures is too much for the compiler to see through.
        let scans: Vec<futures::future::BoxFuture<'_, ScanOutcome>> =
            scans.map(|scan| Box::pin(scan) as _).collect();
        futures::stream::iter(scans).buffered(self.parallel).collect().await
    }
}

impl fmt::Display for Scanners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found: Vec<String> = self
            .installed()
            .map(|(name, version)| format!("{name} {}", version.unwrap_or("of unknown version")))
            .collect();
        f.write_str(if found.is_empty() { "none" } else { "" })?;
        f.write_str(&found.join(", "))?;
        for (_, why) in &self.missing {
            write!(f, "; {why}")?;
        }
        Ok(())
    }
}

impl Scanners {
    /// Looks for the scanners and asks their versions, once. Writes nothing. One that is not there
    /// is no error: the gate says what that comes to.
    pub async fn discover(options: Options) -> Self {
        Self::discover_with(options, Arc::new(SystemClock)).await
    }

    /// Like [`Scanners::discover`], with a clock of the caller's.
    pub async fn discover_with(options: Options, clock: Arc<dyn Clock>) -> Self {
        let bench = Arc::new(Bench::new(&options, clock));
        let looks = options.scanners.iter().map(|choice| look(&bench, &options, choice));
        let mut found: Vec<Arc<dyn Scanner>> = Vec::new();
        let mut missing = Vec::new();
        for (choice, result) in options.scanners.iter().zip(futures::future::join_all(looks).await)
        {
            match result {
                // The first of several is taken.
                Ok(scanner) if found.iter().all(|other| other.name() != choice.name) => {
                    found.push(scanner);
                }
                Ok(_) => {}
                Err(why) => missing.push((choice.name, why)),
            }
        }
        Self { found, missing, parallel: options.parallel.max(1) }
    }

    /// Those that are there, with their versions.
    pub fn installed(&self) -> impl Iterator<Item = (ScannerName, Option<&str>)> {
        self.found.iter().map(|scanner| (scanner.name(), scanner.version()))
    }

    /// One of them.
    pub fn get(&self, name: ScannerName) -> Option<&dyn Scanner> {
        self.found.iter().find(|scanner| scanner.name() == name).map(AsRef::as_ref)
    }

    fn why_missing(&self, name: ScannerName) -> String {
        let known = self.missing.iter().find(|(missing, _)| *missing == name);
        known.map_or_else(|| format!("{name} is not set up on this worker"), |(_, why)| why.clone())
    }
}

async fn look(
    bench: &Arc<Bench>,
    options: &Options,
    choice: &Choice,
) -> Result<Arc<dyn Scanner>, String> {
    let tool = || Tool::find(bench.clone(), choice);
    Ok(match choice.name {
        ScannerName::Checkov => Arc::new(Checkov::new(tool().await?)),
        ScannerName::Tfsec => Arc::new(Tfsec::new(tool().await?)),
        ScannerName::Trivy => Arc::new(Trivy::new(tool().await?)),
        ScannerName::Conftest => {
            Arc::new(Conftest::new(tool().await?, &options.conftest_policies)?)
        }
    })
}
