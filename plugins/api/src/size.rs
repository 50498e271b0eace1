//! The size of an item once it is sent.

use fusemix_sdk::{Item, Size};

use crate::tokens::Tokens;

/// Bytes of JSON around an input.
const AROUND: u64 = 64;

/// The share of an item in a request's limits: with `prompt` before it if it is a text, and with so many pixels per
/// token if it is an image whose tokens count.
pub(crate) fn size(item: &Item<'_>, prompt: &str, tokens: &Tokens, pixels_per_token: Option<f64>) -> Size {
    let mut size = Size::default();
    match (item.modality, std::str::from_utf8(item.bytes)) {
        ("text", Ok(text)) => {
            let text = format!("{prompt}{text}");
            size.bytes = serde_json::Value::from(&*text).to_string().len() as u64 + AROUND;
            size.tokens = tokens.count(&text);
        }
        ("text", Err(_)) => size.bytes = AROUND,
        (modality, _) => {
            size.bytes = (item.bytes.len() as u64).div_ceil(3) * 4 + AROUND;
            if let Some(pixels_per_token) = pixels_per_token.filter(|_| modality == "image") {
                // What does not tell its size the server will hardly decode.
                let pixels = imagesize::blob_size(item.bytes).map_or(0, |size| size.width * size.height);
                size.tokens = (pixels as f64 / pixels_per_token).ceil() as u64;
            }
        }
    }
    size
}
