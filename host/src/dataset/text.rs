//! The text of a file as UTF-8, whichever Unicode it is stored in.

use memmap2::Mmap;
use std::ops::Deref;
use std::path::Path;

use super::error::DataError;
use crate::regular;

/// The largest file of text.
const LARGEST: u64 = 64 << 30;
/// The largest that is read before it is parsed, and may change from then on. A larger one is mapped into memory.
const READ: u64 = 256 << 20;

/// A file's text, without a byte-order mark. It is UTF-8, as far as the file was valid.
pub(super) enum Text {
    Held { bytes: Content, start: usize },
    Decoded(String),
}

/// The bytes of a file.
pub(super) enum Content {
    Read(Vec<u8>),
    Mapped(Mmap),
}

impl Text {
    /// Opens `path`: UTF-8, or UTF-16 with a byte-order mark, as "Unicode text" of spreadsheets is.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |cause| DataError::Read { path: path.to_owned(), cause };
        let file = regular::open(path, LARGEST).map_err(failed)?;
        let bytes = match file.metadata().map_err(failed)?.len() {
            0 => return Ok(Self::Decoded(String::new())),
            1..=READ => Content::Read(regular::read(path, READ).map_err(failed)?),
            // SAFETY: the file is only read; one that is cut while this program reads it ends the program, which says
            // so.
            _ => Content::Mapped(unsafe { Mmap::map(&file) }.map_err(failed)?),
        };
        let wrong = |reason: &str| DataError::Malformed { path: path.to_owned(), line: 1, reason: reason.to_owned() };
        match &bytes[..] {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Err(wrong("this is UTF-32; save the file as UTF-8")),
            [0xff, 0xfe, units @ ..] => utf_16(units, u16::from_le_bytes).map(Self::Decoded).map_err(|why| wrong(&why)),
            [0xfe, 0xff, units @ ..] => utf_16(units, u16::from_be_bytes).map(Self::Decoded).map_err(|why| wrong(&why)),
            [0xef, 0xbb, 0xbf, ..] => Ok(Self::Held { bytes, start: 3 }),
            [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', ..] => {
                Err(wrong("this is compressed; decompress it first (gunzip, zstd -d, bunzip2 or unxz)"))
            }
            [b'P', b'K', 3, 4, ..] => Err(wrong(
                "this is a zip archive, as the files of spreadsheets (.xlsx, .ods) are; unpack it, or save the sheet \
                 as CSV in UTF-8",
            )),
            [b'P', b'A', b'R', b'1', ..] => Err(wrong("this is a Parquet file; name it .parquet")),
            [0, _, ..] | [_, 0, ..] => Err(wrong(
                "there are zero bytes in it: this is no text, or UTF-16 without a byte-order mark; save it as UTF-8",
            )),
            _ => Ok(Self::Held { bytes, start: 0 }),
        }
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Held { bytes, start } => &bytes[*start..],
            Self::Decoded(text) => text.as_bytes(),
        }
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

/// Decodes UTF-16.
fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let mut at = 2;
    let text = char::decode_utf16(units.iter().map(|&bytes| unit(bytes))).map(|decoded| {
        at += decoded.as_ref().map_or(0, |char| 2 * char.len_utf16());
        decoded.map_err(|_| format!("byte {} is not UTF-16; save the file as UTF-8", at + 1))
    });
    let text = text.collect::<Result<String, String>>()?;
    if rest.is_empty() { Ok(text) } else { Err("the file is cut: UTF-16 has two bytes a character".to_owned()) }
}

/// The number of the line that byte `at` of a text is in, from 1: lines end in `\n`, `\r\n` or `\r`.
pub(super) fn line(text: &[u8], at: usize) -> u64 {
    let (mut line, mut rest) = (1, &text[..at]);
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        line += 1;
        rest = without_end(&rest[end..]).unwrap_or_default();
    }
    line
}

/// The numbers of lines of a text, asked for in order.
pub(super) struct Lines<'a> {
    text: &'a [u8],
    /// A byte that was asked for, and its line.
    known: (usize, u64),
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { text, known: (0, 1) }
    }

    /// The number of the line that begins at this byte, which is no smaller than the last.
    pub(super) fn at(&mut self, byte: usize) -> u64 {
        let (start, line) = self.known;
        self.known = (byte, line - 1 + self::line(&self.text[start..], byte - start));
        self.known.1
    }
}

/// What follows the end of a line, if a text begins with one.
pub(super) fn without_end(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"\r\n").or_else(|| text.strip_prefix(b"\n")).or_else(|| text.strip_prefix(b"\r"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_any_of_three_ways() {
        for text in ["a\nb\nc", "a\r\nb\r\nc", "a\rb\rc"] {
            let at = |char: char| line(text.as_bytes(), text.find(char).unwrap());
            assert_eq!([at('a'), at('b'), at('c')], [1, 2, 3], "{text:?}");
            assert_eq!(line(text.as_bytes(), text.len()), 3);
            let mut lines = Lines::of(text.as_bytes());
            assert_eq!(["a", "b", "c"].map(|start| lines.at(text.find(start).unwrap())), [1, 2, 3]);
        }
    }
}
