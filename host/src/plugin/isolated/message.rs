//! The messages between the program and a plugin's process: a JSON header, then bytes.

use fusemix_sdk::export::PluginInfo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::plugin::load::LoadError;

/// A message about a call; several may be under way.
#[derive(Serialize, Deserialize)]
pub(super) struct Message<T> {
    pub(super) call: u64,
    pub(super) what: T,
}

/// The program's messages to a plugin's process. JSON of the plugin interface stays as it is.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    /// Load the plugin of this JSON of a `PluginEntry` without its path.
    Load { entry: String, path: Option<RawPath>, folders: Vec<RawPath> },
    /// Open the encoder of this JSON of an `OpenRequest`.
    Open(String),
    /// Measure items, whose bytes follow.
    Measure(Vec<Piece>),
    /// Encode items, whose bytes follow.
    Encode(Vec<Piece>),
    /// The answer to the rows of a call.
    Stored(Result<String, String>),
    /// The user asks to stop.
    Stop,
}

/// One of the items whose bytes follow.
#[derive(Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) modality: String,
    pub(super) bytes: usize,
}

/// The messages of a plugin's process.
#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    Loaded(Box<Result<Loaded, LoadError>>),
    /// The encoder's description.
    Opened(Result<String, String>),
    Sizes(Result<String, String>),
    /// Rows of the call, whose values follow, as f32 of this machine.
    Rows {
        width: usize,
        report: String,
    },
    /// The call's end.
    Ended(Result<(), String>),
    /// An event of the plugin, of no call.
    Event {
        topic: String,
        body: String,
    },
}

/// A library that was loaded.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::plugin) struct Loaded {
    pub(super) path: RawPath,
    pub(in crate::plugin) info: PluginInfo,
    /// The digest of its file, or why there is none.
    pub(in crate::plugin) digest: Result<String, String>,
}

/// A path, which need not be UTF-8.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RawPath(Vec<u8>);

impl From<&Path> for RawPath {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_encoded_bytes().to_vec())
    }
}

impl From<RawPath> for PathBuf {
    #[cfg(unix)]
    fn from(RawPath(bytes): RawPath) -> Self {
        <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
    }

    #[cfg(not(unix))]
    fn from(RawPath(bytes): RawPath) -> Self {
        String::from_utf8_lossy(&bytes).into_owned().into()
    }
}

/// Writes a message.
pub(super) fn write(to: &mut impl Write, header: &impl Serialize, body: &[&[u8]]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let bytes: usize = body.iter().map(|part| part.len()).sum();
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(&(bytes as u64).to_le_bytes())?;
    to.write_all(&header)?;
    body.iter().try_for_each(|part| to.write_all(part))?;
    to.flush()
}

/// Reads a message; none at the end.
pub(super) fn read<H: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<(H, Vec<u8>)>> {
    let mut sizes = [0; 16];
    let mut got = 0;
    while got < sizes.len() {
        match from.read(&mut sizes[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => got += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [header, body] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| sizes[at + byte])));
    let header = part(from, header)?;
    let header = serde_json::from_slice(&header)?;
    Ok(Some((header, part(from, body)?)))
}

/// So many bytes. What a broken process announces takes no more than this before it arrives.
fn part(from: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    const TRUSTED: u64 = 1 << 22;
    let mut part = Vec::with_capacity(bytes.min(TRUSTED) as usize);
    let got = from.by_ref().take(bytes).read_to_end(&mut part)?;
    if got as u64 == bytes { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut pipe = Vec::new();
        let rows = Reply::Rows { width: 2, report: "{}".to_owned() };
        write(&mut pipe, &Message { call: 7, what: rows }, &[b"ab", b"", b"cde"]).unwrap();
        write(&mut pipe, &Message { call: 8, what: Reply::Ended(Err("no".to_owned())) }, &[]).unwrap();
        let mut pipe = pipe.as_slice();
        let (message, body) = read::<Message<Reply>>(&mut pipe).unwrap().unwrap();
        assert!(matches!(message, Message { call: 7, what: Reply::Rows { width: 2, .. } }));
        assert_eq!(body, b"abcde");
        let (message, body) = read::<Message<Reply>>(&mut pipe).unwrap().unwrap();
        assert!(matches!(message, Message { call: 8, what: Reply::Ended(Err(_)) }) && body.is_empty());
        assert!(read::<Message<Reply>>(&mut pipe).unwrap().is_none());
    }

    #[test]
    fn a_message_that_is_cut_or_absurd_is_an_error() {
        let mut pipe = Vec::new();
        write(&mut pipe, &Message { call: 1, what: Request::Stop }, &[b"abc"]).unwrap();
        for cut in 1..pipe.len() {
            assert!(read::<Message<Request>>(&mut &pipe[..cut]).is_err(), "cut at {cut}");
        }
        pipe[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read::<Message<Request>>(&mut pipe.as_slice()).is_err());
        pipe[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read::<Message<Request>>(&mut pipe.as_slice()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_utf_8() {
        let path = PathBuf::from(RawPath(b"caf\xe9/lib.so".to_vec()));
        let json = serde_json::to_string(&RawPath::from(path.as_path())).unwrap();
        assert_eq!(PathBuf::from(serde_json::from_str::<RawPath>(&json).unwrap()), path);
    }
}
