//! Lays the functions of the executable out in an order, when there is one: `SLIPWAY_FUNCTION_ORDER`
//! is a file that `app/link/fit` has made, with a mangled name a line. `./release` does both.
//!
//! What runs is a fifth of what is linked, and it is spread over all of it; the kernel maps the
//! neighbours of what it maps, so two thirds become resident. Only lld can do it, which is what rustc
//! links with on x86-64 Linux.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SLIPWAY_FUNCTION_ORDER");
    let Some(order) = std::env::var_os("SLIPWAY_FUNCTION_ORDER").map(PathBuf::from) else { return };
    let order = order.display();
    println!("cargo::rerun-if-changed={order}");
    // Two megabytes of relocations, which every start reads, in twenty kilobytes; since glibc 2.36.
    println!("cargo::rustc-link-arg-bin=slipway=-Wl,-z,pack-relative-relocs");
    // What is in the file and not in the executable is no fault.
    println!("cargo::rustc-link-arg-bin=slipway=-Wl,--no-warn-symbol-ordering");
    println!("cargo::rustc-link-arg-bin=slipway=-Wl,--symbol-ordering-file={order}");
}
