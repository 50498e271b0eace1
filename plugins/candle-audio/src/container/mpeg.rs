//! The header of an MP3 file: tags, and the first frame's length field. Without that field, the length is guessed from
//! the file's size, and truncation is not detected.

/// The maximum length of the first frame.
const FRAME: usize = 2048;
/// The header of an ID3v2 tag, and its footer where there is one.
const HEADER: usize = 10;

/// True if the first frame counts those that follow.
pub(crate) fn is_counted(bytes: &[u8]) -> bool {
    let frame = &bytes[..bytes.len().min(FRAME)];
    frame.windows(4).any(|name| [b"Xing", b"Info", b"VBRI"].iter().any(|&known| name == known))
}

/// `bytes` without the ID3v2 tags before the sound, which would be searched in vain: a cover may be megabytes long.
pub(crate) fn untagged(mut bytes: &[u8]) -> &[u8] {
    while let Some([b'I', b'D', b'3', _, _, flags, size @ ..]) = bytes.first_chunk::<HEADER>() {
        // Four times seven bits.
        let size = size.iter().fold(0, |size, &byte| size << 7 | usize::from(byte & 0x7f));
        let footer = if flags & 0x10 == 0 { 0 } else { HEADER };
        bytes = bytes.get(HEADER + size + footer..).unwrap_or_default();
    }
    bytes
}
