//! Whether an MP3 file says how long it is; else its length is guessed from the file's, and a cut does not show.

/// The first frame is not longer than this.
const FRAME: usize = 2048;

/// Whether the first frame counts those that follow.
pub(crate) fn is_counted(bytes: &[u8]) -> bool {
    let start = tag(bytes).min(bytes.len());
    let frame = &bytes[start..bytes.len().min(start + FRAME)];
    frame.windows(4).any(|name| [b"Xing", b"Info", b"VBRI"].iter().any(|&known| name == known))
}

/// The length of the ID3v2 tag at the start, in which a size is four times seven bits.
fn tag(bytes: &[u8]) -> usize {
    match bytes.first_chunk::<10>() {
        Some([b'I', b'D', b'3', _, _, _, size @ ..]) => {
            10 + size.iter().fold(0, |size, &byte| size << 7 | usize::from(byte & 0x7f))
        }
        _ => 0,
    }
}
