//! A packed mirror, as `terraform providers mirror` makes it: what a registry would send.

use std::path::Path;

const PLATFORM: &str = "linux_amd64";

/// The directories that are `depth` levels below, as paths from there.
fn below(top: &Path, depth: usize) -> Vec<String> {
    let mut level = vec![String::new()];
    for _ in 0..depth {
        let mut next = Vec::new();
        for dir in level {
            for item in std::fs::read_dir(top.join(&dir)).unwrap().flatten() {
                if item.path().is_dir() {
                    let name = item.file_name().into_string().unwrap();
                    next.push(if dir.is_empty() { name } else { format!("{dir}/{name}") });
                }
            }
        }
        level = next;
    }
    level.sort();
    level
}

/// The packages in a store.
pub(crate) fn packages(store: &Path) -> Vec<String> {
    below(store, 5)
}

/// Packs every provider of an unpacked mirror.
pub(crate) fn pack(unpacked: &Path, to: &Path) {
    for package in below(unpacked, 5) {
        let parts: Vec<&str> = package.split('/').collect();
        let [host, namespace, kind, version, platform] = parts.as_slice() else { panic!() };
        assert_eq!(*platform, PLATFORM);
        let dir = to.join(host).join(namespace).join(kind);
        std::fs::create_dir_all(&dir).unwrap();
        let name = format!("terraform-provider-{kind}_{version}_{platform}.zip");
        let files = std::fs::read_dir(unpacked.join(&package)).unwrap().flatten().map(|file| {
            let content = std::fs::read(file.path()).unwrap();
            (file.file_name().into_string().unwrap(), content)
        });
        std::fs::write(dir.join(name), zip(&files.collect::<Vec<_>>())).unwrap();
    }
}

/// An archive of executable files, not compressed.
fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    let short = |n: usize| u16::try_from(n).unwrap().to_le_bytes();
    let long = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    for (name, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        // Version, flags, method, time and date, checksum, sizes, lengths of name and extra field.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend(long(content.len()));
        common.extend(long(content.len()));
        common.extend(short(name.len()));
        common.extend(short(0));
        let offset = out.len();
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(content);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        // Comment, disk, inner attributes; then a regular file with mode 0755.
        directory.extend([0; 6]);
        directory.extend((0o100_755_u32 << 16).to_le_bytes());
        directory.extend(long(offset));
        directory.extend(name.as_bytes());
    }
    let at = out.len();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(short(files.len()));
    out.extend(short(files.len()));
    out.extend(long(directory.len()));
    out.extend(long(at));
    out.extend(short(0));
    out
}
