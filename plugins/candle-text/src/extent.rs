//! The part of a long text that its tokens come from: to tokenize the rest would take time for nothing.

use std::iter::successors;
use tokenizers::TruncationDirection;

/// Bytes for each token in the first part that is tried; most texts have fewer.
const FOR_A_TOKEN: usize = 16;
/// The size of a part beside that of the one before.
const GROWTH: usize = 4;

/// A part of a text.
pub(crate) struct Part<'a> {
    pub(crate) text: &'a str,
    /// The same without one character at the side that is cut, where the cut may be within a word.
    pub(crate) shorter: Option<&'a str>,
}

/// Growing parts of a text that is long for `max_length` tokens, none larger than half of it: what is beyond them at the
/// side `cut` is left out.
pub(crate) fn parts(text: &str, max_length: usize, cut: TruncationDirection) -> impl Iterator<Item = Part<'_>> {
    let first = max_length.saturating_mul(FOR_A_TOKEN).max(1);
    let sizes = successors(Some(first), |size| size.checked_mul(GROWTH)).take_while(|size| *size <= text.len() / 2);
    sizes.map(move |size| part(text, size, cut))
}

/// A part of about `size` bytes, which begins or ends between words if it can.
fn part(text: &str, size: usize, cut: TruncationDirection) -> Part<'_> {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let mut letters;
    match cut {
        TruncationDirection::Right => {
            let part = &text[..(0..=size).rev().find(is_boundary).unwrap_or(0)];
            letters = part.chars();
            letters.next_back();
            match part.rfind(char::is_whitespace).filter(|gap| *gap > size / 2) {
                Some(gap) => Part { text: part[..gap].trim_end(), shorter: None },
                None => Part { text: part, shorter: Some(letters.as_str()) },
            }
        }
        TruncationDirection::Left => {
            let part = &text[(text.len() - size..).find(is_boundary).unwrap_or(0)..];
            letters = part.chars();
            letters.next();
            match part.find(char::is_whitespace).filter(|gap| *gap < size / 2) {
                // The first word keeps its space, which belongs to some tokens.
                Some(gap) => Part { text: &part[gap..], shorter: None },
                None => Part { text: part, shorter: Some(letters.as_str()) },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_between_words_and_within_none_of_its_characters() {
        let text = "some words  of \u{1f33b} a text ".repeat(200);
        for (cut, at_end) in [(TruncationDirection::Right, false), (TruncationDirection::Left, true)] {
            let parts: Vec<&str> = parts(&text, 8, cut).map(|part| part.text).collect();
            let sizes: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            assert_eq!(sizes.len(), 3);
            assert!(sizes.iter().zip([128, 512, 2048]).all(|(size, most)| (most / 2..=most).contains(size)));
            for part in parts {
                let (start, end) = if at_end { (text.len() - part.len(), text.len()) } else { (0, part.len()) };
                assert_eq!(part, &text[start..end]);
                let is_gap = |at: Option<char>| at.is_none_or(char::is_whitespace);
                assert!(is_gap(text[end..].chars().next()));
                assert!(start == 0 || is_gap(part.chars().next()));
            }
            let wide = "\u{6f22}".repeat(3000);
            let within = super::parts(&wide, 8, cut).filter_map(|part| Some((part.text, part.shorter?)));
            assert_eq!(within.map(|(text, shorter)| (text.len(), shorter.len())).next(), Some((126, 123)));
            for (text, max_length) in [("a b", 1), (text.as_str(), usize::MAX), ("", 0)] {
                let parts: Vec<&str> = super::parts(text, max_length, cut).map(|part| part.text).collect();
                assert!(parts.is_empty(), "{text}");
            }
        }
    }
}
