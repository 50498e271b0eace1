//! The input and output of an encoder: items, latents, outcomes.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::ItemError;

/// The kind of an item. Any name beyond the first three is a custom modality, whose items are files that only your
/// encoder understands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Modality {
    /// UTF-8 text.
    Text,
    /// The bytes of an image file.
    Image,
    /// The bytes of a sound file.
    Audio,
    /// The bytes of a file of another kind.
    Other(String),
}

impl Modality {
    /// The name used in plugins.toml, `--json` and the cache.
    pub fn name(&self) -> &str {
        match self {
            Modality::Text => "text",
            Modality::Image => "image",
            Modality::Audio => "audio",
            Modality::Other(name) => name,
        }
    }
}

impl From<String> for Modality {
    fn from(name: String) -> Self {
        match name.as_str() {
            "text" => Modality::Text,
            "image" => Modality::Image,
            "audio" => Modality::Audio,
            _ => Modality::Other(name),
        }
    }
}

impl From<Modality> for String {
    fn from(modality: Modality) -> Self {
        modality.name().to_owned()
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One raw item, which the encoder decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item<'a> {
    /// Name of its modality (see [`Modality::name`]).
    pub modality: &'a str,
    /// UTF-8 text, or the bytes of a file.
    pub bytes: &'a [u8],
}

impl<'a> Item<'a> {
    /// A text item.
    pub fn text(text: &'a str) -> Self {
        Self { modality: "text", bytes: text.as_bytes() }
    }

    /// An item of any modality.
    pub fn new(modality: &'a Modality, bytes: &'a [u8]) -> Self {
        Self { modality: modality.name(), bytes }
    }

    /// The bytes as text, or the error that fails only this item: invalid UTF-8, or nothing but white space.
    pub fn as_text(&self) -> Result<&'a str, ItemError> {
        let text = std::str::from_utf8(self.bytes).map_err(|error| {
            ItemError::new(format!("invalid UTF-8 at byte {}: save it as UTF-8", error.valid_up_to()))
        })?;
        if text.trim().is_empty() {
            return Err(ItemError::new("empty text"));
        }
        Ok(text)
    }
}

/// An item's latent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Latent {
    /// As many values as the encoder's width.
    pub values: Vec<f32>,
    /// True if the item was longer than the model reads, so that its end is not part of the latent.
    pub truncated: bool,
}

impl Latent {
    /// The latent with these values; `truncated` if the model did not read the item to its end.
    pub fn new(values: Vec<f32>, truncated: bool) -> Self {
        Self { values, truncated }
    }
}

impl From<Vec<f32>> for Latent {
    fn from(values: Vec<f32>) -> Self {
        Self::new(values, false)
    }
}

/// The outcome of one item, whose failure never fails the batch.
pub type Outcome = Result<Latent, ItemError>;
