//! The kinds of files that make a sample, by their endings.

use std::path::Path;

/// The longest text that a sample may have.
pub(super) const LONGEST: u64 = 16 << 20;

const TEXTS: [&str; 6] = ["txt", "text", "caption", "cls", "label", "transcript"];
const PICTURES: [&str; 11] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "svg", "ppm", "avif"];
const SOUNDS: [&str; 9] = ["wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "aac", "aiff"];

/// What a file of a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Text,
    Json,
    Picture,
    Sound,
    Other,
}

impl Field {
    /// By the name of a field, or the ending of a file, in small letters.
    pub(super) fn of(name: &str) -> Self {
        let ending = name.rsplit('.').next().unwrap_or(name);
        match ending {
            "json" => Self::Json,
            ending if TEXTS.contains(&ending) => Self::Text,
            // A part of it, as a mask is, is another picture.
            _ if PICTURES.contains(&name) => Self::Picture,
            _ if SOUNDS.contains(&name) => Self::Sound,
            _ => Self::Other,
        }
    }

    /// By the ending of a file.
    pub(super) fn of_file(path: &Path) -> Self {
        ending(path).map_or(Self::Other, |ending| Self::of(&ending))
    }

    /// True if it is read with the table.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Json)
    }

    /// The modality of a picture or sound, which is a column for all endings.
    pub(super) fn modality(self) -> Option<&'static str> {
        match self {
            Self::Picture => Some("image"),
            Self::Sound => Some("audio"),
            _ => None,
        }
    }
}

/// The name of a file without its folder.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The ending of a path, in small letters.
pub(super) fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_lowercase())
}

/// A text without the end of its last line.
pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_what_a_file_is() {
        for (name, field) in [
            ("jpg", Field::Picture),
            ("seg.png", Field::Other),
            ("flac", Field::Sound),
            ("en.txt", Field::Text),
            ("meta.json", Field::Json),
            ("npy", Field::Other),
        ] {
            assert_eq!(Field::of(name), field, "{name}");
        }
        assert_eq!(trimmed(b"\xef\xbb\xbfa dog \r\n\n"), b"a dog ");
        assert_eq!(trimmed(b"\n"), b"");
    }
}
