//! What is left of an apply in the directory of a worker that died: what its tool said, and the
//! last state. Reads what a process left that was killed at any moment: any part of it may be
//! missing, cut off, or be somebody else's.

use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use slipway_domain::port::driver::{DriverError, Salvage, StateBlob};
use slipway_domain::recovery::JournalEntry;

use crate::workspace::{Workspace, trouble, write_private};
use crate::{state, stream};

const FORMAT: u32 = 1;
/// Longest note, in bytes.
const MAX_NOTE_BYTES: u64 = 64 << 10;
/// Largest state that is read, in bytes.
const MAX_STATE_BYTES: u64 = 512 << 20;
/// Most entries of a journal. A part of one is worth nothing.
const MAX_ENTRIES: usize = 2_000_000;

/// What the directory does not say by itself.
#[derive(Serialize, Deserialize)]
struct Note {
    format: u32,
    /// The root module's directory in the source tree.
    root: String,
    /// The path of the state file from there; none when the configuration's own backend keeps it.
    state: Option<String>,
}

/// Says in a workspace where the state of its apply is. Blocking.
pub(crate) fn leave_note(workspace: &Workspace, state: Option<&str>) -> Result<(), DriverError> {
    let root = workspace.root().to_owned();
    let note = Note { format: FORMAT, root, state: state.map(str::to_owned) };
    let note = serde_json::to_vec(&note).map_err(|error| trouble(error.into()))?;
    write_private(&workspace.note(), &note)
}

/// See [`slipway_domain::port::driver::Driver::salvage`].
pub(crate) fn salvage(dir: &Path) -> Salvage {
    let Ok(top) = Workspace::new(dir, None) else { return Salvage::default() };
    let journal = match journal(&top.tape()) {
        Ok(journal) => Some(journal),
        Err(error) => {
            tracing::info!(%error, "no journal was found of a run that died");
            None
        }
    };
    Salvage { journal, state: newest_state(dir, &top) }
}

fn journal(tape: &Path) -> io::Result<Vec<JournalEntry>> {
    let mut entries = Vec::new();
    let mut more = false;
    slipway_process::replay(tape, |line| match stream::entry(line) {
        Some(entry) if entries.len() < MAX_ENTRIES => entries.push(entry),
        Some(_) => more = true,
        None => {}
    })?;
    if more {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has too many entries"));
    }
    Ok(entries)
}

fn newest_state(dir: &Path, top: &Workspace) -> Option<StateBlob> {
    let note: Note = serde_json::from_slice(&bounded(&top.note(), MAX_NOTE_BYTES)?).ok()?;
    let path = note
        .state
        .filter(|path| note.format == FORMAT && slipway_domain::source::is_inner_path(path))?;
    let workspace = Workspace::new(dir, Some(&note.root)).ok()?;
    // Of two of the same version the last is taken: the state file itself.
    let files = [
        workspace.state_file(&format!("{path}.backup")),
        workspace.errored_state(),
        workspace.state_file(&path),
    ];
    let readable = files.iter().filter_map(|file| {
        let (_, blob) = state::blob(Bytes::from(bounded(file, MAX_STATE_BYTES)?))?;
        Some(blob)
    });
    readable.max_by_key(|blob| blob.mark.serial)
}

/// A file that is not larger than it may be.
fn bounded(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    slipway_process::open_plain(path).ok()?.take(limit + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= limit).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(serial: i64) -> String {
        format!(r#"{{"version":4,"lineage":"l","serial":{serial},"resources":[]}}"#)
    }

    fn start(address: &str) -> String {
        format!(
            r#"{{"type":"apply_start","hook":{{"resource":{{"addr":"{address}"}},"action":"create"}}}}"#
        )
    }

    fn serial(dir: &Path) -> Option<i64> {
        salvage(dir).state.map(|state| state.mark.serial)
    }

    #[test]
    fn the_newest_readable_state_is_found_where_the_note_says() {
        let dir = tempfile::tempdir().unwrap();
        let ws = Workspace::new(dir.path(), Some("env/prod")).unwrap();
        assert_eq!(serial(dir.path()), None);
        leave_note(&ws, Some("deep/x.tfstate")).unwrap();
        assert_eq!(serial(dir.path()), None);
        write_private(&ws.state_file("deep/x.tfstate.backup"), state(2).as_bytes()).unwrap();
        assert_eq!(serial(dir.path()), Some(2));
        write_private(&ws.state_file("deep/x.tfstate"), state(5).as_bytes()).unwrap();
        assert_eq!(serial(dir.path()), Some(5));
        write_private(&ws.errored_state(), state(7).as_bytes()).unwrap();
        assert_eq!(serial(dir.path()), Some(7));
        // Cut off in the middle, as a state that is written in place is.
        write_private(&ws.errored_state(), &state(7).as_bytes()[..20]).unwrap();
        write_private(&ws.state_file("deep/x.tfstate"), b"").unwrap();
        assert_eq!(serial(dir.path()), Some(2));
        for note in [
            "",
            "{}",
            "[]",
            "\u{0}",
            r#"{"format":2,"root":"env/prod","state":"deep/x.tfstate"}"#,
            r#"{"format":1,"root":"../x","state":"deep/x.tfstate"}"#,
            r#"{"format":1,"root":"env/prod","state":"../../x"}"#,
            r#"{"format":1,"root":"env/prod","state":null}"#,
        ] {
            write_private(&ws.note(), note.as_bytes()).unwrap();
            assert_eq!(serial(dir.path()), None, "{note}");
        }
    }

    #[test]
    fn the_journal_is_whole_or_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(salvage(dir.path()).journal.is_none());
        assert!(salvage(Path::new("/nonexistent/dir")).journal.is_none());
        let ws = Workspace::new(dir.path(), None).unwrap();
        write_private(&ws.tape(), b"").unwrap();
        assert_eq!(salvage(dir.path()).journal.unwrap(), [], "nothing was begun");
        let whole = start("t.a");
        let text = format!("{whole}\nnonsense\n{{}}\n{}\n{}", start("t.b"), &whole[..40]);
        write_private(&ws.tape(), text.as_bytes()).unwrap();
        let journal = salvage(dir.path()).journal.unwrap();
        let addresses: Vec<_> = journal.iter().map(|entry| entry.address.as_str()).collect();
        assert_eq!(addresses, ["t.a", "t.b"]);
        let garbage: Vec<u8> = (0..100_000u32).flat_map(|i| (i * 7919).to_be_bytes()).collect();
        for name in [ws.tape(), ws.note(), ws.state_file("terraform.tfstate")] {
            std::fs::create_dir_all(name.parent().unwrap()).unwrap();
            std::fs::write(name, &garbage).unwrap();
        }
        let found = salvage(dir.path());
        assert_eq!((found.journal.unwrap().len(), found.state), (0, None));
    }
}
