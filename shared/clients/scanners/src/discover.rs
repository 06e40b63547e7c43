//! Which scanners are there, and asking several of them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use slipway_domain::clock::{Clock, SystemClock};
use slipway_domain::port::driver::Run;
use slipway_domain::port::scanner::{Scan, ScanInput, Scanner};
use slipway_domain::scan::{ScanOutcome, ScanSettings, ScanStatus, ScannerName};
use tokio::sync::OnceCell;

use crate::checkov::Checkov;
use crate::conftest::Conftest;
use crate::options::{Choice, Options};
use crate::tfsec::Tfsec;
use crate::tool::{Bench, Tool};
use crate::trivy::Trivy;

/// The scanners of this machine, each looked for when it is wanted first; one that is not there is
/// looked for again the next time, since it may have been installed meanwhile. Cheap to clone.
#[derive(Clone)]
pub struct Scanners {
    places: Arc<[Place]>,
    options: Arc<Options>,
    bench: Arc<Bench>,
}

/// Where a scanner may be.
struct Place {
    choice: Choice,
    found: OnceCell<Arc<dyn Scanner>>,
    /// Why it was not there when it was looked for last.
    missing: Mutex<Option<String>>,
}

impl Place {
    fn missing(&self) -> MutexGuard<'_, Option<String>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Scanners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scanners({self})")
    }
}

#[async_trait]
impl Scan for Scanners {
    async fn scan_all(
        &self,
        settings: &ScanSettings,
        run: &dyn Run,
        input: &ScanInput,
    ) -> Vec<ScanOutcome> {
        let scans = settings.scanners.iter().map(|wanted| async move {
            let scanner = match self.find(wanted.name).await {
                Ok(scanner) => scanner,
                Err(why) => {
                    return ScanOutcome::without(wanted.name, ScanStatus::Missing { why });
                }
            };
            let own = Duration::from_secs(wanted.time_limit_s.into());
            let input = ScanInput { time_limit: own.min(input.time_limit), ..input.clone() };
            scanner.scan(run, &input).await
        });
        // Boxed: a stream of borrowed futures is too much for the compiler to see through.
        let scans: Vec<futures::future::BoxFuture<'_, ScanOutcome>> =
            scans.map(|scan| Box::pin(scan) as _).collect();
        futures::stream::iter(scans).buffered(self.options.parallel.max(1)).collect().await
    }
}

/// For people: which have been found, and which not and why.
impl fmt::Display for Scanners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found: Vec<String> = self
            .installed()
            .map(|(name, version)| format!("{name} {}", version.unwrap_or("of unknown version")))
            .collect();
        f.write_str(if found.is_empty() { "none" } else { "" })?;
        f.write_str(&found.join(", "))?;
        for place in self.places.iter() {
            if let Some(why) = &*place.missing() {
                write!(f, "; {why}")?;
            }
        }
        Ok(())
    }
}

impl Scanners {
    /// The scanners that these options name. Nothing is looked for yet.
    pub fn new(options: Options) -> Self {
        Self::new_with(options, Arc::new(SystemClock))
    }

    /// Like [`Scanners::new`], with a clock of the caller's.
    pub fn new_with(options: Options, clock: Arc<dyn Clock>) -> Self {
        let bench = Arc::new(Bench::new(&options, clock));
        let place = |choice: &Choice| Place {
            choice: choice.clone(),
            found: OnceCell::new(),
            missing: Mutex::default(),
        };
        let places = options.scanners.iter().map(place).collect();
        Self { places, options: Arc::new(options), bench }
    }

    /// Looks for all of them, and asks their versions. Writes nothing. One that is not there is no
    /// error: the gate says what that comes to.
    pub async fn discover(options: Options) -> Self {
        let scanners = Self::new(options);
        let names = ScannerName::ALL.iter().map(|name| scanners.find(*name));
        futures::future::join_all(names).await;
        scanners
    }

    /// Those that have been found, with their versions.
    pub fn installed(&self) -> impl Iterator<Item = (ScannerName, Option<&str>)> {
        let found = self.places.iter().filter_map(|place| place.found.get());
        found.map(|scanner| (scanner.name(), scanner.version()))
    }

    /// One of them, if it has been found.
    pub fn get(&self, name: ScannerName) -> Option<&dyn Scanner> {
        let mut found = self.places.iter().filter_map(|place| place.found.get());
        found.find(|scanner| scanner.name() == name).map(AsRef::as_ref)
    }

    /// One of them, in the first place where it is. The error says why it is in none.
    async fn find(&self, name: ScannerName) -> Result<&dyn Scanner, String> {
        let mut why = None;
        for place in self.places.iter().filter(|place| place.choice.name == name) {
            let look = || look(&self.bench, &self.options, &place.choice);
            let found = place.found.get_or_try_init(look).await;
            *place.missing() = found.as_ref().err().cloned();
            match found {
                Ok(scanner) => return Ok(scanner.as_ref()),
                Err(missing) => why = why.or(Some(missing)),
            }
        }
        Err(why.unwrap_or_else(|| format!("{name} is not set up on this worker")))
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
