//! Small commands for operators.

use slipway_config::Config;
use slipway_store::crypto::Keyring;

use crate::wire;

/// Brings the schema up to date.
pub(crate) async fn migrate(config: &Config) -> anyhow::Result<()> {
    let store = wire::store(config).await?;
    store.close().await;
    println!("The {} schema is up to date.", store.engine());
    Ok(())
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

/// Prints a new key ring.
pub(crate) fn generate_key() -> anyhow::Result<()> {
    println!("{}", *Keyring::generate()?);
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
    say("tool", driver.map(|d| d.tool().to_string()).map_err(|e| format!("{e:#}")));
    let store = wire::store(config).await;
    let opened = match store {
        Ok(store) => {
            let ping = store.ping().await.map_err(|e| e.to_string());
            store.close().await;
            ping.map(|()| format!("{} answers", store.engine()))
        }
        Err(error) => Err(format!("{error:#}")),
    };
    say("database", opened);
    let writable = std::fs::create_dir_all(&config.data_dir)
        .map(|()| format!("{} can be written", config.data_dir.display()))
        .map_err(|e| format!("{}: {e}", config.data_dir.display()));
    say("data_dir", writable);
    anyhow::ensure!(missing == 0, "{missing} of the things above need attention");
    Ok(())
}
