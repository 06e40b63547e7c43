//! `slipway-bench`: measures the real executable, beside a peer in the same run where there is one.
//!
//! A benchmark is a module with a `run` that prints figures; [`figure`] is the only thing that
//! writes to standard output. No rule of the product is repeated here: it is driven through its
//! HTTP doors, as its users do.

mod auth;
mod bare;
mod config_resolve;
mod figure;
mod gates;
mod load;
mod machine;
mod plan_overhead;
mod queue;
mod sample;
mod server;
mod settings;
mod submit;
#[path = "../../app/src/wire.rs"]
#[expect(dead_code, reason = "the product's own wiring, of which a worker needs a part")]
mod wire;
#[path = "../../app/src/work_dir.rs"]
mod work_dir;

use std::process::ExitCode;

use settings::Settings;

/// Every benchmark, by the name that `./bench` takes.
const NAMES: [&str; 6] =
    [auth::NAME, config_resolve::NAME, gates::NAME, plan_overhead::NAME, queue::NAME, submit::NAME];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => {
            for name in NAMES {
                println!("{name}");
            }
            return ExitCode::SUCCESS;
        }
        // Not for people: a worker that the benchmark of the queue starts.
        ["--worker", starts] => return done("worker", queue::worker::run(starts.as_ref())),
        [name] if NAMES.contains(&name) => name,
        _ => {
            eprintln!("usage: slipway-bench --list | NAME\nbenchmarks: {}", NAMES.join(", "));
            return ExitCode::from(2);
        }
    };
    done(name, run(name))
}

fn done(name: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
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
            auth::NAME => auth::run(&settings).await,
            config_resolve::NAME => config_resolve::run(&settings).await,
            gates::NAME => gates::run(&settings).await,
            plan_overhead::NAME => plan_overhead::run(&settings).await,
            queue::NAME => queue::run(&settings).await,
            _ => submit::run(&settings).await,
        }
    })
}
