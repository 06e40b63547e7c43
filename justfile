# `just --list` shows these. Each is a command that works without `just`, too.

# What CI runs.
default: test

# Formats Rust and Terraform.
fmt:
    cargo fmt --all
    find examples tests/rig/stacks -name '*.tf' -not -path '*/broken-hcl/*' -exec terraform fmt {} +

# The static checks.
lint:
    ./test lint

# Runs the tests, or some: `just test store journeys`.
test *suites:
    ./test {{suites}}

# Writes the generated documents (docs/openapi.json and others) anew; look at them with `git diff`.
gen:
    SLIPWAY_TEST_UPDATE_SNAPSHOTS=1 ./test unit api docs
    git status --short

# Runs benchmarks on a release build: `just bench plan_overhead`.
bench *names:
    ./bench {{names}}

# The product with a sample deployment, on http://127.0.0.1:8000.
demo:
    cargo run --release --bin slipway -- demo
