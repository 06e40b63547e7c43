//! Archives whose headers say just what a test wants, however wrong.

/// One entry of an archive.
#[derive(Debug, Clone)]
pub(crate) enum Entry<'a> {
    File(&'a str, Vec<u8>),
    Symlink(&'a str, &'a str),
    HardLink(&'a str, &'a str),
    Device(&'a str),
}

/// Packs entries without checking anything.
pub(crate) fn tar_gz(entries: &[Entry<'_>]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for entry in entries {
        let (path, link, kind, content): (_, _, _, &[u8]) = match entry {
            Entry::File(path, content) => (path, "", tar::EntryType::Regular, content),
            Entry::Symlink(path, to) => (path, *to, tar::EntryType::Symlink, &[]),
            Entry::HardLink(path, to) => (path, *to, tar::EntryType::Link, &[]),
            Entry::Device(path) => (path, "", tar::EntryType::Char, &[]),
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..path.len()].copy_from_slice(path.as_bytes());
        gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}
