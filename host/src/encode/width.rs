//! How wide latents are: as the encoder describes them, as those in the store, or else as two answers have it.

use super::batches::Batch;
use super::calls::Answer;
use crate::plugin::{EncoderError, LoadedEncoder};

/// Answers of another width, in a row, before it is no accident any more.
const MISSES: u32 = 3;

/// What to do with answers.
#[derive(Default)]
pub(super) struct Judged {
    /// These count.
    pub(super) good: Vec<Answer>,
    /// These must be sent again.
    pub(super) again: Vec<Batch>,
}

pub(super) struct Width {
    encoder: String,
    described: bool,
    known: Option<usize>,
    /// Answers that wait for another one of their width.
    unconfirmed: Vec<Answer>,
    /// Answers of another width since the last right one.
    misses: u32,
}

fn width(answer: &Answer) -> Option<usize> {
    answer.encoded.outcomes.iter().flatten().map(|latent| latent.values.len()).next()
}

impl Width {
    /// Of the latents of `encoder`, of which the store has some of width `stored`, or none.
    pub(super) fn new(encoder: &LoadedEncoder, stored: Option<usize>) -> Self {
        let described = encoder.description.width;
        Self {
            encoder: encoder.name.clone(),
            described: described.is_some(),
            known: described.or(stored),
            unconfirmed: Vec::new(),
            misses: 0,
        }
    }

    /// Judges an answer, and with it those that waited for it.
    pub(super) fn judge(&mut self, answer: Answer) -> Result<Judged, EncoderError> {
        let mut judged = Judged::default();
        match (width(&answer), self.known) {
            (None, _) => judged.good.push(answer),
            (Some(got), Some(known)) if got == known => {
                self.misses = 0;
                judged.good.push(answer);
            }
            (Some(got), Some(expected)) => {
                self.miss(expected, got)?;
                judged.again.push(answer.batch);
            }
            (Some(got), None) => {
                let confirmed = self.unconfirmed.iter().any(|other| width(other) == Some(got));
                self.unconfirmed.push(answer);
                if confirmed {
                    self.known = Some(got);
                    for answer in std::mem::take(&mut self.unconfirmed) {
                        match width(&answer) == self.known {
                            true => judged.good.push(answer),
                            false => judged.again.push(answer.batch),
                        }
                    }
                }
            }
        }
        Ok(judged)
    }

    /// Judges the answers that wait, if no other is to come: one that nothing contradicts counts.
    pub(super) fn conclude(&mut self) -> Result<Judged, EncoderError> {
        let mut judged = Judged::default();
        let waiting = std::mem::take(&mut self.unconfirmed);
        match waiting[..] {
            [] | [_] => judged.good = waiting,
            [ref first, ref second, ..] => {
                self.miss(width(first).unwrap_or(0), width(second).unwrap_or(0))?;
                judged.again = waiting.into_iter().map(|answer| answer.batch).collect();
            }
        }
        Ok(judged)
    }

    fn miss(&mut self, expected: usize, got: usize) -> Result<(), EncoderError> {
        self.misses += 1;
        match self.misses < MISSES {
            true => Ok(()),
            false => {
                Err(EncoderError::Width { encoder: self.encoder.clone(), expected, got, described: self.described })
            }
        }
    }
}
