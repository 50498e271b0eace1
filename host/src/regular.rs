//! Regular files of bounded size: what else has a path may wait for ever, or never end.

use std::fs::{File, metadata};
use std::io::{self, Read};
use std::path::Path;

use crate::bytes::Bytes;

/// The largest file of text that people write by hand.
pub(crate) const BY_HAND: u64 = 16 << 20;

/// Opens `path` for reading.
pub(crate) fn open(path: &Path, most: u64) -> io::Result<File> {
    // Before it is opened: that of a pipe waits for a writer.
    let found = metadata(path)?;
    if found.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if found.len() > most {
        return Err(too_large(most));
    }
    File::open(path)
}

/// Reads all of `path`.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path, most)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
    // A file that a system makes up may be longer than it says.
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large(most)) } else { Ok(bytes) }
}

/// Reads all of `path`, which must be UTF-8.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| {
        let byte = error.utf8_error().valid_up_to() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("byte {byte} is not UTF-8"))
    })
}

fn too_large(most: u64) -> io::Error {
    io::Error::other(format!("it is larger than {}", Bytes(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_the_right_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"abc\xff").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"abc\xff");
        assert!(read(&path, 3).unwrap_err().to_string().contains("larger than 3B"));
        assert!(read_text(&path, 4).unwrap_err().to_string().contains("byte 4 is not UTF-8"));
        assert!(read(folder.path(), 4).unwrap_err().to_string().contains("a folder"));
        assert_eq!(read(&folder.path().join("b"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
        #[cfg(unix)]
        assert!(read(Path::new("/dev/zero"), 4).unwrap_err().to_string().contains("not a regular file"));
        #[cfg(target_os = "linux")]
        assert!(read(Path::new("/proc/self/maps"), 40).unwrap_err().to_string().contains("larger than 40B"));
    }
}
