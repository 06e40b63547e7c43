//! The ground truth: what the stack `thirty` wrote down while it was applied.

use std::collections::BTreeMap;
use std::path::Path;

/// What one ledger entry of one deployment did, by how many runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) starts: usize,
    pub(super) ends: usize,
}

/// Entries of one deployment, by address.
pub(super) type Entries = BTreeMap<String, Entry>;

/// Reads what a deployment wrote.
pub(super) fn read(ledger: &Path, deployment: &str) -> Entries {
    let text = std::fs::read_to_string(ledger).unwrap_or_default();
    let mut entries = Entries::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [of, _run, index, _pid, what, _ns] = fields.as_slice() else {
            panic!("a line of the ledger is {line:?}");
        };
        if *of != deployment {
            continue;
        }
        let (row, number) = index.split_once('-').unwrap();
        let entry = entries.entry(format!("terraform_data.{row}[{number}]")).or_default();
        match *what {
            "start" => entry.starts += 1,
            "end" => entry.ends += 1,
            other => panic!("{other:?} in the ledger"),
        }
    }
    entries
}

/// Takes what is in doubt out of the world, as a careful person does who finds it half made: the
/// lines of one entry go.
pub(super) fn remove(ledger: &Path, deployment: &str, address: &str) {
    let index = address
        .trim_start_matches("terraform_data.")
        .replace('[', "-")
        .trim_end_matches(']')
        .to_owned();
    let text = std::fs::read_to_string(ledger).unwrap();
    let gone = |line: &&str| {
        let mut fields = line.split(' ');
        fields.next() != Some(deployment) || fields.nth(1) != Some(index.as_str())
    };
    let left: String = text.lines().filter(gone).map(|line| format!("{line}\n")).collect();
    std::fs::write(ledger, left).unwrap();
}
