//! A vector in base64: little-endian f32, in either alphabet, with or without padding.

use base64::Engine;
use base64::alphabet::{self, Alphabet};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The advice where it cannot be read.
const ADVICE: &str = "`encoding = \"float\"` in plugins.toml asks for numbers instead";

const STANDARD: GeneralPurpose = engine(&alphabet::STANDARD);
const URL_SAFE: GeneralPurpose = engine(&alphabet::URL_SAFE);

const fn engine(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

/// The values of a vector, or the fault, to be read after "the vector".
pub(crate) fn values(text: &str) -> Result<Vec<f32>, String> {
    let lines: String;
    let text = match text.contains(['\n', '\r', ' ']) {
        true => {
            lines = text.split_whitespace().collect();
            &lines
        }
        false => text,
    };
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let bytes = engine.decode(text).map_err(|error| {
        let start: String = text.chars().take(20).collect();
        format!("is no base64: {error}; it is the text {start:?}; {ADVICE}")
    })?;
    let (chunks, []) = bytes.as_chunks::<4>() else {
        return Err(format!("has {} bytes, not a whole number of f32 values", bytes.len()));
    };
    let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match other(&bytes, &values) {
        Some(other) => Err(format!("has {other} in base64, not little-endian f32 values; {ADVICE}")),
        None => Ok(values),
    }
}

/// The name of the other numbers that these bytes are, if they make sense as such and not as `values`.
fn other(bytes: &[u8], values: &[f32]) -> Option<&'static str> {
    let is_absurd = |value: &f32| !value.is_finite() || value.abs() > 1e9 || *value != 0.0 && value.abs() < 1e-18;
    // One or two such values may be what they are.
    let absurd = values.iter().filter(|value| is_absurd(value)).count();
    if absurd < 2 || 16 * absurd < values.len() {
        return None;
    }
    let doubles = bytes.as_chunks::<8>();
    if doubles.1.is_empty() && make_sense(doubles.0.iter().map(|bytes| f64::from_le_bytes(*bytes))) {
        return Some("f64 values");
    }
    if make_sense(values.iter().map(|value| f64::from(f32::from_bits(value.to_bits().swap_bytes())))) {
        return Some("big-endian f32 values");
    }
    let is_big = doubles.1.is_empty() && make_sense(doubles.0.iter().map(|bytes| f64::from_be_bytes(*bytes)));
    is_big.then_some("big-endian f64 values")
}

/// True for what the values of an embedding may be, not all of them zero.
fn make_sense(values: impl Iterator<Item = f64>) -> bool {
    let (mut all, mut any) = (true, false);
    for value in values {
        all &= value == 0.0 || (1e-12..1e6).contains(&value.abs());
        any |= value != 0.0;
    }
    all && any
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 6] = [0.1, -0.25, 0.333, 1e-4, -0.9, 0.05];

    fn bytes<const N: usize>(of: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
        VALUES.iter().flat_map(|value| of(*value)).collect()
    }

    #[test]
    fn either_alphabet_is_read_with_or_without_padding_and_lines() {
        // In both alphabets something of its own, and an end that is padded.
        let mut wanted = VALUES.to_vec();
        wanted.extend([f32::from_le_bytes([0xfb, 0xff, 0xbe, 0x3e]), 0.5]);
        let bytes: Vec<u8> = wanted.iter().flat_map(|value| value.to_le_bytes()).collect();
        let [standard, url_safe] = [&STANDARD, &URL_SAFE].map(|engine| engine.encode(&bytes));
        assert!(standard.contains(['+', '/']) && url_safe.contains(['-', '_']) && standard.ends_with('='));
        let lines = format!("{}\r\n{}\n", &standard[..20], &standard[20..]);
        let bare = |text: &str| text.trim_end_matches('=').to_owned();
        for text in [bare(&standard), bare(&url_safe), standard, url_safe, lines] {
            assert_eq!(values(&text), Ok(wanted.clone()), "{text}");
        }
        assert_eq!(values(""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_base64_of_f32_is_refused_by_name() {
        for (text, words) in [
            ("[0.1, 0.2]".to_owned(), "is no base64: "),
            ("AAAA*AAA".to_owned(), "is no base64: "),
            (STANDARD.encode(bytes(|value| f64::from(value).to_le_bytes())), "has f64 values in base64"),
            (STANDARD.encode(bytes(f32::to_be_bytes)), "has big-endian f32 values in base64"),
            (STANDARD.encode(bytes(|value| f64::from(value).to_be_bytes())), "has big-endian f64 values in base64"),
        ] {
            let fault = values(&text).unwrap_err();
            assert!(fault.starts_with(words) && fault.contains("`encoding = \"float\"`"), "{fault}");
        }
        assert_eq!(values("AAA="), Err("has 2 bytes, not a whole number of f32 values".to_owned()));
    }

    #[test]
    fn odd_values_that_are_nothing_else_stay() {
        for odd in [[1e-30, 0.5], [3e20, -1e20], [f32::NAN, 1.0], [f32::MIN_POSITIVE / 2.0, 1e-40]] {
            let text = STANDARD.encode(odd.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            let read: Vec<u32> = values(&text).unwrap().into_iter().map(f32::to_bits).collect();
            assert_eq!(read, odd.map(f32::to_bits), "{odd:?}");
        }
    }
}
