//! Small commands for operators.

use std::path::Path;
use std::process::ExitCode;

use slipway_app::cli::AuditVerifyArgs;
use slipway_app::client::{Exit, read_checkpoints, view};
use slipway_config::Config;
use slipway_services::audit;

use crate::{gate_tools, server, wire};

/// Brings the schema up to date.
pub(crate) async fn migrate(config: &Config) -> anyhow::Result<()> {
    let store = wire::store(config).await?;
    store.close().await;
    println!("The {} schema is up to date.", store.engine());
    Ok(())
}

/// Verifies the audit log of a database: `slipway audit verify --database`.
pub(crate) async fn verify_audit(args: AuditVerifyArgs, json: bool) -> ExitCode {
    let looked = async {
        let kept = match &args.checkpoints {
            None => Vec::new(),
            Some(path) => read_checkpoints(path)?,
        };
        let config = server::operator_config(args.config.clone(), args.data_dir.clone())?;
        let store = wire::store(&config).await?;
        let verdict = audit::verify_all(&store, &kept).await;
        store.close().await;
        Ok::<_, anyhow::Error>(verdict?)
    };
    let verdict = match looked.await {
        Ok(verdict) => verdict,
        Err(error) => {
            eprintln!("slipway: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    match serde_json::to_string_pretty(&verdict) {
        Ok(text) if json => println!("{text}"),
        _ => print!("{}", view::verdict(&verdict)),
    }
    if verdict.intact { Exit::Success.into() } else { Exit::Failed.into() }
}

/// Prints the OpenAPI document.
pub(crate) fn openapi() -> anyhow::Result<()> {
    println!("{}", slipway_api::openapi().to_pretty_json()?);
    Ok(())
}

/// Prints the configuration's schema.
pub(crate) fn schema() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&slipway_config::json_schema())?);
    Ok(())
}

/// Says what is there and what is missing; fails when something is.
pub(crate) async fn doctor(config: &Config) -> anyhow::Result<()> {
    let mut missing = 0;
    let mut say = |name: &str, found: Result<String, String>| match found {
        Ok(what) => println!("ok       {name}: {what}"),
        Err(why) => {
            missing += 1;
            println!("missing  {name}: {why}");
        }
    };
    let driver = wire::driver(config).await;
    say("tool", driver.map(|d| tools(&d)).map_err(|e| format!("{e:#}")));
    // Whether one must be there is up to the gates of a project.
    say("scanners", Ok(gate_tools::scanners(config).await.to_string()));
    say("infracost", Ok(gate_tools::infracost(config).await.to_string()));
    say("database", wire::look(config).await.map_err(|error| format!("{error:#}")));
    say("data_dir", writable(&config.data_dir));
    anyhow::ensure!(missing == 0, "{missing} of the things above need attention");
    Ok(())
}

/// What there is, the default first.
fn tools(driver: &slipway_driver_terraform::Terraform) -> String {
    driver.tools().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether files can be made in a directory, or where it would be made. Leaves nothing behind.
fn writable(dir: &Path) -> Result<String, String> {
    let there = dir.ancestors().find(|part| part.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let tried = tempfile::tempfile_in(there);
    tried
        .map(|_| format!("{} can be written", dir.display()))
        .map_err(|error| format!("{}: {error}", there.display()))
}
