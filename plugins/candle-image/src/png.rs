//! The chunks of PNG files that say which side is up: EXIF, as a chunk or as text, and XMP.

use flate2::read::ZlibDecoder;
use std::borrow::Cow;
use std::io::Read;

use crate::orientation::Notes;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The most bytes of a text, so that a small file cannot fill the memory.
const LONGEST: u64 = 1 << 20;
const RAW: &[u8] = b"Raw profile type exif";
const XMP: &[u8] = b"XML:com.adobe.xmp";

/// The notes of a file. The last of several of a kind counts; EXIF proper comes before that in text.
pub(crate) fn notes(file: &[u8]) -> Notes<'_> {
    let (mut notes, mut raw) = (Notes::default(), None);
    for (name, content) in chunks(file) {
        if name == b"eXIf" {
            notes.exif = Some(content.into());
            continue;
        }
        let is_text = [b"tEXt", b"zTXt", b"iTXt"].iter().any(|kind| name == *kind);
        let Some((key, rest)) = split(content).filter(|_| is_text) else { continue };
        match key {
            RAW => raw = text(name, rest).or(raw),
            XMP => notes.xmp = text(name, rest).map(Cow::from).or(notes.xmp),
            b"exif" if name == b"tEXt" => notes.exif = Some(rest.into()),
            _ => {}
        }
    }
    notes.exif = notes.exif.or_else(|| raw.map(|raw| profile(&raw).into()));
    notes
}

/// Names and contents of a file's chunks.
fn chunks(file: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = file.strip_prefix(SIGNATURE).unwrap_or_default();
    std::iter::from_fn(move || {
        let (size, after) = rest.split_first_chunk()?;
        let size = u32::from_be_bytes(*size) as usize;
        let (name, content) = (after.get(..4)?, after.get(4..4 + size)?);
        // A checksum follows.
        rest = after.get(8 + size..).unwrap_or_default();
        Some((name, content)).filter(|(name, _)| *name != b"IEND")
    })
}

/// The text of a chunk, behind its key.
fn text(name: &[u8], rest: &[u8]) -> Option<Vec<u8>> {
    Some(match name {
        b"tEXt" => rest.to_vec(),
        b"zTXt" => inflated(rest.strip_prefix(&[0])?)?,
        b"iTXt" => {
            let (&[compressed, method], rest) = rest.split_first_chunk()?;
            let (_language, rest) = split(rest)?;
            let (_translated, text) = split(rest)?;
            match (compressed, method) {
                (0, _) => text.to_vec(),
                (_, 0) => inflated(text)?,
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// What is before and behind the first zero.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn inflated(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ZlibDecoder::new(bytes).take(LONGEST).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The bytes that ImageMagick writes in hexadecimal behind three lines; what is damaged is EXIF that says nothing.
fn profile(text: &[u8]) -> Vec<u8> {
    let digits = text.splitn(4, |&byte| byte == b'\n').nth(3).unwrap_or_default();
    let digits: Option<Vec<u8>> = digits
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|&digit| char::from(digit).to_digit(16).map(|digit| digit as u8))
        .collect();
    match digits.map(|digits| digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()) {
        Some(bytes) => bytes,
        None => b"damaged".to_vec(),
    }
}
