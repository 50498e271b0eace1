//! Sizes as people write them.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// A size in memory or on a disk, written as "4GiB", "512MiB", "2GB" or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

impl Bytes {
    /// Human-readable, in whole MiB, and of much in whole GiB.
    pub(crate) fn rounded(bytes: u64) -> Self {
        let unit = if bytes < 10 << 30 { 1 << 20 } else { 1 << 30 };
        Self(bytes.div_ceil(unit) * unit)
    }
}

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (unit, size) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).copied().unwrap_or(("", 1));
        let number = text.strip_suffix(unit).unwrap_or(text).trim().parse::<f64>().ok();
        let bytes = number.map(|number| number * size as f64).filter(|bytes| *bytes >= 1.0 && *bytes < 1e18);
        let wrong = || format!("`{text}` is not a size; write it as \"4GiB\", \"512MiB\" or a number of bytes");
        Ok(Self(bytes.ok_or_else(wrong)? as u64))
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, size)| self.0.is_multiple_of(*size)).expect("bytes are whole");
        write!(f, "{}{}", self.0 / whole.1, whole.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in
            [("4GiB", 4 << 30), ("1.5GiB", 3 << 29), ("2GB", 2_000_000_000), ("77", 77), ("8 kB", 8000)]
        {
            let size: Bytes = text.parse().unwrap();
            assert_eq!(size, Bytes(bytes));
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert!("much".parse::<Bytes>().unwrap_err().contains("4GiB"));
    }
}
