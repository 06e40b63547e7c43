//! Docs say what the code does: generated pages are up to date, every code has its section, and
//! what the README tells to run runs.

use std::fmt::Write as _;

use slipway_domain::fault::Code;
use slipway_domain::state::{DeploymentState, Move};

use crate::harness::{command, repository};

/// The page of states, drawn from the table.
fn states_page() -> String {
    let mut page = "# States of a deployment\n\nDrawn from `DeploymentState::next` \
                    (`shared/domain/src/state.rs`) by a test; do not edit. Refresh it with \
                    `SLIPWAY_TEST_UPDATE_SNAPSHOTS=1 ./test docs`.\n\n"
        .to_owned();
    page.push_str("| state | move | next state |\n| --- | --- | --- |\n");
    for state in DeploymentState::ALL {
        let exits: Vec<_> =
            Move::ALL.iter().filter_map(|by| state.next(*by).ok().map(|to| (by, to))).collect();
        if exits.is_empty() {
            let _ = writeln!(page, "| **{state}** | | (the end) |");
        }
        for (i, (by, to)) in exits.iter().enumerate() {
            let name = if i == 0 { format!("**{state}**") } else { String::new() };
            let _ = writeln!(page, "| {name} | {by} | {to} |");
        }
    }
    page
}

#[test]
fn the_page_of_states_is_up_to_date() {
    let path = repository().join("docs/STATES.md");
    let page = states_page();
    if std::env::var_os("SLIPWAY_TEST_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page, "refresh docs/STATES.md");
}

#[test]
fn every_error_code_has_its_section_and_no_section_is_left_over() {
    let page = std::fs::read_to_string(repository().join("docs/ERRORS.md")).unwrap();
    let sections: Vec<_> = page.lines().filter_map(|l| l.strip_prefix("## ")).collect();
    let codes: Vec<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(sections, codes, "docs/ERRORS.md has one section a code, in the code's order");
}

/// Every `slipway …` command in the README and the docs is one that the executable knows.
#[test]
fn commands_in_the_docs_exist() {
    let mut pages = vec![repository().join("README.md"), repository().join("ARCHITECTURE.md")];
    for item in std::fs::read_dir(repository().join("docs")).unwrap() {
        let path = item.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            pages.push(path);
        }
    }
    let mut checked = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut fenced = false;
        for line in text.lines() {
            if line.starts_with("```") {
                fenced = !fenced;
                continue;
            }
            let line = line.trim_start_matches("$ ").trim();
            let Some(rest) = line.strip_prefix("slipway ").filter(|_| fenced) else { continue };
            let words: Vec<_> = rest.split_whitespace().take_while(|w| *w != "#").collect();
            let Some(verb) = words.first() else { continue };
            let known = command().args([verb, "--help"]).output().unwrap();
            assert!(known.status.success(), "{}: `slipway {verb}` is unknown", page.display());
            let help = String::from_utf8_lossy(&known.stdout).into_owned();
            for flag in words.iter().filter(|w| w.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                assert!(help.contains(flag), "{}: `slipway {verb}` has no {flag}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} commands were found in the docs");
}

/// Nothing that depends on ring or OpenSSL: one TLS stack.
#[test]
fn there_is_one_tls_stack() {
    let lock = std::fs::read_to_string(repository().join("Cargo.lock")).unwrap();
    for name in ["openssl", "openssl-sys", "native-tls", "serde_yaml"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} is in Cargo.lock");
    }
}
