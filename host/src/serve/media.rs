//! The types of files that pages show, by their first bytes.

/// The type of a picture or sound that browsers show; none for anything else.
pub(super) fn kind(bytes: &[u8]) -> Option<&'static str> {
    let at = |place: usize, word: &[u8]| bytes.get(place..place + word.len()) == Some(word);
    if at(0, b"RIFF") && at(8, b"WAVE") {
        return Some("audio/wav");
    }
    if at(4, b"ftyp") && ["M4A ", "M4B ", "mp41", "mp42", "isom"].iter().any(|brand| at(8, brand.as_bytes())) {
        return Some("audio/mp4");
    }
    if at(4, b"ftypavif") {
        return Some("image/avif");
    }
    let starts: [(&[u8], &str); 8] = [
        (b"OggS", "audio/ogg"),
        (b"fLaC", "audio/flac"),
        (b"ID3", "audio/mpeg"),
        (b"\xff\xfb", "audio/mpeg"),
        (b"\xff\xf3", "audio/mpeg"),
        (b"\xff\xf1", "audio/aac"),
        (b"\xff\xf9", "audio/aac"),
        (b"\x1a\x45\xdf\xa3", "audio/webm"),
    ];
    if let Some((_, kind)) = starts.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(kind);
    }
    use image::ImageFormat::*;
    match image::guess_format(bytes) {
        Ok(format @ (Png | Jpeg | Gif | WebP | Bmp)) => Some(format.to_mime_type()),
        Ok(_) => None,
        Err(_) => is_svg(bytes).then_some("image/svg+xml"),
    }
}

/// True if an XML text begins with a drawing.
fn is_svg(bytes: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    let start = start.trim_start_matches('\u{feff}').trim_start();
    start.starts_with('<') && start.contains("<svg") && !start.to_lowercase().contains("<html")
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn files_are_known_by_their_content() {
        for (bytes, wanted) in [
            (&b"\x89PNG\r\n\x1a\n....."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"RIFF....WAVE", Some("audio/wav")),
            (b"RIFF....WEBP", Some("image/webp")),
            (b"OggS", Some("audio/ogg")),
            (b"<?xml version='1.0'?><!-- a --><svg xmlns=''>", Some("image/svg+xml")),
            (b"<html><svg></svg></html>", None),
            (b"root:x:0:0:root:/root:/bin/bash", None),
            (b"", None),
        ] {
            assert_eq!(kind(bytes), wanted, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
