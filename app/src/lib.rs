//! The parts of the executable `slipway`. They are a library so that the sample run and the
//! journeys in `tests/` use the same client as the command line does.

pub mod cli;
pub mod client;
pub mod secret_input;

/// Where all memory comes from, in whatever links this crate. glibc's own keeps what is larger than a
/// kilobyte, as most futures of a request are, in no cache of the thread, and splits and joins it each
/// time. Elsewhere than on x86-64 Linux it is the platform's own, which was not measured.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
