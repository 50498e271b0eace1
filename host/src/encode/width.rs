//! The width of latents: as the encoder describes it, else as in the store, which a second answer must confirm. Items that
//! come in another width twice fail once others come right; until then, the encoder may be at fault.

use std::collections::HashSet;

use super::calls::Answer;
use crate::cache::{CacheError, Key, Store};
use crate::plugin::{EncoderError, LoadedEncoder};

/// Consecutive answers of another width that count as a change.
const MISSES: u32 = 3;

/// The verdict on an answer.
pub(super) enum Verdict {
    Good,
    /// It must be asked for again.
    Again,
    /// Its items came in another width before: they are held until others come right.
    Held,
    /// It counts and the first answer did not; the first latents are removed, with an error if they had been stored.
    First(Option<EncoderError>),
    /// The width has changed for good.
    Wrong(EncoderError),
}

pub(super) struct Width {
    encoder: String,
    described: bool,
    known: Option<usize>,
    /// Only one answer so far has this width.
    doubted: bool,
    /// The width of the last answer that had another.
    other: Option<usize>,
    /// Consecutive answers of another width.
    misses: u32,
    /// Items that came in another width, and those of them that did so twice, with that width.
    odd: HashSet<Key>,
    held: Vec<(Key, usize)>,
}

impl Width {
    /// The width of the latents of `encoder` in `store`.
    pub(super) fn new(encoder: &LoadedEncoder, store: &Store) -> Self {
        let described = encoder.description.width;
        Self {
            encoder: encoder.name.clone(),
            described: described.is_some(),
            known: described.or(store.width()),
            doubted: described.is_none() && store.is_doubted(),
            other: None,
            misses: 0,
            odd: HashSet::new(),
            held: Vec::new(),
        }
    }

    /// Values per latent; none if unknown before the first answer.
    pub(super) fn known(&self) -> Option<usize> {
        self.known
    }

    /// Judges an answer before it is stored.
    pub(super) fn judge(&mut self, answer: &Answer, store: &Store) -> Result<Verdict, CacheError> {
        let Some(got) = answer.width() else { return Ok(Verdict::Good) };
        let Some(expected) = self.known else {
            // On disk at once, for it is paid for; but another answer has to bear it out.
            store.doubt();
            (self.known, self.doubted) = (Some(got), true);
            return Ok(Verdict::Good);
        };
        if got == expected {
            if std::mem::take(&mut self.doubted) {
                store.confirm()?;
            }
            (self.misses, self.other) = (0, None);
            return Ok(Verdict::Good);
        }
        if self.doubted && self.other == Some(got) {
            let dropped = store.next_row();
            store.clear()?;
            (self.known, self.doubted) = (Some(got), false);
            let encoder = self.encoder.clone();
            let error = EncoderError::FirstWidth { encoder, expected, got, dropped };
            return Ok(Verdict::First((dropped > 0).then_some(error)));
        }
        self.other = Some(got);
        self.misses += 1;
        if self.misses >= MISSES {
            return Ok(Verdict::Wrong(self.wrong(expected, got)));
        }
        let items: Vec<Key> = answer.latents().map(|(sample, _)| sample.key).collect();
        if self.doubted || !items.iter().all(|key| self.odd.contains(key)) {
            self.odd.extend(items);
            return Ok(Verdict::Again);
        }
        self.held.extend(items.into_iter().map(|key| (key, got)));
        Ok(Verdict::Held)
    }

    fn wrong(&self, expected: usize, got: usize) -> EncoderError {
        EncoderError::Width { encoder: self.encoder.clone(), expected, got, described: self.described }
    }

    /// The items that are held, with the reason why each has no latent.
    pub(super) fn release(&mut self) -> Vec<(Key, String)> {
        let expected = self.known.unwrap_or(0);
        let reason = |got| format!("its latent has {got} values, but others have {expected}");
        std::mem::take(&mut self.held).into_iter().map(|(key, got)| (key, reason(got))).collect()
    }

    /// The error at the end of a run in which nothing came right after the items that are held, if that is against the
    /// encoder's own description.
    pub(super) fn broken(&self) -> Option<EncoderError> {
        let (_, got) = self.held.first().filter(|_| self.described)?;
        Some(self.wrong(self.known?, *got))
    }
}
