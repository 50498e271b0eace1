//! Texts that are nearly the same: most of their words are, whatever their case, order and punctuation.

use rayon::prelude::*;
use std::collections::HashSet;

use crate::stop::Stop;

/// The least share of words, of all that either text has, that two texts nearly the same have in common.
const LEAST: f64 = 0.8;
/// Bands of a signature, and hashes a band: two texts with 80 % of their words in common share a band in 98 of 100
/// cases, and such with half of them in 40, which are then compared.
const BANDS: usize = 8;
const HASHES: usize = 4;
/// Texts of a band that are compared.
const MOST: usize = 16;

/// Texts by the bands of their signatures.
pub struct NearTexts<'a> {
    texts: Vec<&'a str>,
    /// Hashes of bands with the texts that have them, sorted.
    bands: Vec<(u64, u32)>,
}

impl<'a> NearTexts<'a> {
    /// Those of these texts, in time that grows as their number; once `stop` is asked, those that are done.
    pub fn of(texts: Vec<&'a str>, stop: &Stop) -> Self {
        let of = |(index, text): (usize, &&str)| {
            let bands = if stop.is_asked() { Vec::new() } else { bands(&words(text)) };
            bands.into_iter().map(move |band| (band, index as u32))
        };
        let mut bands: Vec<(u64, u32)> = texts.par_iter().enumerate().flat_map_iter(of).collect();
        bands.par_sort_unstable();
        Self { texts, bands }
    }

    /// The first text that is nearly the same; none if there is none, or only an equal one.
    pub fn near(&self, text: &str) -> Option<usize> {
        let words = words(text);
        let mut nearest: Option<usize> = None;
        for band in bands(&words) {
            let first = self.bands.partition_point(|(other, _)| *other < band);
            for (_, index) in self.bands[first..].iter().take_while(|(other, _)| *other == band).take(MOST) {
                let index = *index as usize;
                if nearest.is_none_or(|nearest| index < nearest)
                    && self.texts[index] != text
                    && alike(&words, &self::words(self.texts[index])) >= LEAST
                {
                    nearest = Some(index);
                }
            }
        }
        nearest
    }
}

/// The hashes of a text's words; a word that it has several times has several.
fn words(text: &str) -> HashSet<u64> {
    let lower = text.to_lowercase();
    let mut words = HashSet::new();
    for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut hash = hash(word.as_bytes());
        while !words.insert(hash) {
            hash = mixed(hash, 1);
        }
    }
    words
}

/// The share of words that two texts have in common, of all that either has.
fn alike(one: &HashSet<u64>, other: &HashSet<u64>) -> f64 {
    let common = one.intersection(other).count();
    common as f64 / (one.len() + other.len() - common).max(1) as f64
}

/// The bands of a signature: in each, the least of some permutations of the words. A text without words has none.
fn bands(words: &HashSet<u64>) -> Vec<u64> {
    let least = |seed: u64| words.iter().map(|word| mixed(*word, seed)).min();
    let band = |band: usize| {
        let seeds = (band * HASHES..(band + 1) * HASHES).map(|seed| seed as u64 + 2);
        seeds.map(least).try_fold(mixed(band as u64, 0), |hash, least| Some(mixed(hash ^ least?, 1)))
    };
    (0..BANDS).filter_map(band).collect()
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64.
fn mixed(value: u64, seed: u64) -> u64 {
    let value = value.wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_more_or_another_case_is_nearly_the_same() {
        let texts = [
            "A man in a red shirt rides a wave on a surfboard.",
            "Two dogs play in the snow",
            "two dogs play",
            "",
            "A man in a red shirt rides a big wave on a surfboard.",
        ];
        let near = NearTexts::of(texts.to_vec(), &Stop::default());
        assert_eq!(near.near("a man in a red shirt, riding a wave on a surfboard"), Some(0));
        assert_eq!(near.near("A man in a red shirt rides a big wave on a surfboard."), Some(0));
        assert_eq!(near.near("TWO DOGS play in the snow!"), Some(1));
        assert_eq!(near.near("in the snow play two dogs"), Some(1));
        for other in ["two cats play", "Two dogs play in the snow", "", "A cat"] {
            assert_eq!(near.near(other), None, "{other}");
        }
    }

    #[test]
    fn many_texts_are_compared_in_little_time() {
        let texts: Vec<String> =
            (0..20_000).map(|n| format!("this is number {n} of {} texts in a row", n * n)).collect();
        let near = NearTexts::of(texts.iter().map(String::as_str).collect(), &Stop::default());
        let found = (0..texts.len()).filter(|&n| near.near(&format!("{}!", texts[n])) == Some(n)).count();
        // Of a band that many share, only the first are compared.
        assert!(found > 19_500, "{found}");
    }
}
