//! Items in the form that is sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fusemix_sdk::{Item, ItemError};

use crate::media::media_type;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    Text(String),
    /// A file: its media type, and its bytes in base64.
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
        let mime = media_type(item.bytes).ok_or_else(|| {
            let kinds = match item.modality {
                "image" => "PNG, JPEG, GIF, WebP, AVIF, HEIC, TIFF, BMP, JPEG XL or JPEG 2000",
                _ => "WAV, MP3, FLAC, Ogg, AAC, M4A, WebM, AIFF, AMR, AC-3 or WMA",
            };
            ItemError::new(format!("not a file of a kind that can be sent: {kinds}"))
        })?;
        // What holds sounds may hold pictures that move, too.
        let fits = mime.starts_with(item.modality) || item.modality == "audio" && mime.starts_with("video/");
        if !fits {
            return Err(ItemError::new(format!("the file is {mime}, not an {}", item.modality)));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use fusemix_sdk::Modality;

    #[test]
    fn files_are_sent_under_their_own_names() {
        let uri =
            |modality: &Modality, bytes: &[u8]| Input::of(&Item::new(modality, bytes)).map(|input| input.or_uri());
        let of = |modality: &Modality, bytes: &[u8]| uri(modality, bytes).map_err(|error| error.message);
        assert_eq!(of(&Modality::Audio, b"\xff\xf1\x50\x80"), Ok("data:audio/aac;base64,//FQgA==".to_owned()));
        assert_eq!(of(&Modality::Audio, b"\xff\xfb\x90\x00"), Ok("data:audio/mpeg;base64,//uQAA==".to_owned()));
        let refused = of(&Modality::Image, b"\xff\xf1\x50\x80").unwrap_err();
        assert_eq!(refused, "the file is audio/aac, not an image");
        assert!(of(&Modality::Audio, b"text").unwrap_err().starts_with("not a file of a kind that can be sent: WAV"));
    }
}
