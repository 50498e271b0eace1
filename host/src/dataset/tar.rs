//! A tar archive without compression: its headers are read once, and a member's bytes when they are needed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::item::LARGEST;
use crate::regular;

/// Bytes of a header, and of the blocks that members fill.
const BLOCK: u64 = 512;
/// The most bytes of a name that stands before its header.
const NAME: u64 = 1 << 16;

/// A tar archive. Its file is opened for each member, so that any number of archives is.
pub(super) struct Shard {
    path: PathBuf,
}

/// A regular file in an archive.
pub(super) struct Entry {
    /// Its path.
    pub(super) name: Vec<u8>,
    /// Its first byte.
    pub(super) at: u64,
    /// Its bytes.
    pub(super) length: u64,
    /// False if the archive ends before the file does.
    pub(super) whole: bool,
}

impl Shard {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a member, or the reason why they cannot be read.
    pub(super) fn read(&self, at: u64, length: u64) -> Result<Vec<u8>, String> {
        if length > LARGEST {
            return Err("it is larger than 1 GiB".to_owned());
        }
        let mut file = regular::open(&self.path, u64::MAX).map_err(|error| error.to_string())?;
        bytes(&mut file, at, length).map_err(|error| error.to_string())
    }
}

fn bytes(file: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("the archive ends before it; was it changed?"),
        _ => error,
    })?;
    Ok(bytes)
}

/// The regular files of an archive, in order.
pub(super) struct Entries {
    path: PathBuf,
    file: File,
    length: u64,
    /// The next header.
    next: u64,
    /// A name, and a size, that were said of the next member.
    said: (Option<Vec<u8>>, Option<u64>),
    /// True once the empty block was seen that ends an archive.
    ended: bool,
}

impl Entries {
    /// Opens the archive at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |cause| DataError::Read { path: path.to_owned(), cause };
        let file = regular::open(path, u64::MAX).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Ok(Self { path: path.to_owned(), file, length, next: 0, said: (None, None), ended: false })
    }

    /// The next regular file; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, DataError> {
        loop {
            let start = self.next;
            let wrong = |path: &Path, reason: &str| DataError::Archive {
                path: path.to_owned(),
                byte: start,
                reason: reason.to_owned(),
            };
            if start >= self.length {
                return Ok(None);
            }
            let Ok(header) = bytes(&mut self.file, start, BLOCK) else {
                return Err(wrong(&self.path, "it ends within a header; it was not written or copied to its end"));
            };
            if header.iter().all(|byte| *byte == 0) {
                self.ended = true;
                return Ok(None);
            }
            if let [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [b'B', b'Z', b'h', ..] = header[..] {
                let reason = "it is compressed, and single members of it cannot be read: decompress it first (gunzip, \
                              zstd -d or bunzip2)";
                return Err(wrong(&self.path, reason));
            }
            let sizes = (number(&header[124..136]), sum(&header) == number(&header[148..156]));
            let (Some(mut size), true) = sizes else {
                let reason = "there is no header of a tar archive here; the file is damaged, or no archive";
                return Err(wrong(&self.path, reason));
            };
            let at = start + BLOCK;
            let kind = header[156];
            if kind != b'x' && kind != b'L' {
                size = self.said.1.take().unwrap_or(size);
            }
            self.next = at.saturating_add(size).div_ceil(BLOCK).saturating_mul(BLOCK);
            match kind {
                b'L' | b'x' if size <= NAME => {
                    let Ok(text) = bytes(&mut self.file, at, size) else {
                        return Err(wrong(&self.path, "it ends within a name; it was not copied to its end"));
                    };
                    if kind == b'L' {
                        self.said.0 = Some(text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec());
                    } else {
                        let found = |key: &str| said(&text, key);
                        self.said.0 = found("path").or(self.said.0.take());
                        self.said.1 = found("size").and_then(|size| std::str::from_utf8(&size).ok()?.parse().ok());
                    }
                }
                b'0' | 0 | b'7' => {
                    let name = self.said.0.take().unwrap_or_else(|| name(&header));
                    // An old form of a folder.
                    if !name.ends_with(b"/") {
                        let whole = at.saturating_add(size) <= self.length;
                        return Ok(Some(Entry { name, at, length: size, whole }));
                    }
                }
                b'g' | b'K' => {}
                _ => self.said.0 = None,
            }
        }
    }

    /// False if the file ended before the mark that ends an archive, as one does that was cut behind a member.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// The bytes of a member.
    pub(super) fn read(&mut self, entry: &Entry) -> io::Result<Vec<u8>> {
        bytes(&mut self.file, entry.at, entry.length)
    }
}

/// The name in a header.
fn name(header: &[u8]) -> Vec<u8> {
    let text = |field: &[u8]| field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    match header[257..262] == *b"ustar" && header[262] == 0 && !prefix.is_empty() {
        true => [&prefix[..], b"/", &name].concat(),
        false => name,
    }
}

/// A number in a header: octal digits, or bytes behind a bit that is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let high = field[..field.len() - 8].iter().skip(1).all(|byte| *byte == 0);
        return high.then(|| u64::from_be_bytes(*field.last_chunk().expect("a field has 8 bytes or more")));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// The checksum of a header: its bytes, with spaces for the checksum itself.
fn sum(header: &[u8]) -> Option<u64> {
    let byte = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) };
    Some(header.iter().enumerate().map(byte).sum())
}

/// The value of a key in the records `LENGTH KEY=VALUE` of a header of POSIX.
fn said(text: &[u8], key: &str) -> Option<Vec<u8>> {
    let (mut rest, mut found) = (text, None);
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let record = rest.get(space + 1..length.checked_sub(1)?)?;
        if let Some(value) = record.strip_prefix(key.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            found = Some(value.to_vec());
        }
        rest = rest.get(length..)?;
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A header of POSIX.
    pub(in crate::dataset) fn header(name: &str, kind: u8, size: usize) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum = super::sum(&header).unwrap();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }

    /// An archive of files.
    pub(in crate::dataset) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, content) in files {
            tar.extend(header(name, b'0', content.len()));
            tar.extend(*content);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    fn entries(tar: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        std::fs::write(&path, tar).unwrap();
        let mut entries = Entries::open(&path).unwrap();
        let (mut all, shard) = (Vec::new(), Shard::new(&path));
        while let Some(entry) = entries.next().map_err(|error| error.to_string())? {
            let content = if entry.whole { shard.read(entry.at, entry.length).unwrap() } else { b"cut".to_vec() };
            all.push((String::from_utf8(entry.name).unwrap(), content));
        }
        Ok(all)
    }

    #[test]
    fn files_are_found_with_long_names_and_between_folders() {
        let mut tar = header("folder/", b'5', 0);
        tar.extend(archive(&[("folder/a.jpg", b"one"), ("b.txt", &[b'x'; 700])]));
        tar.truncate(tar.len() - 1024);
        let long = "n".repeat(150) + ".jpg";
        tar.extend(header("././@LongLink", b'L', long.len() + 1));
        tar.extend([long.as_bytes(), &[0; 512][long.len()..]].concat());
        tar.extend(archive(&[("cut-name", b"two")]));
        tar.truncate(tar.len() - 1024);
        let record = "24 path=with spaces.jpg\n";
        tar.extend(header("pax", b'x', record.len()));
        tar.extend([record.as_bytes(), &[0; 512][record.len()..]].concat());
        tar.extend(archive(&[("short", b"")]));
        let found = entries(&tar).unwrap();
        let names: Vec<(&str, usize)> = found.iter().map(|(name, content)| (name.as_str(), content.len())).collect();
        assert_eq!(names, [("folder/a.jpg", 3), ("b.txt", 700), (&long, 3), ("with spaces.jpg", 0)]);
    }

    #[test]
    fn what_is_cut_or_no_archive_is_named_by_its_byte() {
        let tar = archive(&[("a.jpg", b"one"), ("b.jpg", &[7; 2000])]);
        assert_eq!(entries(&tar[..2000]).unwrap()[1], ("b.jpg".to_owned(), b"cut".to_vec()));
        assert!(entries(&tar[..1300]).unwrap_err().contains("byte 1024: it ends within a header"));
        let mut damaged = tar.clone();
        damaged[1030] ^= 1;
        assert!(entries(&damaged).unwrap_err().contains("byte 1024: there is no header"));
        assert!(entries(&[&[0x1f, 0x8b, 8][..], &[0; 600]].concat()).unwrap_err().contains("gunzip"));
    }
}
