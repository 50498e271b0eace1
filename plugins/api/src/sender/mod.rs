//! The sending of a batch: retried if that may help, and halved down to the item at fault if it is refused. `request`
//! sends one part of it, `reading` judges the answer.
//!
//! An answer with vectors has been paid for, so it goes to the host's disk before the rest of its batch is sent. Until
//! the first good answer one request is sent at a time: what can never be right is not asked for eight times at once.

mod reading;
mod request;

use fusemix_sdk::{Error, Host, ItemError, Outcome, Sink, tracing};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

use crate::client::Client;
use crate::input::Input;
use crate::pace::Pace;
use crate::provider::Provider;
use crate::settings::{Encoding, Settings};
use crate::sizes::Sizes;
use crate::tries::Trouble;

/// The wait for another call's first answer between checks for the wish to stop.
const TICK: Duration = Duration::from_millis(20);

pub(crate) struct Sender {
    provider: Box<dyn Provider>,
    client: Client,
    pace: Pace,
    model: String,
    /// Values per latent, if requested.
    dimensions: Option<usize>,
    encoding: Encoding,
    retries: u32,
    backoff: Duration,
    /// Held by the call that waits for the first good answer.
    first: Mutex<()>,
    sizes: Sizes,
    /// Answers in a row that cannot be used, and their items so far.
    unusable: AtomicU32,
    spoilt: AtomicU64,
    diagnoses: AtomicU32,
    /// Consecutive items that failed.
    failing: AtomicU32,
    /// Answers with good vectors: before the first, failures may not be the items' fault.
    answers: AtomicU32,
    /// The model of the first of these answers, and the values of its vectors.
    answered: OnceLock<String>,
    width: OnceLock<usize>,
    /// True once the user was told that batches are sent in halves.
    told_of_halves: AtomicBool,
    /// True once the user was told that the server postpones requests, and that answers cannot be used.
    told_of_waits: AtomicBool,
    told_of_waste: AtomicBool,
    /// The error after which no request can succeed.
    fatal: OnceLock<Error>,
}

/// An item in the form that is sent.
pub(crate) struct Parcel {
    /// Its index in the host's batch.
    pub(crate) place: usize,
    pub(crate) input: Input,
    pub(crate) tokens: u64,
}

/// A batch being sent.
struct Job<'a, 'b> {
    parcels: &'a [Parcel],
    sink: &'a mut Sink<'b>,
    /// Tokens used since the last good answer.
    wasted: f64,
}

/// Some of a batch's parcels.
#[derive(Clone, Debug)]
struct Part {
    parcels: Range<usize>,
    /// True if a larger part was refused before.
    halved: bool,
}

impl Sender {
    pub(crate) fn open(settings: &Settings, mut provider: Box<dyn Provider>) -> Result<Self, Error> {
        let client = Client::open(settings, provider.base())?;
        if let Err(error) = client.need_key() {
            tracing::warn!("{}; cached items can be used, but nothing can be sent", error.message);
        }
        provider.greet(&client)?;
        Ok(Self {
            provider,
            client,
            pace: Pace::new(settings.requests_per_minute, settings.tokens_per_minute),
            model: settings.model.clone(),
            dimensions: settings.dimensions,
            encoding: settings.encoding,
            retries: settings.retries,
            backoff: settings.backoff,
            first: Mutex::default(),
            sizes: Sizes::default(),
            unusable: AtomicU32::new(0),
            spoilt: AtomicU64::new(0),
            diagnoses: AtomicU32::new(0),
            failing: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            answered: OnceLock::new(),
            width: OnceLock::new(),
            told_of_halves: AtomicBool::new(false),
            told_of_waits: AtomicBool::new(false),
            told_of_waste: AtomicBool::new(false),
            fatal: OnceLock::new(),
        })
    }

    pub(crate) fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    pub(crate) fn address(&self) -> String {
        self.client.address()
    }

    /// Puts the outcome of each parcel into `sink`.
    pub(crate) fn send(&self, parcels: &[Parcel], sink: &mut Sink<'_>) -> Result<(), Error> {
        if parcels.is_empty() {
            return Ok(());
        }
        self.client.need_key()?;
        let mut job = Job { parcels, sink, wasted: 0.0 };
        // The last is sent next.
        let mut parts = vec![Part { parcels: 0..parcels.len(), halved: false }];
        while let Some(mut part) = parts.pop() {
            let _alone = self.alone(job.sink.host())?;
            let most = self.sizes.most();
            if part.parcels.len() > most {
                let middle = part.parcels.start + most;
                parts.push(Part { parcels: middle..part.parcels.end, ..part.clone() });
                part.parcels.end = middle;
            }
            match self.request(&part, &mut job) {
                Ok(vectors) => {
                    self.failing.store(0, Ordering::Relaxed);
                    self.answers.fetch_add(1, Ordering::Relaxed);
                    job.wasted = 0.0;
                    for (at, vector) in part.parcels.zip(vectors) {
                        match vector {
                            Ok(vector) => job.sink.put(parcels[at].place, Ok(vector)),
                            // Once more, alone, after all others.
                            Err(_) => parts.insert(0, Part { parcels: at..at + 1, halved: false }),
                        }
                    }
                    if !parts.is_empty() {
                        job.sink.store()?;
                    }
                }
                Err(Trouble::Stop(error)) => return Err(job.told(error)),
                // No other request would reach it either.
                Err(Trouble::Gone(reason)) => {
                    let rest = parts.drain(..).chain([part]).flat_map(|part| part.parcels);
                    rest.for_each(|at| job.sink.put(parcels[at].place, Outcome::Err(ItemError::passing(&*reason))));
                }
                Err(trouble) if part.parcels.len() > 1 => self.split(part, &trouble, &mut parts),
                Err(Trouble::Refused(reason)) => {
                    self.fail(part.parcels.start, ItemError::new(reason), 256, &mut job)?;
                }
                Err(Trouble::Unsure(reason) | Trouble::Unusable(reason)) => {
                    self.fail(part.parcels.start, ItemError::transient(reason), 16, &mut job)?;
                }
                // Not by this: the host tries it again, beside others.
                Err(Trouble::Passing(reason)) if self.works() => {
                    let place = parcels[part.parcels.start].place;
                    job.sink.put(place, Outcome::Err(ItemError::passing(reason)));
                }
                Err(Trouble::Passing(reason)) => {
                    self.fail(part.parcels.start, ItemError::passing(reason), 16, &mut job)?;
                }
            }
        }
        Ok(())
    }

    /// Waits until a request may be sent: alone before the first good answer.
    fn alone(&self, host: &Host) -> Result<Option<MutexGuard<'_, ()>>, Error> {
        while !self.works() && self.fatal.get().is_none() {
            match self.first.try_lock() {
                Ok(alone) => return Ok((!self.works()).then_some(alone)),
                Err(TryLockError::Poisoned(alone)) => return Ok(Some(alone.into_inner())),
                Err(TryLockError::WouldBlock) if host.should_stop() => return Err(Error::stopped()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(TICK),
            }
        }
        Ok(None)
    }

    /// Splits a part whose items are in trouble together.
    fn split(&self, part: Part, trouble: &Trouble, parts: &mut Vec<Part>) {
        let (items, reason) = (part.parcels.len(), trouble.reason());
        if matches!(trouble, Trouble::Unusable(_)) && self.sizes.fails(items) {
            // No answer for so many could be used yet: fewer are sent.
            return parts.push(Part { halved: true, ..part });
        }
        if !self.told_of_halves.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "resending {items} items in parts: {reason}; if this happens often, a smaller `batch` saves requests"
            );
        }
        let Range { start, end } = part.parcels;
        // Before anything has worked, one item says whether anything does.
        let middle = if self.works() { start + (end - start) / 2 } else { start + 1 };
        parts.extend([middle..end, start..middle].map(|parcels| Part { parcels, halved: true }));
    }

    fn works(&self) -> bool {
        self.answers.load(Ordering::Relaxed) > 0
    }

    /// Records that an item has no vector. After `most` of them in a row, and much earlier if nothing has worked yet,
    /// it stops blaming the items and fails the batch.
    fn fail(&self, at: usize, mut error: ItemError, most: u32, job: &mut Job<'_, '_>) -> Result<(), Error> {
        let failing = self.failing.fetch_add(1, Ordering::Relaxed) + 1;
        let most = if self.works() { most } else { most.min(if error.transient { 4 } else { 16 }) };
        if failing >= most {
            let reason = error.message;
            let error = format!("{failing} items in a row have failed, the last with: {reason}");
            return Err(job.told(Error::new(error)));
        }
        error.transient |= !self.works();
        job.sink.put(job.parcels[at].place, Outcome::Err(error));
        Ok(())
    }
}

impl Job<'_, '_> {
    /// `error`, with the tokens used up to it.
    fn told(&self, mut error: Error) -> Error {
        if self.wasted > 0.0 {
            error.message += &format!(" ({} tokens were spent on unusable answers)", self.wasted);
        }
        error
    }
}
