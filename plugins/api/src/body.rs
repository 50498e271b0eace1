//! The body of an answer, which is never read beyond what an answer can need.

use reqwest::blocking::Response;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;

/// The most bytes of an answer that says what is wrong.
pub(crate) const WORDS: u64 = 64 << 10;
/// The most bytes of an answer about a server or its models.
pub(crate) const FACTS: u64 = 4 << 20;
/// Bytes that several answers may hold at once while nothing is known about them.
const SMALL: u64 = 2 << 20;

/// The bytes that an answer may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) bytes: u64,
    /// True if no answer has shown yet how many a good one has: large ones are then read one after the other.
    pub(crate) guessed: bool,
}

impl Most {
    /// Of so many vectors, of `width` values if that is known, in answer to a request of so many bytes.
    pub(crate) fn of_vectors(items: usize, width: Option<usize>, request: usize) -> Self {
        /// A number of a vector with sign, 17 digits, exponent, separator, and a line break with some indentation.
        const VALUE: u64 = 40;
        /// More values than the vectors of any model at hand have.
        const WIDE: u64 = 8192;
        const LARGEST: u64 = 128 << 20;
        // Some servers repeat what they got.
        let rest = (1 << 20) + 2 * request as u64;
        let vectors = |width: u64| (items as u64).saturating_mul(width).saturating_mul(VALUE);
        match width {
            Some(width) => Self { bytes: rest + vectors(width as u64), guessed: false },
            None => Self { bytes: rest + vectors(WIDE).min(LARGEST), guessed: true },
        }
    }
}

/// Reads an answer of `most` bytes, however it was packed.
pub(crate) fn read(mut response: Response, most: Most, address: &str) -> Result<Vec<u8>, Failure> {
    static LARGE: Mutex<()> = Mutex::new(());
    let mut body = Vec::new();
    let first = if most.guessed { most.bytes.min(SMALL) } else { most.bytes };
    take(&mut response, &mut body, first + 1, address)?;
    if body.len() as u64 > first && first < most.bytes {
        let _alone = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
        take(&mut response, &mut body, most.bytes - first, address)?;
    }
    match body.len() as u64 > most.bytes {
        false => Ok(without_mark(body)),
        true => Err(Failure::Fatal(format!(
            "the answer of {address} is longer than {} MiB, more than its vectors need; is `base_url` right?",
            most.bytes >> 20
        ))),
    }
}

/// The beginning of an answer that says what is wrong.
pub(crate) fn beginning(response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    // What came before an error is said.
    let _ = response.take(WORDS).read_to_end(&mut body);
    without_mark(body)
}

/// A text without the byte-order mark that some servers put before it.
fn without_mark(mut body: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if body.starts_with(MARK) {
        body.drain(..MARK.len());
    }
    body
}

/// What an answer is packed in, if that was not asked for and cannot be read: by its header or its first bytes.
pub(crate) fn packing(body: &[u8], encoding: Option<&str>) -> Option<String> {
    const MAGIC: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x78\x01", "deflate"),
        (b"\x78\x5e", "deflate"),
        (b"\x78\x9c", "deflate"),
        (b"\x78\xda", "deflate"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ];
    let by_magic = MAGIC.iter().find(|(start, _)| body.starts_with(start)).map(|(_, name)| (*name).to_owned());
    let is_text = std::str::from_utf8(&body[..body.len().min(4)]).is_ok();
    by_magic.or_else(|| encoding.filter(|_| !is_text).map(str::to_owned))
}

fn take(response: &mut Response, body: &mut Vec<u8>, bytes: u64, address: &str) -> Result<(), Failure> {
    match response.take(bytes).read_to_end(body) {
        Ok(_) => Ok(()),
        Err(error) => Err(broken(&error, address)),
    }
}

fn broken(error: &std::io::Error, address: &str) -> Failure {
    let of_http = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    match of_http.is_some_and(reqwest::Error::is_timeout) || error.kind() == std::io::ErrorKind::TimedOut {
        true => Failure::Slow(address.to_owned()),
        false => Failure::Cut(chain(error)),
    }
}

/// An error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unasked_is_known() {
        for (body, header, packing_) in [
            (&b"{\"data\": []}"[..], None, None),
            // Some say so of what is plain.
            (b"{\"data\": []}", Some("br"), None),
            (b"\x1f\x8b\x08\0", None, Some("gzip")),
            (b"\x78\x9c\x4d", Some("deflate"), Some("deflate")),
            (b"\x28\xb5\x2f\xfd", None, Some("zstd")),
            (b"\x8b\xff\x07\x80", Some("br"), Some("br")),
            (b"", Some("br"), None),
        ] {
            assert_eq!(packing(body, header).as_deref(), packing_, "{body:?}");
        }
    }
}
