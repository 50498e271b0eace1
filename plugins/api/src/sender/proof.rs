//! The proof that a server works: the vector of a sample. Only then are items to blame whose answers are bad, so that
//! no other run pays for these again; and none is to blame while the server answers nothing well.

use fusemix_sdk::{Error, ItemError, Outcome};
use std::sync::TryLockError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Job, Sender, TICK};
use crate::failure::Failure;
use crate::order::Counting;
use crate::pace;
use crate::scalar::Scalar;

/// The tries of one proof; only no answer is tried again.
const TRIES: u32 = 3;
/// Proofs in a row that may fail; after these, only what would end the run asks for another.
const FAILED: u32 = 3;
/// Failed items in a row after which a server is asked for a proof once more.
const EVERY: u32 = 16;
/// Failed items in a row that end a run, whatever the server does with a sample.
const MOST: u32 = 256;

/// A failed item that is to blame if the server works.
pub(super) struct Doubt {
    place: usize,
    error: ItemError,
    /// Its vector, if only the width of that is wrong.
    vector: Option<Vec<f32>>,
    /// The good answers of this run before its first try.
    answers: u32,
}

/// The failure of an item in a request of its own.
pub(super) struct Failed {
    pub(super) at: usize,
    pub(super) error: ItemError,
    pub(super) vector: Option<Vec<f32>>,
    /// The good answers of this run before its first try.
    pub(super) answers: u32,
    /// True if others were answered well at the same time.
    pub(super) is_proven: bool,
    /// The number of such items in a row after which the server may be to blame: once something has worked, and before.
    pub(super) most: (u32, u32),
}

impl Sender {
    /// Records that an item has no vector. After many of them in a row, and much earlier if nothing has worked yet, it
    /// fails the batch, unless the server works.
    pub(super) fn fail(&self, failed: Failed, job: &mut Job<'_, '_>) -> Result<(), Error> {
        let Failed { at, mut error, vector, answers, is_proven, most } = failed;
        let failing = self.failing.fetch_add(1, Ordering::Relaxed) + 1;
        let most = if self.works() { most.0 } else { most.1 };
        let is_over = failing >= MOST
            || failing >= most
                && match (failing - most) % EVERY {
                    0 => !self.prove(job)?,
                    _ => self.unproven.load(Ordering::Relaxed) > 0,
                };
        if is_over {
            if self.answers.load(Ordering::Relaxed) > answers {
                self.settle(job)?;
            }
            let reason = error.message;
            return Err(job.told(Error::new(format!("{failing} items in a row have failed, the last with: {reason}"))));
        }
        let place = job.parcels[at].place;
        if is_proven || error.transient {
            error.transient |= !self.works();
            job.sink.put(place, Outcome::Err(error));
        } else {
            job.doubts.push(Doubt { place, error, vector, answers });
        }
        Ok(())
    }

    /// Puts the items that are to blame if the server works.
    pub(super) fn settle(&self, job: &mut Job<'_, '_>) -> Result<(), Error> {
        let Some(last) = job.doubts.iter().map(|doubt| doubt.answers).max() else { return Ok(()) };
        let may_ask = self.unproven.load(Ordering::Relaxed) < FAILED;
        if self.answers.load(Ordering::Relaxed) <= last && may_ask {
            self.prove(job)?;
        }
        for Doubt { place, mut error, vector, answers } in std::mem::take(&mut job.doubts) {
            let works = self.answers.load(Ordering::Relaxed) > answers;
            let width = self.width.load(Ordering::Relaxed);
            match vector.filter(|vector| !works || vector.len() == width) {
                // The host knows the width of all others.
                Some(vector) => {
                    job.sink.store()?;
                    job.sink.put(place, Ok(vector));
                    job.sink.store()?;
                }
                None => {
                    error.transient = !works;
                    job.sink.put(place, Outcome::Err(error));
                }
            }
        }
        Ok(())
    }

    /// True if the server answers a sample well, or has answered anything well meanwhile.
    pub(super) fn prove(&self, job: &mut Job<'_, '_>) -> Result<bool, Error> {
        let Some(sample) = &self.sample else { return Ok(false) };
        let before = self.answers.load(Ordering::Relaxed);
        let _alone = loop {
            match self.proving.try_lock() {
                Ok(alone) => break alone,
                Err(TryLockError::Poisoned(alone)) => break alone.into_inner(),
                Err(TryLockError::WouldBlock) if job.sink.host().should_stop() => return Err(Error::stopped()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(TICK),
            }
        };
        if self.answers.load(Ordering::Relaxed) > before {
            return Ok(true);
        }
        let body = self.provider.body(&[sample]);
        for number in 1..=TRIES {
            self.pace.take(0, job.sink.host())?;
            job.sink.used("requests", 1.0);
            match self.exchange(&body, 1, 0) {
                Ok(answer) => {
                    let width = self.sample_width(&answer, job);
                    if let Some(width) = width {
                        self.width.store(width, Ordering::Relaxed);
                        self.unproven.store(0, Ordering::Relaxed);
                        self.answers.fetch_add(1, Ordering::Relaxed);
                        self.sizes.works(1);
                        return Ok(true);
                    }
                    break;
                }
                Err(Failure::Later { after, .. } | Failure::Again { after, .. }) => {
                    let pause = after.unwrap_or_default().max(self.pause(number));
                    self.pace.pause(pause, "before another sample is sent");
                }
                Err(Failure::Broken(_) | Failure::Cut(_)) => {
                    let until = Instant::now() + self.pause(number);
                    pace::wait(until, "before another sample is sent", job.sink.host())?;
                }
                Err(_) => break,
            }
        }
        self.unproven.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }

    /// The width of the vector in the answer to a sample, if it is a good one.
    fn sample_width(&self, answer: &[u8], job: &mut Job<'_, '_>) -> Option<usize> {
        let answer = self.provider.answer(answer).ok()?;
        // It is not kept, but it is paid for.
        answer.usage.iter().for_each(|(unit, amount)| job.sink.used(unit, *amount));
        job.sink.used("items", 1.0);
        self.seen.learn_single(answer.indices.first().copied().flatten());
        let is_certain = answer.scalar().is_none_or(|(scalar, _)| scalar == Scalar::F32);
        if !is_certain && self.dimensions.is_none() && !self.holds_f32.load(Ordering::Relaxed) {
            return None;
        }
        let width = answer.judge(1, Counting::default()).ok()?.into_iter().find_map(Result::ok)?.len();
        self.dimensions.is_none_or(|wanted| wanted == width).then_some(width)
    }
}
