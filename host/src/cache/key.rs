//! The address of a stored latent: its encoder (a fingerprint) and its item (a key).

use fusemix_sdk::Modality;
use std::collections::BTreeMap;
use std::fmt;

/// An item: BLAKE3 of its modality's name, a zero byte, its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The key of an item.
    pub fn of(modality: &Modality, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(modality.name().as_bytes()).update(&[0]).update(bytes);
        Self(hasher.finalize().into())
    }
}

/// The named properties that make two latents comparable, and their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    parts: BTreeMap<String, String>,
    hex: String,
}

impl Fingerprint {
    /// A fingerprint with these parts.
    pub fn new(parts: BTreeMap<String, String>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for text in parts.iter().flat_map(|(name, value)| [name, value]) {
            // The length first, so that no two lists of parts read the same.
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        let hex = hasher.finalize().to_hex()[..16].to_owned();
        Self { parts, hex }
    }

    /// The parts.
    pub fn parts(&self) -> &BTreeMap<String, String> {
        &self.parts
    }

    /// 16 hexadecimal digits: the name of the entry's folder.
    pub fn hex(&self) -> &str {
        &self.hex
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex)
    }
}
