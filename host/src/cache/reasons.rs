//! The reasons for missing latents: an append-only file of texts, to which the log points.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::records::read_at;
use super::{CacheError, Key};
use crate::whole_file;

/// The most bytes of a reason, which people are to read.
const LONGEST: usize = 1 << 16;
/// The replacement for a damaged text.
const LOST: &str = "the reason can no longer be read; use --retry-failed to encode it again";

#[derive(Debug)]
pub(super) struct Reasons {
    path: PathBuf,
}

impl Reasons {
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: folder.join("reasons.log") }
    }

    /// Appends the reasons for these failures, durably; returns their offsets.
    pub(super) fn append(&self, failures: &[(Key, &str)]) -> Result<Vec<u64>, CacheError> {
        let write = || {
            let is_new = !self.path.exists();
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
            // Behind whatever an append left that did not come to its end.
            let end = file.seek(SeekFrom::End(0))?;
            let (mut bytes, mut places) = (Vec::new(), Vec::new());
            for (key, reason) in failures {
                places.push(end + bytes.len() as u64);
                let text = &reason.as_bytes()[..reason.len().min(LONGEST)];
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(sum(key, text));
                bytes.extend(text);
            }
            file.write_all(&bytes)?;
            file.sync_data()?;
            if is_new {
                whole_file::sync_folder(&self.path)?;
            }
            Ok(places)
        };
        write().map_err(|cause| CacheError::io("write", &self.path, cause))
    }

    /// The reader of the texts that are there now.
    pub(super) fn open(&self) -> Result<OpenReasons, CacheError> {
        match File::open(&self.path) {
            Ok(file) => Ok(OpenReasons(Some(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(OpenReasons(None)),
            Err(cause) => Err(CacheError::io("open", &self.path, cause)),
        }
    }
}

/// The texts, for reading.
pub(super) struct OpenReasons(Option<File>);

impl OpenReasons {
    /// The reason for a failure, from the text at `place`.
    pub(super) fn read(&self, key: &Key, place: u64) -> String {
        self.text(key, place).unwrap_or_else(|| LOST.to_owned())
    }

    fn text(&self, key: &Key, place: u64) -> Option<String> {
        let file = self.0.as_ref()?;
        let mut head = [0; 4 + 8];
        let got = read_at(file, &mut head, place).ok()?;
        let (length, own) = head.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        if got < head.len() || length > LONGEST {
            return None;
        }
        let mut text = vec![0; length];
        let got = read_at(file, &mut text, place + head.len() as u64).ok()?;
        (got == length && sum(key, &text) == own).then(|| String::from_utf8_lossy(&text).into_owned())
    }
}

fn sum(key: &Key, text: &[u8]) -> [u8; 8] {
    let hash = blake3::Hasher::new().update(&key.0).update(text).finalize();
    *hash.as_bytes().first_chunk().expect("a hash is longer")
}
