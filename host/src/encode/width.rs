//! The width of latents: as the encoder describes it, else as in the store, which a second answer must confirm.

use super::calls::Answer;
use crate::cache::{CacheError, Store};
use crate::plugin::{EncoderError, LoadedEncoder};

/// Consecutive answers of another width that count as a change.
const MISSES: u32 = 3;

/// The verdict on an answer.
pub(super) enum Verdict {
    Good,
    /// It must be asked for again.
    Again,
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
        Ok(match self.misses < MISSES {
            true => Verdict::Again,
            false => {
                let (encoder, described) = (self.encoder.clone(), self.described);
                Verdict::Wrong(EncoderError::Width { encoder, expected, got, described })
            }
        })
    }
}
