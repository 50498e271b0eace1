//! Items in the form that is sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fusemix_sdk::{Item, ItemError};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    Text(String),
    /// A file: its MIME type, and its bytes in base64.
    File {
        mime: &'static str,
        base64: String,
    },
}

impl Input {
    pub(crate) fn of(item: &Item<'_>) -> Result<Self, ItemError> {
        if item.modality == "text" {
            return Ok(Self::Text(item.as_text()?.to_owned()));
        }
        let Some(mime) = mime(item.bytes) else {
            let kinds = if item.modality == "image" { "PNG, JPEG, GIF or WebP" } else { "WAV, MP3, FLAC or Ogg" };
            return Err(ItemError::new(format!("not a file that the API accepts: {kinds}")));
        };
        Ok(Self::File { mime, base64: STANDARD.encode(item.bytes) })
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::File { base64, .. } => base64,
        }
    }

    /// A text as it is, a file as a data URI.
    pub(crate) fn or_uri(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::File { mime, base64 } => format!("data:{mime};base64,{base64}"),
        }
    }
}

/// The MIME type by a file's first bytes.
fn mime(bytes: &[u8]) -> Option<&'static str> {
    let riff = |kind: &[u8]| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(kind);
    Some(match bytes {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        _ if riff(b"WEBP") => "image/webp",
        _ if riff(b"WAVE") => "audio/wav",
        [b'f', b'L', b'a', b'C', ..] => "audio/flac",
        [b'O', b'g', b'g', b'S', ..] => "audio/ogg",
        [b'I', b'D', b'3', ..] | [0xff, 0xe2..=0xff, ..] => "audio/mpeg",
        _ => return None,
    })
}
