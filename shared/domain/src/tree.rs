//! Source trees: files in memory that are known to stay inside their own directory.
//!
//! A [`Tree`] is the only form in which a source travels: it is read from an archive under
//! [`Limits`], checked once, and packed or written anywhere after that. Reading never touches the
//! disk and stops at the first entry that breaks a rule, so a bomb costs no more than its limit.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Component, Path};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::fault::{Code, Fault, FieldError};

/// What an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together, unpacked.
    pub total_bytes: u64,
    /// Number of files and links.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total_bytes: 64 << 20, entries: 10_000 }
    }
}

/// Longest path of an entry, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// Deepest directory of an entry.
const MAX_DEPTH: usize = 64;

/// One entry of a tree. Directories exist only through what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File {
        /// What is in it.
        content: Bytes,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link that stays inside the tree.
    Link {
        /// Where it points, relative to the link's own directory.
        target: String,
    },
}

/// A checked source tree: relative `/`-separated paths to entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

/// Why an archive or a directory is not a safe tree.
#[derive(Debug, thiserror::Error)]
pub enum Unsafe {
    /// An entry leaves the tree or has a name that no file should have.
    #[error("entry {path:?} {why}")]
    Entry {
        /// The entry's path, cut to 200 characters.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than the limits allow.
    #[error("it holds more than {0}")]
    TooMuch(String),
    /// It is not a `tar.gz`.
    #[error("it is not a readable tar.gz archive: {0}")]
    Unreadable(#[source] io::Error),
}

impl Unsafe {
    fn entry(path: &str, why: &'static str) -> Self {
        Self::Entry { path: path.chars().take(200).collect(), why }
    }
}

impl From<Unsafe> for Fault {
    fn from(why: Unsafe) -> Self {
        Fault::fields(
            Code::UnsafeArchive,
            vec![FieldError::at(
                "",
                format!("The archive was refused: {why}. Nothing of it was kept."),
            )],
        )
    }
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a regular file. The path must be relative and stay inside.
    pub fn add_file(
        &mut self,
        path: &str,
        content: impl Into<Bytes>,
        executable: bool,
    ) -> Result<(), Unsafe> {
        let path = clean(path)?;
        self.entries.insert(path, Entry::File { content: content.into(), executable });
        Ok(())
    }

    /// Reads a `tar.gz`, refusing whatever is not safe.
    pub fn from_tar_gz(archive: &[u8], limits: Limits) -> Result<Self, Unsafe> {
        // One byte more than allowed is enough to know; tar headers and padding add to the files.
        let overhead = limits.entries as u64 * 4096 + (1 << 20);
        let plain = flate2::read::MultiGzDecoder::new(archive).take(limits.total_bytes + overhead);
        let mut tar = tar::Archive::new(plain);
        let mut tree = Self::new();
        let mut total: u64 = 0;
        let mut seen: usize = 0;
        for entry in tar.entries().map_err(Unsafe::Unreadable)? {
            let mut entry = entry.map_err(Unsafe::Unreadable)?;
            seen += 1;
            if seen > limits.entries {
                return Err(Unsafe::TooMuch(format!("{} entries", limits.entries)));
            }
            let path = entry.path().map_err(Unsafe::Unreadable)?.to_string_lossy().into_owned();
            let kind = entry.header().entry_type();
            if kind.is_dir() {
                // `./` and `dir/` carry nothing; a directory exists through its files.
                check_components(&path)?;
                continue;
            }
            if matches!(kind, tar::EntryType::XGlobalHeader) {
                continue;
            }
            let path = clean(&path)?;
            if kind.is_symlink() {
                let target = entry
                    .link_name()
                    .map_err(Unsafe::Unreadable)?
                    .map(|t| t.to_string_lossy().into_owned())
                    .unwrap_or_default();
                check_link(&path, &target)?;
                tree.entries.insert(path, Entry::Link { target });
            } else if kind.is_file() {
                let size = entry.size();
                total = total.saturating_add(size);
                if total > limits.total_bytes {
                    return Err(Unsafe::TooMuch(format!("{} bytes", limits.total_bytes)));
                }
                let executable = entry.header().mode().unwrap_or(0o644) & 0o111 != 0;
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map_err(Unsafe::Unreadable)?;
                tree.entries.insert(path, Entry::File { content: content.into(), executable });
            } else {
                return Err(Unsafe::entry(
                    &path,
                    "is neither a file, a directory nor a symbolic link",
                ));
            }
        }
        // What was cut off exactly between two entries looks like a shorter archive.
        if tar.into_inner().limit() == 0 {
            return Err(Unsafe::TooMuch(format!("{} bytes", limits.total_bytes)));
        }
        tree.check_prefixes()?;
        Ok(tree)
    }

    /// Reads a directory of this machine. `.git` and `.terraform` are left out, as are Terraform's
    /// own state and lock-info files: a source is configuration, not state.
    pub fn from_directory(root: &Path, limits: Limits) -> Result<Self, Unsafe> {
        let mut tree = Self::new();
        let mut total = 0u64;
        let mut todo = vec![root.to_path_buf()];
        while let Some(dir) = todo.pop() {
            for item in std::fs::read_dir(&dir).map_err(Unsafe::Unreadable)? {
                let item = item.map_err(Unsafe::Unreadable)?;
                let name = item.file_name();
                if name == ".git" || name == ".terraform" {
                    continue;
                }
                let full = item.path();
                let relative = full.strip_prefix(root).unwrap_or(&full).to_string_lossy();
                let relative = relative.into_owned();
                if is_local_state(&relative) {
                    continue;
                }
                if tree.entries.len() >= limits.entries {
                    return Err(Unsafe::TooMuch(format!("{} entries", limits.entries)));
                }
                let kind = item.file_type().map_err(Unsafe::Unreadable)?;
                if kind.is_dir() {
                    todo.push(full);
                } else if kind.is_symlink() {
                    let target = std::fs::read_link(&full).map_err(Unsafe::Unreadable)?;
                    let target = target.to_string_lossy().into_owned();
                    let path = clean(&relative)?;
                    check_link(&path, &target)?;
                    tree.entries.insert(path, Entry::Link { target });
                } else if kind.is_file() {
                    let meta = item.metadata().map_err(Unsafe::Unreadable)?;
                    total = total.saturating_add(meta.len());
                    if total > limits.total_bytes {
                        return Err(Unsafe::TooMuch(format!("{} bytes", limits.total_bytes)));
                    }
                    let content = std::fs::read(&full).map_err(Unsafe::Unreadable)?;
                    #[cfg(unix)]
                    let executable = {
                        use std::os::unix::fs::PermissionsExt as _;
                        meta.permissions().mode() & 0o111 != 0
                    };
                    #[cfg(not(unix))]
                    let executable = false;
                    tree.add_file(&relative, content, executable)?;
                } else {
                    return Err(Unsafe::entry(
                        &relative,
                        "is neither a file, a directory nor a symbolic link",
                    ));
                }
            }
        }
        tree.check_prefixes()?;
        Ok(tree)
    }

    /// Packs the tree. The same tree gives the same bytes: sorted, no times, no owners.
    pub fn to_tar_gz(&self) -> io::Result<Bytes> {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        for (path, entry) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(0);
            match entry {
                Entry::File { content, executable } => {
                    header.set_size(content.len() as u64);
                    header.set_mode(if *executable { 0o755 } else { 0o644 });
                    tar.append_data(&mut header, path, content.as_ref())?;
                }
                Entry::Link { target } => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    header.set_mode(0o777);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        Ok(tar.into_inner()?.finish()?.into())
    }

    /// Writes the tree below an existing directory, which should be empty.
    pub fn write_to(&self, root: &Path) -> io::Result<()> {
        for (path, entry) in &self.entries {
            let full = root.join(path);
            if let Some(parent) = full.parent() {
                std::fs::create_dir_all(parent)?;
            }
            match entry {
                Entry::File { content, executable } => {
                    let mut options = std::fs::OpenOptions::new();
                    options.write(true).create_new(true);
                    #[cfg(unix)]
                    {
                        use std::os::unix::fs::OpenOptionsExt as _;
                        options.mode(if *executable { 0o700 } else { 0o600 });
                    }
                    options.open(&full)?.write_all(content)?;
                }
                #[cfg(unix)]
                Entry::Link { target } => std::os::unix::fs::symlink(target, &full)?,
                #[cfg(not(unix))]
                Entry::Link { .. } => {}
            }
        }
        Ok(())
    }

    /// The sub-tree below `path`, with paths relative to it. `None` when nothing is there.
    /// Links that would leave the sub-tree are refused by leaving them out.
    pub fn below(&self, path: &str) -> Option<Self> {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        if path.is_empty() || path == "." {
            return Some(self.clone());
        }
        let prefix = format!("{path}/");
        let entries: BTreeMap<_, _> = self
            .entries
            .iter()
            .filter_map(|(p, e)| Some((p.strip_prefix(&prefix)?.to_owned(), e.clone())))
            .collect();
        (!entries.is_empty()).then_some(Self { entries })
    }

    /// Leaves out what is not wanted, by path.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|path, _| keep(path));
    }

    /// Bytes of all files together.
    pub fn size(&self) -> usize {
        self.entries
            .values()
            .map(|entry| match entry {
                Entry::File { content, .. } => content.len(),
                Entry::Link { .. } => 0,
            })
            .sum()
    }

    /// Files and links by path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The content of the file at `path`, links inside the tree followed.
    pub fn file(&self, path: &str) -> Option<&Bytes> {
        let mut at = path.to_owned();
        for _ in 0..8 {
            match self.entries.get(&at)? {
                Entry::File { content, .. } => return Some(content),
                Entry::Link { target } => at = resolve(&at, target)?,
            }
        }
        None
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// `sha256:<hex>` over every path, mode and content: the same for the same tree, however it
    /// was packed.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (path, entry) in &self.entries {
            let (kind, content): (&[u8], &[u8]) = match entry {
                Entry::File { content, executable: false } => (b"f", content),
                Entry::File { content, executable: true } => (b"x", content),
                Entry::Link { target } => (b"l", target.as_bytes()),
            };
            for part in [kind, path.as_bytes(), content] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
    }

    /// No entry may lie below a file or a link: writing it would go through that link.
    fn check_prefixes(&self) -> Result<(), Unsafe> {
        for path in self.entries.keys() {
            let mut at = path.as_str();
            while let Some((parent, _)) = at.rsplit_once('/') {
                if self.entries.contains_key(parent) {
                    return Err(Unsafe::entry(
                        path,
                        "lies below another entry that is not a directory",
                    ));
                }
                at = parent;
            }
        }
        Ok(())
    }
}

/// Terraform's own files beside a configuration, which are never part of a source.
fn is_local_state(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "terraform.tfstate"
        || name.starts_with("terraform.tfstate.")
        || name == ".terraform.tfstate.lock.info"
        || name == "errored.tfstate"
}

fn check_components(path: &str) -> Result<(), Unsafe> {
    if path.len() > MAX_PATH_BYTES {
        return Err(Unsafe::entry(path, "has a path that is too long"));
    }
    if path.contains(['\0', '\\']) || path.chars().any(char::is_control) {
        return Err(Unsafe::entry(path, "has a control character or backslash in its path"));
    }
    let parsed = Path::new(path);
    let mut depth = 0;
    for part in parsed.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => return Err(Unsafe::entry(path, "goes up with `..`")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(Unsafe::entry(path, "has an absolute path"));
            }
        }
    }
    if depth > MAX_DEPTH {
        return Err(Unsafe::entry(path, "is nested too deeply"));
    }
    Ok(())
}

/// A normal form without `.` components; refuses what leaves the tree.
fn clean(path: &str) -> Result<String, Unsafe> {
    check_components(path)?;
    let parts: Vec<_> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.is_empty() {
        return Err(Unsafe::entry(path, "has an empty path"));
    }
    Ok(parts.join("/"))
}

/// Where a link at `path` leads, if that is inside the tree.
fn resolve(path: &str, target: &str) -> Option<String> {
    if target.is_empty() || target.starts_with('/') || target.contains(['\0', '\\']) {
        return None;
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn check_link(path: &str, target: &str) -> Result<(), Unsafe> {
    match resolve(path, target) {
        Some(_) => Ok(()),
        None => Err(Unsafe::entry(path, "is a link that leaves the tree")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tar.gz whose headers say just what the test wants, however wrong.
    fn raw(entries: &[(&str, tar::EntryType, &str, &[u8])]) -> Vec<u8> {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        for (path, kind, link, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let gnu = header.as_gnu_mut().unwrap();
            gnu.name[..path.len()].copy_from_slice(path.as_bytes());
            gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;
    const LINK: tar::EntryType = tar::EntryType::Symlink;

    #[test]
    fn what_leaves_the_tree_is_refused() {
        let cases: &[(&str, Vec<u8>)] = &[
            ("dots", raw(&[("../x", FILE, "", b"x")])),
            ("inner dots", raw(&[("a/../../x", FILE, "", b"x")])),
            ("absolute", raw(&[("/etc/x", FILE, "", b"x")])),
            ("link out", raw(&[("a", LINK, "../x", b"")])),
            ("link to root", raw(&[("a", LINK, "/etc/passwd", b"")])),
            ("hard link", raw(&[("a", tar::EntryType::Link, "/etc/passwd", b"")])),
            ("device", raw(&[("a", tar::EntryType::Char, "", b"")])),
            ("fifo", raw(&[("a", tar::EntryType::Fifo, "", b"")])),
            ("through a link", raw(&[("a", LINK, "b", b""), ("a/x", FILE, "", b"x")])),
            ("backslash", raw(&[("a\\..\\x", FILE, "", b"x")])),
            ("not gzip", b"hello".to_vec()),
        ];
        for (name, archive) in cases {
            assert!(Tree::from_tar_gz(archive, Limits::default()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let limits = Limits { total_bytes: 1 << 20, entries: 10 };
        let zeros = vec![0u8; 8 << 20];
        let bomb = raw(&[("a", FILE, "", &zeros)]);
        assert!(bomb.len() < 1 << 20);
        let err = Tree::from_tar_gz(&bomb, limits).unwrap_err();
        assert!(matches!(err, Unsafe::TooMuch(_)), "{err}");
        let names: Vec<String> = (0..11).map(|i| format!("f{i}")).collect();
        let many: Vec<_> = names.iter().map(|n| (n.as_str(), FILE, "", b"".as_slice())).collect();
        assert!(matches!(Tree::from_tar_gz(&raw(&many), limits), Err(Unsafe::TooMuch(_))));
    }

    #[test]
    fn an_archive_that_is_cut_off_by_the_limit_is_not_a_shorter_one() {
        // Directories carry no files, but their entries may be long; here they end on the very byte
        // at which reading stops, and the file after them would be lost.
        let limits = Limits { total_bytes: 1 << 20, entries: 100 };
        let stops_at = limits.total_bytes + limits.entries as u64 * 4096 + (1 << 20);
        let padding = vec![0u8; usize::try_from(stops_at).unwrap() - 512 - 512 - 512];
        let archive = raw(&[
            ("a", FILE, "", b"x"),
            ("dir/", tar::EntryType::Directory, "", &padding),
            ("b", FILE, "", b"y"),
        ]);
        assert!(Tree::from_tar_gz(&archive, limits).is_err());
    }

    #[test]
    fn a_link_inside_the_tree_is_kept_and_followed() {
        let archive = raw(&[("mod/x.tf", FILE, "", b"1"), ("env/x.tf", LINK, "../mod/x.tf", b"")]);
        let tree = Tree::from_tar_gz(&archive, Limits::default()).unwrap();
        assert_eq!(tree.file("env/x.tf").unwrap().as_ref(), b"1");
        let dir = std::env::temp_dir().join(format!("slipway-tree-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        tree.write_to(&dir).unwrap();
        assert_eq!(std::fs::read(dir.join("env/x.tf")).unwrap(), b"1");
        assert_eq!(Tree::from_directory(&dir, Limits::default()).unwrap(), tree);
        std::fs::remove_dir_all(dir).unwrap();
    }

    proptest! {
        #[test]
        fn packing_keeps_the_tree_and_its_digest(
            files in prop::collection::btree_map("[a-z]{1,8}(/[a-z]{1,8}){0,3}", prop::collection::vec(any::<u8>(), 0..64), 0..12)
        ) {
            let mut tree = Tree::new();
            for (path, content) in files {
                tree.add_file(&path, content, false).unwrap();
            }
            prop_assume!(tree.check_prefixes().is_ok());
            let packed = tree.to_tar_gz().unwrap();
            let back = Tree::from_tar_gz(&packed, Limits::default()).unwrap();
            prop_assert_eq!(back.digest(), tree.digest());
            prop_assert_eq!(back, tree);
        }

        #[test]
        fn any_bytes_give_a_tree_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Tree::from_tar_gz(&bytes, Limits::default());
        }
    }
}
