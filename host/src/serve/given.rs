//! Items as clients give them: texts, and pictures or sounds as data URIs, base64, parts of a form, or addresses.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use image::ImageReader;
use serde_json::Value;
use std::borrow::Cow;
use std::io::Cursor;

use super::body::Field;
use super::error::Refusal;
use super::limits::Limits;
use super::media;
use super::sound;
use super::work::Work;
use crate::wording::beginning;

/// Base64 with padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters of what is no file that an error shows.
const SHOWN: usize = 40;

/// An item of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// `text`, `image`, `audio`, or the modality that the request names; none if it says nothing.
    pub(super) modality: Option<String>,
    /// What its first bytes look like, for where nothing else says it.
    pub(super) looks: Option<&'static str>,
    pub(super) bytes: Vec<u8>,
    /// The address of a file whose bytes are yet to be fetched.
    pub(super) url: Option<String>,
}

impl Given {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::of(Some("text"), text.into().into_bytes())
    }

    /// An item that comes as one of these keys, with the key; none if it comes as none of them, or as several.
    pub(super) fn one_of(
        text: Option<String>,
        image: Option<String>,
        audio: Option<String>,
    ) -> Result<Option<(&'static str, Self)>, Refusal> {
        let file = |file: &str, key| Self::file(file, key).map_err(|refusal| refusal.at(key));
        Ok(match (text, image, audio) {
            (Some(text), None, None) => Some(("text", Self::text(text))),
            (None, Some(image), None) => Some(("image", file(&image, "image")?)),
            (None, None, Some(audio)) => Some(("audio", file(&audio, "audio")?)),
            _ => None,
        })
    }

    fn of(modality: Option<&str>, bytes: Vec<u8>) -> Self {
        Self { modality: modality.map(str::to_owned), looks: None, bytes, url: None }
    }

    /// An element of `input`: a text, or a picture or sound as a data URI; with a `modality`, such an item, in plain base64
    /// too; or an object with one of `text`, `image` and `audio` as its key.
    pub(super) fn parse(value: Value, modality: Option<&str>) -> Result<Self, Refusal> {
        match (value, modality) {
            (Value::String(text), None) => match of_data(&text) {
                Some(modality) => Self::file(&text, modality),
                None => Ok(Self::text(text)),
            },
            (Value::String(text), Some("text")) => Ok(Self::text(text)),
            (Value::String(text), Some(modality)) => Self::file(&text, modality),
            (Value::Object(mut fields), _) => {
                let known = ["text", "image", "audio"].into_iter().filter(|key| fields.contains_key(*key));
                let known: Vec<&str> = known.collect();
                match (known.first().copied(), known.get(1)) {
                    (Some(key), None) => match fields[key].take() {
                        Value::String(text) if key == "text" => Ok(Self::text(text)),
                        Value::String(text) => Self::file(&text, key),
                        // As OpenAI's messages have it.
                        other => match other["url"].as_str() {
                            Some(url) if key != "text" => Self::file(url, key),
                            _ => Err(Refusal::invalid(format!("`{key}` is not text"))),
                        },
                    },
                    (Some(one), Some(two)) => Err(Refusal::invalid(format!(
                        "an item has one modality, and this has both `{one}` and `{two}`; send two items"
                    ))),
                    (None, _) => {
                        Err(Refusal::invalid("an item is a text, or an object with `text`, `image` or `audio`"))
                    }
                }
            }
            (Value::Number(_) | Value::Array(_), _) => {
                Err(Refusal::invalid("token numbers are those of one model's tokenizer; send the text itself"))
            }
            _ => Err(Refusal::invalid("an item is a text, or an object with `text`, `image` or `audio`")),
        }
    }

    /// A part of a message's `content`, as OpenAI, vLLM and Cohere have it; a content that is a text is one, too.
    pub(super) fn part(part: &Value) -> Result<Self, Refusal> {
        fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Refusal> {
            value.as_str().ok_or_else(|| Refusal::invalid(format!("`{name}` is not text")))
        }
        if let Value::String(text) = part {
            return Ok(Self::text(text));
        }
        match part["type"].as_str() {
            Some("text" | "input_text") => Ok(Self::text(text(&part["text"], "text")?)),
            Some(kind @ ("image_url" | "audio_url")) => {
                let url = if part[kind].is_string() { &part[kind] } else { &part[kind]["url"] };
                Self::file(text(url, kind)?, kind.trim_end_matches("_url"))
            }
            Some("input_audio") => Self::file(text(&part["input_audio"]["data"], "input_audio.data")?, "audio"),
            Some("input_image") => Self::file(text(&part["image_url"], "image_url")?, "image"),
            Some(other) => Err(Refusal::invalid(format!("a part of type {other:?} has no embedding here"))),
            None => Err(Refusal::invalid("a part of a message needs a `type`: text, image_url or input_audio")),
        }
    }

    /// A field of a form: a file, whose type its client says or its first bytes, or a text, which is read as in JSON.
    pub(super) fn field(field: &Field, modality: Option<&str>) -> Result<Self, Refusal> {
        let kind =
            |media: &str| ["image", "audio", "text"].into_iter().find(|kind| media.split('/').next() == Some(*kind));
        let said = field.media.as_deref().and_then(kind);
        let is_text = !field.is_file && !matches!(said, Some("image" | "audio"));
        if is_text && str::from_utf8(&field.bytes).is_ok() {
            return Self::parse(Value::String(field.text()?), modality);
        }
        match modality.or(said) {
            Some("text") => Ok(Self::text(field.text()?)),
            modality => {
                let looks = media::kind(&field.bytes).and_then(kind);
                Ok(Self { looks, ..Self::of(modality, field.bytes.to_vec()) })
            }
        }
    }

    /// A picture or sound in a data URI, in plain base64, or at an address.
    pub(super) fn file(text: &str, modality: &str) -> Result<Self, Refusal> {
        let encoded = match text.strip_prefix("data:") {
            Some(rest) => match rest.split_once(',') {
                Some((head, encoded)) if head.ends_with(";base64") => encoded,
                _ => return Err(Refusal::invalid("a data URI must be of the form data:TYPE;base64,CONTENT")),
            },
            None => match scheme(text).as_deref() {
                Some("http" | "https") => {
                    return Ok(Self { url: Some(text.to_owned()), ..Self::of(Some(modality), Vec::new()) });
                }
                Some(other) => {
                    return Err(Refusal::invalid(format!(
                        "an address with {other}:// is not fetched: send the content as data:TYPE;base64,..."
                    )));
                }
                None => text,
            },
        };
        // Copied only where there is something to leave out.
        let encoded = match encoded.bytes().any(|byte| byte.is_ascii_whitespace()) {
            true => Cow::from(encoded.split_ascii_whitespace().collect::<String>()),
            false => Cow::from(encoded),
        };
        let bytes = LENIENT.decode(&*encoded);
        let bytes = bytes.map_err(|error| {
            let start = beginning(text, SHOWN);
            Refusal::invalid(format!(
                "{start:?} is no base64 of a file ({modality}): {error}; send the content as data:TYPE;base64,..."
            ))
        })?;
        Ok(Self::of(Some(modality), bytes))
    }

    /// Bytes in memory of all of these.
    pub(super) fn bytes_of(items: &[Self]) -> usize {
        items.iter().map(|item| size_of::<Self>() + item.bytes.len() + item.url.as_ref().map_or(0, String::len)).sum()
    }

    /// Refuses what is empty, or larger than is allowed; else what decoding it takes.
    pub(super) fn check(&self, limits: &Limits) -> Result<Work, Refusal> {
        if self.bytes.is_empty() {
            return Err(Refusal::invalid("an item is empty"));
        }
        // A tower may name the modality of its pictures or sounds otherwise; a text is neither.
        let is_text = self.modality.as_deref() == Some("text");
        if is_text {
            return Ok(Work::default());
        }
        let mut work = Work::default();
        if let Ok(reader) = ImageReader::new(Cursor::new(&self.bytes)).with_guessed_format()
            && let Ok((width, height)) = reader.into_dimensions()
        {
            work.pixels = u64::from(width) * u64::from(height);
            if work.pixels > limits.pixels {
                let most = limits.pixels;
                return Err(Refusal::large(format!(
                    "a picture of {width} x {height} pixels, and at most {most} are allowed; send a smaller one"
                )));
            }
        }
        let length = sound::length(&self.bytes, limits.seconds);
        if length.seconds > limits.seconds as f64 {
            let most = limits.seconds;
            return Err(Refusal::large(format!("a sound of more than {most} s; send a part of it")));
        }
        work.seconds = length.work;
        Ok(work)
    }
}

/// The modality of a picture or sound in a data URI.
fn of_data(text: &str) -> Option<&'static str> {
    let (media, _) = text.strip_prefix("data:")?.split_once(";base64,")?;
    ["image", "audio"].into_iter().find(|kind| media.starts_with(&format!("{kind}/")))
}

/// The scheme of an address, in lower case; none of a text that is none.
fn scheme(text: &str) -> Option<Cow<'_, str>> {
    let (scheme, _) = text.split_once("://")?;
    let is_one = (1..=20).contains(&scheme.len())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_one.then(|| scheme.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(value: Value, modality: Option<&str>) -> Result<Given, String> {
        Given::parse(value, modality).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn items_come_in_the_forms_that_clients_send() {
        let picture = Given::of(Some("image"), b"PNG".to_vec());
        assert_eq!(parsed(json!("a dog"), None).unwrap(), Given::text("a dog"));
        assert_eq!(parsed(json!({"text": "a dog"}), None).unwrap(), Given::text("a dog"));
        for file in ["data:image/png;base64,UE5H", "UE5H", "data:;base64,UE5H", "UE\r\n5H"] {
            assert_eq!(parsed(json!({"image": file}), None).unwrap(), picture, "{file}");
            assert_eq!(parsed(json!(file), Some("image")).unwrap(), picture, "{file}");
            let part = json!({"type": "image_url", "image_url": {"url": file}});
            assert_eq!(Given::part(&part).unwrap(), picture);
        }
        assert_eq!(parsed(json!("data:image/png;base64,UE5H"), None).unwrap(), picture, "whose media type says it");
        for text in ["data: a dog", "data:image/svg+xml,%3Csvg"] {
            assert_eq!(parsed(json!(text), None).unwrap(), Given::text(text));
        }
        assert!(parsed(json!({"image": "HTTP://example.org/a.png"}), None).unwrap().url.is_some());
        let address = parsed(json!({"image": "https://example.org/a.png"}), None).unwrap();
        assert_eq!((address.url.as_deref(), address.bytes.len()), (Some("https://example.org/a.png"), 0));
        let sound = Given::of(Some("audio"), b"OggS".to_vec());
        let part = json!({"type": "input_audio", "input_audio": {"data": "T2dnUw", "format": "ogg"}});
        assert_eq!(Given::part(&part).unwrap(), sound);
        assert_eq!(Given::part(&json!("a dog")).unwrap(), Given::text("a dog"));
        let one_of = |text: Option<&str>, image: Option<&str>| {
            Given::one_of(text.map(str::to_owned), image.map(str::to_owned), None)
        };
        assert_eq!(one_of(None, Some("UE5H")).unwrap(), Some(("image", picture)));
        assert_eq!((one_of(None, None).unwrap(), one_of(Some("a"), Some("UE5H")).unwrap()), (None, None));
        assert!(format!("{:?}", one_of(None, Some("?")).unwrap_err()).contains("\"image\""));
    }

    #[test]
    fn a_file_of_a_form_is_what_its_client_or_its_content_says() {
        let field = |media: Option<&str>, is_file, bytes: &'static [u8]| {
            let field = Field { name: "file".into(), media: media.map(str::to_owned), is_file, bytes: bytes.into() };
            let given = Given::field(&field, None).unwrap();
            given.modality.or(given.looks.map(str::to_owned))
        };
        let octets = Some("application/octet-stream");
        for (media, is_file, bytes, modality) in [
            (octets, true, &b"OggS"[..], Some("audio")),
            (Some("application/ogg"), true, b"OggS", Some("audio")),
            (None, false, b"\xff\xd8\xff\xe0", Some("image")),
            (Some("image/png"), true, b"OggS", Some("image")),
            (octets, true, b"?", None),
            // Which begins as a picture does.
            (None, false, b"BMW", Some("text")),
            (None, false, b"data:image/png;base64,UE5H", Some("image")),
            (Some("text/plain"), false, b"data:image/png;base64,UE5H", Some("image")),
            (Some("text/plain"), true, b"data:image/png;base64,UE5H", Some("text")),
        ] {
            assert_eq!(field(media, is_file, bytes).as_deref(), modality, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_picture_is_too_large_whatever_its_modality_is_called() {
        let bomb = [&b"GIF89a\xff\xff\xff\xff\0\0\0"[..], b"\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\0;"].concat();
        for modality in [Some("image"), Some("scan"), None] {
            let refusal = Given::of(modality, bomb.clone()).check(&Limits::default()).unwrap_err();
            assert_eq!(refusal.status, 413, "{modality:?}");
        }
        assert!(Given::of(Some("text"), bomb).check(&Limits::default()).is_ok());
    }

    #[test]
    fn what_is_no_item_is_refused_with_the_reason() {
        for (value, says) in [
            (json!([1, 2, 3]), "token numbers"),
            (json!(null), "an item is a text, or an object"),
            (json!({"video": "x"}), "an item is a text, or an object"),
            (json!({"text": "a", "image": "UE5H"}), "both `text` and `image`"),
            (json!({"image": "data:image/png,abc"}), "data:TYPE;base64,CONTENT"),
            (json!({"image": "?"}), "no base64"),
            (json!({"image": "FILE:///etc/passwd"}), "file:// is not fetched"),
            (json!({"text": 1}), "`text` is not text"),
            (json!({"image": {"uri": "UE5H"}}), "`image` is not text"),
        ] {
            let refusal = parsed(value.clone(), None).unwrap_err();
            assert!(refusal.contains(says), "{value}: {refusal}");
        }
    }
}
