//! The media types of files, by their first bytes.

/// The media type of a file; none if it is of no kind that is known here.
pub(crate) fn media_type(bytes: &[u8]) -> Option<&'static str> {
    let form = |container: &[u8], kind: &[u8]| bytes.starts_with(container) && bytes.get(8..12) == Some(kind);
    Some(match bytes {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'I', b'I', 0x2a, 0, ..] | [b'M', b'M', 0, 0x2a, ..] => "image/tiff",
        [0xff, 0x0a, ..] | [0, 0, 0, 0x0c, b'J', b'X', b'L', b' ', ..] => "image/jxl",
        [0, 0, 0, 0x0c, b'j', b'P', b' ', b' ', ..] => "image/jp2",
        // The size of its file, and four bytes of zeros.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => "image/bmp",
        _ if form(b"RIFF", b"WEBP") => "image/webp",
        _ if form(b"RIFF", b"WAVE") || form(b"RF64", b"WAVE") || form(b"RIFX", b"WAVE") => "audio/wav",
        _ if form(b"FORM", b"AIFF") || form(b"FORM", b"AIFC") => "audio/aiff",
        [b'f', b'L', b'a', b'C', ..] => "audio/flac",
        // Opus in Ogg too, by RFC 7845.
        [b'O', b'g', b'g', b'S', ..] => "audio/ogg",
        [b'#', b'!', b'A', b'M', b'R', b'-', b'W', b'B', ..] => "audio/amr-wb",
        [b'#', b'!', b'A', b'M', b'R', ..] => "audio/amr",
        [b'.', b's', b'n', b'd', ..] => "audio/basic",
        [b'c', b'a', b'f', b'f', ..] => "audio/x-caf",
        [0x0b, 0x77, ..] => "audio/ac3",
        [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, ..] => "audio/x-ms-wma",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska(bytes),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => return iso(bytes),
        [b'I', b'D', b'3', ..] => return Some(after_id3(bytes).and_then(media_type).unwrap_or("audio/mpeg")),
        [0xff, second, ..] if second & 0xe0 == 0xe0 => return mpeg(*second),
        _ => return None,
    })
}

/// A frame of MPEG audio: 11 bits of one, then the version and the layer, which is 0 only in AAC's ADTS.
fn mpeg(second: u8) -> Option<&'static str> {
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    match (version, layer) {
        // Version 1 of MPEG audio does not exist.
        (1, _) => None,
        (2 | 3, 0) => Some("audio/aac"),
        (_, 0) => None,
        _ => Some("audio/mpeg"),
    }
}

/// The file after an ID3 tag, which stands before MP3, AAC and FLAC alike.
fn after_id3(bytes: &[u8]) -> Option<&[u8]> {
    let size = bytes.get(6..10)?.iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
    // A footer repeats the header.
    let footer = if bytes.get(5)? & 0x10 != 0 { 10 } else { 0 };
    bytes.get(10 + size + footer..).filter(|rest| !rest.starts_with(b"ID3"))
}

/// A file of ISO's media format, by its brands.
fn iso(bytes: &[u8]) -> Option<&'static str> {
    let size = bytes.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
    let mut brands: Vec<&[u8]> = bytes[8..bytes.len().min(size.max(12))].chunks_exact(4).collect();
    if brands.len() > 1 {
        // The version between the main brand and the others.
        brands.remove(1);
    }
    let is = |wanted: &[&[u8; 4]]| brands.iter().any(|brand| wanted.iter().any(|wanted| brand == *wanted));
    Some(match brands.first()? {
        _ if is(&[b"avif", b"avis"]) => "image/avif",
        _ if is(&[b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"]) => "image/heic",
        _ if is(&[b"mif1", b"msf1"]) => "image/heif",
        _ if is(&[b"M4A ", b"M4B "]) => "audio/mp4",
        [b'q', b't', ..] => "video/quicktime",
        [b'3', b'g', ..] => "audio/3gpp",
        // Nothing at the beginning says whether there is a picture with the sound.
        _ => "audio/mp4",
    })
}

/// A file of Matroska, by the name of its kind.
fn matroska(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(64)];
    match memchr::memmem::find(head, b"webm") {
        Some(_) => "audio/webm",
        None => "audio/matroska",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let cases: [(&[u8], Option<&str>); 41] = [
            (b"\x89PNG\r\n\x1a\n", Some("image/png")),
            (b"\xff\xd8\xff\xe0\x00\x10JFIF", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\x24\x00\x00\x00WEBPVP8 ", Some("image/webp")),
            (b"II\x2a\x00\x08\x00\x00\x00", Some("image/tiff")),
            (b"MM\x00\x2a\x00\x00\x00\x08", Some("image/tiff")),
            (b"BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00", Some("image/bmp")),
            (b"BM25 is a ranking", None),
            (b"\xff\x0a\xfa\x7f", Some("image/jxl")),
            (b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a", Some("image/jxl")),
            (b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a", Some("image/jp2")),
            (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00mif1miafMA1B", Some("image/avif")),
            (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00avifmif1", Some("image/avif")),
            (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", Some("image/heic")),
            (b"\x00\x00\x00\x14ftypmif1\x00\x00\x00\x00miaf", Some("image/heif")),
            (b"RIFF\x24\x00\x00\x00WAVEfmt ", Some("audio/wav")),
            (b"RF64\xff\xff\xff\xffWAVEds64", Some("audio/wav")),
            (b"FORM\x00\x00\x00\x2eAIFFCOMM", Some("audio/aiff")),
            (b"fLaC\x00\x00\x00\x22", Some("audio/flac")),
            (b"OggS\x00\x02", Some("audio/ogg")),
            (b"\xff\xf1\x50\x80", Some("audio/aac")),
            (b"\xff\xf9\x50\x80", Some("audio/aac")),
            (b"\xff\xf0\x50\x80", Some("audio/aac")),
            (b"\xff\xfb\x90\x00", Some("audio/mpeg")),
            (b"\xff\xf3\x40\xc4", Some("audio/mpeg")),
            (b"\xff\xe3\x18\xc4", Some("audio/mpeg")),
            (b"\xff\xfd\x90\x00", Some("audio/mpeg")),
            (b"\xff\xe1\x00\x00", None),
            (b"\xff\xeb\x90\x00", None),
            (b"ID3\x04\x00\x00\x00\x00\x00\x02??\xff\xfb\x90\x00", Some("audio/mpeg")),
            (b"ID3\x04\x00\x00\x00\x00\x00\x02??\xff\xf1\x50\x80", Some("audio/aac")),
            (b"ID3\x03\x00\x00\x00\x00\x00\x02??fLaC", Some("audio/flac")),
            (b"ID3\x03\x00\x00\x00\x00\x7f\x7f", Some("audio/mpeg")),
            (b"\x00\x00\x00\x20ftypM4A \x00\x00\x02\x00isomiso2", Some("audio/mp4")),
            (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", Some("audio/mp4")),
            (b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  ", Some("video/quicktime")),
            (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm\x42\x87", Some("audio/webm")),
            (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska\x42\x87", Some("audio/matroska")),
            (b"#!AMR-WB\n", Some("audio/amr-wb")),
            (b"a text", None),
            (b"", None),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(media_type(bytes), wanted, "{:?}", String::from_utf8_lossy(bytes));
            for cut in 0..bytes.len() {
                media_type(&bytes[..cut]);
            }
        }
    }
}
