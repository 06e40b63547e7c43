//! `slipway-bench`: measures the real executable, beside a peer in the same run where there is one.
//!
//! A benchmark is a module with a `run` that prints figures; [`figure`] is the only thing that
//! writes to standard output. No rule of the product is repeated here: it is driven through its
//! HTTP doors, as its users do.

mod bare;
mod figure;
mod load;
mod machine;
mod plan_overhead;
mod sample;
mod server;
mod settings;
mod submit;

use std::process::ExitCode;

use settings::Settings;

/// Every benchmark, by the name that `./bench` takes.
const NAMES: [&str; 2] = [plan_overhead::NAME, submit::NAME];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => {
            for name in NAMES {
                println!("{name}");
            }
            return ExitCode::SUCCESS;
        }
        [name] if NAMES.contains(&name) => name,
        _ => {
            eprintln!("usage: slipway-bench --list | NAME\nbenchmarks: {}", NAMES.join(", "));
            return ExitCode::from(2);
        }
    };
    match run(name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slipway-bench {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str) -> anyhow::Result<()> {
    // One TLS stack for every crate that asks; it fails only when it was chosen before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = Settings::read()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match name {
            plan_overhead::NAME => plan_overhead::run(&settings).await,
            _ => submit::run(&settings).await,
        }
    })
}
