//! A vector in base64: little-endian f32, in either alphabet, with or without padding. Whether they are f32, only many
//! values tell.

use base64::Engine;
use base64::alphabet::{self, Alphabet};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Digits of hexadecimal numbers that no base64 consists of by chance.
const DIGITS: usize = 32;

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
    // That of a data URI.
    let text = match text.strip_prefix("data:").and_then(|uri| uri.split_once(";base64,")) {
        Some((_, rest)) => rest,
        None => text,
    };
    let start = || text.chars().take(20).collect::<String>();
    if is_hex(text) {
        return Err(format!("is in hexadecimal digits, not in base64; it is the text {:?}", start()));
    }
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let bytes = engine.decode(text).map_err(|error| format!("is no base64: {error}; it is the text {:?}", start()))?;
    match bytes.as_chunks::<4>() {
        (chunks, []) => Ok(chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        _ => Err(format!("has {} bytes in base64, not a whole number of f32 values", bytes.len())),
    }
}

/// True for bytes in hexadecimal digits, which are letters of base64 too; a row of the letter that is 0 there is not.
fn is_hex(text: &str) -> bool {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("\\x")).unwrap_or(text).as_bytes();
    let all = |is_one: fn(&u8) -> bool| digits.iter().all(is_one);
    let said = digits.iter().filter(|digit| **digit != b'A').count();
    digits.len().is_multiple_of(2)
        && said >= DIGITS
        && (all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            || all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 6] = [0.1, -0.25, 0.333, 1e-4, -0.9, 0.05];

    #[test]
    fn either_alphabet_is_read_with_or_without_padding_and_lines() {
        // In both alphabets something of its own, and an end that is padded.
        let mut wanted = VALUES.to_vec();
        wanted.extend([f32::from_le_bytes([0xfb, 0xff, 0xbe, 0x3e]), 0.5]);
        let bytes: Vec<u8> = wanted.iter().flat_map(|value| value.to_le_bytes()).collect();
        let [standard, url_safe] = [&STANDARD, &URL_SAFE].map(|engine| engine.encode(&bytes));
        assert!(standard.contains(['+', '/']) && url_safe.contains(['-', '_']) && standard.ends_with('='));
        let lines = format!("{}\r\n{}\n", &standard[..20], &standard[20..]);
        let uri = format!("data:application/octet-stream;base64,{standard}");
        let bare = |text: &str| text.trim_end_matches('=').to_owned();
        for text in [bare(&standard), bare(&url_safe), standard, url_safe, lines, uri] {
            assert_eq!(values(&text), Ok(wanted.clone()), "{text}");
        }
        assert_eq!(values(""), Ok(vec![]));
        assert_eq!(values(&"A".repeat(128)), Ok(vec![0.0; 24]), "hexadecimal digits are of more than one kind");
    }

    #[test]
    fn what_is_no_base64_of_f32_is_refused_by_name() {
        let hex: String =
            VALUES.iter().flat_map(|value| value.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect();
        for (text, words) in [
            ("[0.1, 0.2]", "is no base64: "),
            ("AAAA*AAA", "is no base64: "),
            (&hex, "is in hexadecimal digits, not in base64; it is the text \"cdcccc3d000080befa7e\""),
            (&hex.to_uppercase(), "is in hexadecimal digits, "),
            (&format!("\\x{hex}"), "is in hexadecimal digits, "),
            ("AAA=", "has 2 bytes in base64, not a whole number of f32 values"),
        ] {
            let fault = values(text).unwrap_err();
            assert!(fault.starts_with(words), "{fault}");
        }
    }

    #[test]
    fn odd_values_stay() {
        for odd in [[1e-30, 0.5], [3e20, -1e20], [f32::NAN, 1.0], [f32::MIN_POSITIVE / 2.0, 1e-40]] {
            let text = STANDARD.encode(odd.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            let read: Vec<u32> = values(&text).unwrap().into_iter().map(f32::to_bits).collect();
            assert_eq!(read, odd.map(f32::to_bits), "{odd:?}");
        }
    }
}
