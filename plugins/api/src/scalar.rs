//! The type of the numbers in base64, by the values that they would be: those of embeddings lie within a few powers of
//! two, and the same bytes, read as numbers of another type, do not.

use std::ops::RangeInclusive;

/// The numbers that bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// Little-endian f32.
    F32,
    /// Of the type with this name.
    Other(&'static str),
    /// Too few to tell, or none that are known, or of more than one type.
    Unclear,
}

/// The values, other than 0, that are enough to tell, and the most that are looked at.
const ENOUGH: usize = 16;
const MOST: usize = 4096;
/// The median of an embedding's magnitudes, and the factor to either side within which nine in ten of them are: of
/// normally distributed ones, it is 99 in 100. Of an f16's bits in the place of an f32's exponent, it is less than half.
const USUAL: RangeInclusive<f64> = 6e-8..=1.7e7;
const SPREAD: f64 = 64.0;

impl Scalar {
    /// The type of the numbers in these vectors, whose bytes were read as little-endian f32.
    pub(crate) fn of(vectors: &[&[f32]]) -> Self {
        let is_even = vectors.iter().all(|vector| vector.len().is_multiple_of(2));
        let words: Vec<u32> = vectors.iter().copied().flatten().take(MOST).map(|value| value.to_bits()).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (pairs, quads, octets) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0, bytes.as_chunks::<8>().0);
        let as_f16 = || are_usual(pairs.iter().map(|bytes| half(u16::from_le_bytes(*bytes))));
        let as_bf16 = || are_usual(pairs.iter().map(|bytes| brain(u16::from_le_bytes(*bytes))));
        if are_usual(quads.iter().map(|bytes| f32::from_le_bytes(*bytes).into())) {
            // The second of two bf16 is the greater part of an f32, whose magnitude is then as usual.
            return if as_f16() || as_bf16() { Self::Unclear } else { Self::F32 };
        }
        // The greater half of an f64, in the place of an f32, is one of a few: what is not, is an f32 of any size.
        let doubled = |of: fn(&[u8; 8]) -> (f64, u32)| {
            let (values, words): (Vec<f64>, Vec<u32>) = octets.iter().map(of).unzip();
            is_even && are_usual(values) && are_usual(words.into_iter().map(|word| f32::from_bits(word).into()))
        };
        let little = |bytes: &[u8; 8]| (f64::from_le_bytes(*bytes), (u64::from_le_bytes(*bytes) >> 32) as u32);
        let big = |bytes: &[u8; 8]| (f64::from_be_bytes(*bytes), (u64::from_be_bytes(*bytes) >> 32) as u32);
        let others: [(&'static str, &dyn Fn() -> bool); 7] = [
            ("f64", &|| doubled(little)),
            ("f16", &as_f16),
            ("bf16", &as_bf16),
            ("big-endian f32", &|| are_usual(quads.iter().map(|bytes| f32::from_be_bytes(*bytes).into()))),
            ("big-endian f64", &|| doubled(big)),
            ("big-endian f16", &|| are_usual(pairs.iter().map(|bytes| half(u16::from_be_bytes(*bytes))))),
            ("big-endian bf16", &|| are_usual(pairs.iter().map(|bytes| brain(u16::from_be_bytes(*bytes))))),
        ];
        others.iter().find(|(_, is_so)| is_so()).map_or(Self::Unclear, |(name, _)| Self::Other(name))
    }
}

/// True if nearly all of the values, other than 0, are of the magnitude that those of an embedding have.
fn are_usual(values: impl IntoIterator<Item = f64>) -> bool {
    let values: Vec<f64> = values.into_iter().collect();
    let mut sizes: Vec<f64> = values.iter().map(|value| value.abs()).filter(|size| *size != 0.0).collect();
    // A 0 at each other place is the rest of a longer number that does not need it.
    let at = |parity| values.iter().skip(parity).step_by(2).all(|value| *value == 0.0);
    if sizes.len() < ENOUGH || at(0) || at(1) {
        return false;
    }
    sizes.sort_unstable_by(f64::total_cmp);
    let median = sizes[sizes.len() / 2];
    let around = median / SPREAD..=median * SPREAD;
    let usual = sizes.iter().filter(|size| around.contains(size)).count();
    USUAL.contains(&median) && 10 * usual >= 9 * sizes.len()
}

/// The value of an f16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
    sign * match exponent {
        0 => fraction * 2f64.powi(-14),
        31 => f64::INFINITY,
        exponent => (1.0 + fraction) * 2f64.powi(exponent - 15),
    }
}

/// The value of a bf16.
fn brain(bits: u16) -> f64 {
    f32::from_bits(u32::from(bits) << 16).into()
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// The bits of the nearest f16 below.
    fn to_half(value: f32) -> u16 {
        let bits = value.to_bits();
        let exponent = (bits >> 23 & 255) as i32 - 127 + 15;
        let sign = (bits >> 16 & 0x8000) as u16;
        match exponent {
            ..=0 => sign,
            exponent => sign | (exponent as u16) << 10 | (bits >> 13 & 1023) as u16,
        }
    }

    /// So many values, about normally distributed, of length 1.
    fn embedding(width: usize, random: &mut StdRng) -> Vec<f32> {
        let values: Vec<f32> =
            (0..width).map(|_| (0..12).map(|_| random.random_range(-0.5f32..0.5)).sum::<f32>()).collect();
        let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        values.into_iter().map(|value| value / length).collect()
    }

    /// What is said of so many vectors whose values are packed in this way.
    fn said<const N: usize>(vectors: &[Vec<f32>], pack: impl Fn(f32) -> [u8; N]) -> Scalar {
        let read: Vec<Vec<f32>> = vectors
            .iter()
            .map(|vector| {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| pack(*value)).collect();
                bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
            })
            .collect();
        Scalar::of(&read.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn each_type_is_told_by_its_values() {
        let random = &mut StdRng::seed_from_u64(7);
        for (width, count) in [(24, 1), (96, 1), (384, 1), (1024, 1), (24, 20), (768, 64)] {
            for _ in 0..50 {
                let vectors: Vec<Vec<f32>> = (0..count).map(|_| embedding(width, random)).collect();
                let whole = format!("{count} of {width}");
                assert_eq!(said(&vectors, f32::to_le_bytes), Scalar::F32, "{whole}");
                // Of models that compute in less, and of what comes from ReLU.
                let short = |value: f32| (value.to_bits() & 0xffff_0000).to_le_bytes();
                assert_eq!(said(&vectors, short), Scalar::F32, "{whole}");
                assert_eq!(said(&vectors, |value| (value.to_bits() & 0xffff_e000).to_le_bytes()), Scalar::F32);
                if width * count > 90 {
                    assert_eq!(said(&vectors, |value| value.max(0.0).to_le_bytes()), Scalar::F32, "{whole}");
                }
                assert_eq!(said(&vectors, |value| f64::from(value).to_le_bytes()), Scalar::Other("f64"), "{whole}");
                let rounded = |value: f32| f64::from(f32::from_bits(value.to_bits() & 0xffff_e000)).to_le_bytes();
                assert_eq!(said(&vectors, rounded), Scalar::Other("f64"), "{whole}");
                assert_eq!(said(&vectors, |value| to_half(value).to_le_bytes()), Scalar::Other("f16"), "{whole}");
                assert_eq!(said(&vectors, f32::to_be_bytes), Scalar::Other("big-endian f32"), "{whole}");
                let big = |value| f64::from(value).to_be_bytes();
                assert_eq!(said(&vectors, big), Scalar::Other("big-endian f64"), "{whole}");
                let big = |value| to_half(value).to_be_bytes();
                assert_eq!(said(&vectors, big), Scalar::Other("big-endian f16"), "{whole}");
                // What may be two things, and what is known by no name.
                let brain = |value: f32| ((value.to_bits() >> 16) as u16).to_le_bytes();
                assert_ne!(said(&vectors, brain), Scalar::F32, "{whole}");
                let scale = 127.0 / vectors[0].iter().fold(0f32, |most, value| most.max(value.abs()));
                assert_ne!(said(&vectors, |value| ((value * scale) as i8).to_le_bytes()), Scalar::F32, "{whole}");
                assert_ne!(said(&vectors, |value| ((value * scale + 128.0) as u8).to_le_bytes()), Scalar::F32);
            }
        }
    }

    #[test]
    fn what_could_be_anything_is_unclear() {
        let random = &mut StdRng::seed_from_u64(8);
        let wide: Vec<f32> = (0..384).map(|_| random.random_range(-30f32..3.0).exp()).collect();
        let constant = vec![0.0511f32; 64];
        for odd in [&[][..], &[0.1, -0.2], &[0.0; 384], &[f32::NAN; 384], &wide] {
            assert_eq!(Scalar::of(&[odd]), Scalar::Unclear, "{odd:?}");
        }
        assert_ne!(said(std::slice::from_ref(&constant), |value| to_half(value).to_le_bytes()), Scalar::F32);
        let bits: Vec<f32> = (0..32).map(|_| f32::from_bits(random.random())).collect();
        assert_eq!(Scalar::of(&[&bits]), Scalar::Unclear);
    }

    #[test]
    fn halves_have_their_values() {
        for (bits, value) in [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_953_125), (1, 2f64.powi(-24))] {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00).is_infinite() && brain(0x3f80) == 1.0);
    }
}
