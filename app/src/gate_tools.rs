//! The tools that gates ask: the scanners and infracost, looked for when they are first wanted.

use async_trait::async_trait;
use slipway_client_scanners::{
    Choice, Infracost, InfracostOptions, Options as ScanOptions, Scanners,
};
use slipway_config::Config;
use slipway_domain::fault::Fault;
use slipway_domain::port::driver::Run;
use slipway_domain::port::estimator::{Estimate, EstimateInput, Estimated};
use slipway_domain::port::scanner::{Scan, ScanInput};
use slipway_domain::scan::{RuleBook, ScanOutcome, ScanSettings, ScannerName};
use slipway_driver_terraform::Guard as RunGuard;
use slipway_services::{Ctx, policy};
use tokio::sync::OnceCell;

use crate::wire::source_limits;

/// The scanners of this machine, with our rules as they are when the first scan is wanted. Each is
/// looked for when it is wanted itself: some take seconds to tell their version, and a worker whose
/// gates ask none of them never starts one.
pub(crate) struct LateScanners {
    config: Config,
    cx: Ctx,
    found: OnceCell<Scanners>,
}

impl LateScanners {
    pub(crate) fn new(config: &Config, cx: &Ctx) -> Self {
        Self { config: config.clone(), cx: cx.clone(), found: OnceCell::new() }
    }

    async fn found(&self) -> Result<&Scanners, Fault> {
        let look = async || {
            let rules = policy::rule_book(&self.cx).await?;
            Ok(Scanners::new(scan_options(&self.config, rules)))
        };
        self.found.get_or_try_init(look).await
    }
}

#[async_trait]
impl Scan for LateScanners {
    async fn scan_all(
        &self,
        settings: &ScanSettings,
        run: &dyn Run,
        input: &ScanInput,
    ) -> Vec<ScanOutcome> {
        match self.found().await {
            Ok(scanners) => scanners.scan_all(settings, run, input).await,
            Err(fault) => {
                tracing::error!(%fault, cause = fault.causes(), "nothing was scanned");
                // The gate finds nobody who answered.
                Vec::new()
            }
        }
    }
}

/// Finds the scanners of this machine; none is no error.
pub(crate) async fn scanners(config: &Config) -> Scanners {
    Scanners::discover(scan_options(config, RuleBook::new())).await
}

/// `rules` says which of their checks are ours.
fn scan_options(config: &Config, rules: RuleBook) -> ScanOptions {
    let scan = &config.scan;
    let mut choices: Vec<Choice> = scan.tools.iter().cloned().filter_map(Choice::at).collect();
    for name in ScannerName::ALL {
        if choices.iter().all(|choice| choice.name != name) {
            choices.push(Choice::on_path(name));
        }
    }
    ScanOptions {
        scanners: choices,
        env_allow: scan.env_allow.clone(),
        conftest_policies: scan.conftest_policies.clone(),
        guard: RunGuard::This,
        limits: source_limits(config),
        parallel: scan.parallel,
        rules,
    }
}

/// infracost, looked for when it is first wanted: a worker whose gates do not ask it never starts it.
pub(crate) struct LateInfracost {
    config: Config,
    found: OnceCell<Infracost>,
}

impl LateInfracost {
    pub(crate) fn new(config: &Config) -> Self {
        Self { config: config.clone(), found: OnceCell::new() }
    }
}

#[async_trait]
impl Estimate for LateInfracost {
    async fn estimate(&self, run: &dyn Run, input: &EstimateInput) -> Estimated {
        let look = async || {
            let found = infracost(&self.config).await;
            // That it is not there, or did not answer in time, may be otherwise the next time.
            if found.is_installed() { Ok(found) } else { Err(found) }
        };
        match self.found.get_or_try_init(look).await {
            Ok(found) => found.estimate(run, input).await,
            Err(missing) => missing.estimate(run, input).await,
        }
    }
}

/// Finds infracost on this machine; that it is not there is no error.
pub(crate) async fn infracost(config: &Config) -> Infracost {
    let options = InfracostOptions {
        program: config.cost.infracost.clone(),
        guard: RunGuard::This,
        ..InfracostOptions::default()
    };
    Infracost::discover(options).await
}
