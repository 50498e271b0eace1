//! The first frame of an MP3 file, with the length field. Without that field, the length is guessed from the file's
//! size, and truncation is not detected.

/// The maximum length of the first frame.
const FRAME: usize = 2048;

/// True if the first frame counts those that follow.
pub(crate) fn is_counted(bytes: &[u8]) -> bool {
    let frame = &bytes[..bytes.len().min(FRAME)];
    frame.windows(4).any(|name| [b"Xing", b"Info", b"VBRI"].iter().any(|&known| name == known))
}
