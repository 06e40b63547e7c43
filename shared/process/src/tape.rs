//! The file that the stream of an apply is written to. The tool writes it by itself, so what it has
//! said is there whoever is killed; this process reads along, and whoever comes later reads it from
//! the beginning.
//!
//! It does not grow for ever: what was read long ago is given back to the disk, after the few lines
//! of it that matter were written to a second file beside it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::run::MAX_LINE_BYTES;

/// So much of what was read is kept as it is.
const KEEP_BYTES: u64 = 64 << 20;
/// So much is given back at a time.
const STEP_BYTES: u64 = 4 << 20;
/// How long to wait when there is nothing new: at first, and at most. It doubles.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(8);
/// A longer file is not read again: more than any apply says, and its worker may have been frozen.
const MAX_REPLAY_BYTES: u64 = 1 << 30;

/// Picks the lines that matter for ever.
pub type Keep = fn(&str) -> bool;

/// Ends a block of lines in the second file: what of the first it stands for.
#[derive(Serialize, Deserialize)]
struct Mark {
    slipway_kept_up_to: u64,
}

/// Reads a stream that is being written.
#[derive(Debug)]
pub struct Tape {
    path: PathBuf,
    file: File,
    /// Up to here it was read.
    at: u64,
    /// Up to here it was given back.
    released: u64,
    keep: Keep,
    keep_bytes: u64,
    pause: Duration,
    /// Nothing more will be written.
    ended: bool,
    heard: watch::Sender<u64>,
}

impl Tape {
    /// Of a file that nobody else may read. It may be there already, and empty.
    pub fn new(path: &Path, keep: Keep) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Ok(Self {
            path: path.to_path_buf(),
            file: file.open(path)?,
            at: 0,
            released: 0,
            keep,
            keep_bytes: KEEP_BYTES,
            pause: PAUSE,
            ended: false,
            heard: watch::Sender::new(0),
        })
    }

    /// The end that the tool writes to.
    pub fn writer(&self) -> io::Result<File> {
        OpenOptions::new().append(true).open(&self.path)
    }

    /// How far it was heard.
    pub fn heard(&self) -> Heard {
        Heard { path: self.path.clone(), at: self.heard.subscribe() }
    }

    /// Nothing more will be written.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Reads what is new, and waits for it. `0`: there will be nothing more. May be given up at any
    /// time.
    pub async fn read(&mut self, into: &mut BytesMut, chunk: usize) -> io::Result<usize> {
        loop {
            // There may always be something new: let others have their turn.
            tokio::task::consume_budget().await;
            let old = into.len();
            into.resize(old + chunk, 0);
            let read = self.file.read_at(&mut into[old..], self.at);
            into.truncate(old + read.as_ref().map_or(0, |n| *n));
            match read {
                Ok(n) if n > 0 => {
                    self.at += n as u64;
                    self.pause = PAUSE;
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) if self.ended => return Ok(0),
                Ok(_) => {
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Everything that was read has been heard.
    pub fn told(&mut self) {
        self.heard.send_replace(self.at);
        if self.at - self.released >= self.keep_bytes + STEP_BYTES
            && let Err(error) = self.release()
        {
            tracing::warn!(%error, "the stream of an apply could not be shortened");
        }
    }

    /// Gives the oldest part back to the disk.
    fn release(&mut self) -> io::Result<()> {
        let mut part = vec![0; usize::try_from(STEP_BYTES).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut part, self.released)?;
        // Whole lines; of one that is longer than this, nothing is kept.
        let end = part.iter().rposition(|byte| *byte == b'\n').map_or(part.len(), |at| at + 1);
        let to = self.released + end as u64;
        let mut kept = Vec::new();
        for line in part[..end].split_inclusive(|byte| *byte == b'\n') {
            if std::str::from_utf8(line).is_ok_and(|line| (self.keep)(line.trim_end())) {
                kept.extend_from_slice(line);
            }
        }
        let mark = serde_json::to_vec(&Mark { slipway_kept_up_to: to })?;
        kept.extend_from_slice(&mark);
        kept.push(b'\n');
        let mut beside = OpenOptions::new();
        beside
            .append(true)
            .create(true)
            .mode(0o600)
            .open(beside_of(&self.path))?
            .write_all(&kept)?;
        punch(&self.file, self.released, to - self.released);
        self.released = to;
        Ok(())
    }
}

/// How far a stream was heard by its worker.
#[derive(Debug, Clone)]
pub struct Heard {
    path: PathBuf,
    at: watch::Receiver<u64>,
}

impl Heard {
    /// Waits until all was heard that was written by now.
    pub async fn all(&mut self) {
        if let Ok(written) = std::fs::metadata(&self.path) {
            // When nobody reads along any more, it was read to its end.
            let _ = self.at.wait_for(|at| *at >= written.len()).await;
        }
    }
}

/// Not every file system can; then the disk is used.
#[cfg(target_os = "linux")]
fn punch(file: &File, from: u64, length: u64) {
    use rustix::fs::FallocateFlags as Flags;
    let _ = rustix::fs::fallocate(file, Flags::PUNCH_HOLE | Flags::KEEP_SIZE, from, length);
}

#[cfg(not(target_os = "linux"))]
fn punch(_: &File, _: u64, _: u64) {}

fn beside_of(path: &Path) -> PathBuf {
    path.with_extension("kept.jsonl")
}

/// Reads a stream that nobody writes to any more, from its beginning: every line that matters is
/// there, others may be missing. An error when it is not there or too long.
pub fn replay(path: &Path, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut from = 0;
    if let Ok(beside) = open_plain(&beside_of(path)) {
        // A block without its end stands for nothing: its lines are in the first file still.
        let mut block = Vec::new();
        lines(beside, |line| match serde_json::from_str::<Mark>(line) {
            Ok(mark) => {
                block.drain(..).for_each(|line: String| each(&line));
                from = mark.slipway_kept_up_to;
            }
            Err(_) => block.push(line.to_owned()),
        })?;
    }
    let mut file = open_plain(path)?;
    file.seek(SeekFrom::Start(from))?;
    lines(file, each)
}

/// Opens a regular file, and nothing that somebody put in its place.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Tells every line; what is no text or too long is passed over.
fn lines(file: File, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut reader = BufReader::new(file.take(MAX_REPLAY_BYTES));
    let mut line = Vec::new();
    let mut whole = true;
    loop {
        line.clear();
        let limit = MAX_LINE_BYTES as u64;
        if reader.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let ends = line.last() == Some(&b'\n');
        let cut = !ends && line.len() >= MAX_LINE_BYTES;
        if whole
            && !cut
            && let Ok(text) = std::str::from_utf8(&line)
        {
            each(text.trim_end());
        }
        whole = ends;
    }
    if reader.into_inner().limit() == 0 {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too long"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn keep(line: &str) -> bool {
        line.starts_with("keep")
    }

    fn replayed(path: &Path) -> Vec<String> {
        let mut found = Vec::new();
        replay(path, |line| found.push(line.to_owned())).unwrap();
        found
    }

    #[tokio::test]
    async fn it_is_read_while_it_is_written_and_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("apply.jsonl");
        let mut tape = Tape::new(&path, keep).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let (mut writer, mut heard) = (tape.writer().unwrap(), tape.heard());
        let mut buffer = BytesMut::new();
        heard.all().await;
        writer.write_all(b"one\n").unwrap();
        assert_eq!(tape.read(&mut buffer, 100).await.unwrap(), 4);
        let waits = tokio::time::timeout(Duration::from_millis(30), heard.all()).await;
        assert!(waits.is_err(), "read, and not yet heard");
        tape.told();
        heard.all().await;
        let waits = tokio::time::timeout(Duration::from_millis(30), tape.read(&mut buffer, 100));
        assert!(waits.await.is_err(), "it is not at its end");
        writer.write_all(b"two").unwrap();
        tape.end();
        while tape.read(&mut buffer, 2).await.unwrap() > 0 {}
        assert_eq!(buffer.as_ref(), b"one\ntwo");
        drop(tape);
        heard.all().await;
        assert_eq!(replayed(&path), ["one", "two"]);
    }

    #[tokio::test]
    async fn what_was_read_long_ago_is_given_back_but_for_what_matters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("apply.jsonl");
        let mut tape = Tape::new(&path, keep).unwrap();
        tape.keep_bytes = 1 << 20;
        let mut writer = tape.writer().unwrap();
        let mut expected = Vec::new();
        let mut buffer = BytesMut::new();
        for i in 0..24 {
            let kept = format!("keep {i}");
            writer.write_all(format!("{kept}\n{}\n", "x".repeat(1 << 20)).as_bytes()).unwrap();
            expected.push(kept);
            while tape.at < path.metadata().unwrap().len() {
                tape.read(&mut buffer, 1 << 20).await.unwrap();
                tape.told();
            }
        }
        assert!(tape.released > 16 << 20, "{}", tape.released);
        let meta = path.metadata().unwrap();
        assert!(meta.len() > 24 << 20);
        if cfg!(target_os = "linux") {
            assert!(meta.blocks() * 512 < 10 << 20, "{} blocks", meta.blocks());
        }
        let of = |lines: Vec<String>| lines.into_iter().filter(|l| keep(l)).collect::<Vec<_>>();
        assert_eq!(of(replayed(&path)), expected);
        // Killed while it wrote the second file: the block is not whole, and nothing is there twice.
        let beside = beside_of(&path);
        let mut text = std::fs::read_to_string(&beside).unwrap();
        text.push_str("keep 23\n{\"slipway_kept_u");
        std::fs::write(&beside, text).unwrap();
        assert_eq!(of(replayed(&path)), expected);
    }

    #[test]
    fn garbage_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("apply.jsonl");
        assert!(replay(&path, |_| ()).is_err());
        let mut garbage = vec![0xff, 0xfe, b'\n', 0, b'\n'];
        garbage.extend(vec![b'y'; MAX_LINE_BYTES + 10]);
        garbage.extend(b"\nkeep\nke");
        std::fs::write(&path, garbage).unwrap();
        assert_eq!(replayed(&path), ["\0", "keep", "ke"]);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(replay(&path, |_| ()).is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(replay(&path, |_| ()).is_err());
    }
}
