//! The sending of a batch: retried if that may help, and halved down to the item at fault if it is refused. `request`
//! sends one part of it, `reading` judges the answer, `numbers` proves what base64 holds, `proof` says whether the server
//! or an item is to blame.
//!
//! An answer with vectors has been paid for, so it goes to the host's disk before the rest of its batch is sent. Until
//! the first good answer one request is sent at a time: what can never be right is not asked for eight times at once.

mod numbers;
mod proof;
mod reading;
mod request;

use fusemix_sdk::check::Samples;
use fusemix_sdk::{Error, Host, Item, ItemError, Outcome, Sink, tracing};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

use crate::client::Client;
use crate::input::Input;
use crate::order::Seen;
use crate::pace::Pace;
use crate::provider::Provider;
use crate::settings::{Encoding, Settings};
use crate::sizes::Sizes;
use crate::tries::Trouble;
use crate::vector::{Fault, Kind};
use proof::{Doubt, Failed};

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
    /// The model of the first of these answers.
    answered: OnceLock<String>,
    /// The values of a vector, by the last answer that shows it; 0 if none has.
    width: AtomicUsize,
    /// The way in which the server counts inputs.
    seen: Seen,
    /// True once base64 is known to hold f32.
    holds_f32: AtomicBool,
    /// An item whose vector proves that the server works, if there is one of the modality.
    sample: Option<Input>,
    /// Held by the call that sends it.
    proving: Mutex<()>,
    /// Samples in a row without a vector.
    unproven: AtomicU32,
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
    /// Items that are to blame if the server works.
    doubts: Vec<Doubt>,
}

/// Some of a batch's parcels.
#[derive(Clone, Debug)]
struct Part {
    parcels: Range<usize>,
    /// True if a larger part was refused before.
    halved: bool,
    /// For an item without a vector in an answer with good ones: the fault there.
    beside: Option<Kind>,
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
            width: AtomicUsize::new(0),
            seen: Seen::default(),
            holds_f32: AtomicBool::new(false),
            sample: sample(settings),
            proving: Mutex::default(),
            unproven: AtomicU32::new(0),
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
        let mut job = Job { parcels, sink, wasted: 0.0, doubts: Vec::new() };
        // The last is sent next.
        let mut parts = vec![Part { parcels: 0..parcels.len(), halved: false, beside: None }];
        while let Some(mut part) = parts.pop() {
            let _alone = self.alone(job.sink.host())?;
            let most = self.sizes.most();
            if part.parcels.len() > most {
                let middle = part.parcels.start + most;
                parts.push(Part { parcels: middle..part.parcels.end, ..part.clone() });
                part.parcels.end = middle;
            }
            let answers = self.answers.load(Ordering::Relaxed);
            let failed = |error, most| {
                let (at, is_proven) = (part.parcels.start, part.beside.is_some());
                Failed { at, error, vector: None, answers, is_proven, most }
            };
            match self.request(&part, &mut job) {
                Ok(vectors) => {
                    self.failing.store(0, Ordering::Relaxed);
                    self.answers.fetch_add(1, Ordering::Relaxed);
                    job.wasted = 0.0;
                    for (at, vector) in part.parcels.zip(vectors) {
                        match vector {
                            Ok(vector) => job.sink.put(parcels[at].place, Ok(vector)),
                            Err(Fault { reason, kind: Kind::Stated { passes, after } }) => {
                                job.sink.put(parcels[at].place, Outcome::Err(stated(reason, passes, after)));
                            }
                            // Once more, alone, after all others.
                            Err(fault) => parts.insert(0, Part::alone(at, Some(fault.kind))),
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
                // The server says when.
                Err(Trouble::Passing(reason, Some(after))) => {
                    for at in part.parcels.clone() {
                        let error = stated(reason.clone(), true, Some(after));
                        match part.parcels.len() {
                            1 if !self.works() => self.fail(failed(error, (16, 4)), &mut job)?,
                            _ => job.sink.put(parcels[at].place, Outcome::Err(error)),
                        }
                    }
                }
                Err(trouble) if part.parcels.len() > 1 => self.split(part, &trouble, &mut parts),
                Err(Trouble::Refused(reason) | Trouble::Many(reason)) => {
                    let is_proven = part.beside.is_some() || answers > 0;
                    self.fail(Failed { is_proven, ..failed(ItemError::new(reason), (256, 16)) }, &mut job)?;
                }
                Err(Trouble::Bad(reason, vector)) => {
                    self.fail(Failed { vector, ..failed(ItemError::new(reason), (16, 4)) }, &mut job)?;
                }
                Err(Trouble::Unsure(reason) | Trouble::Unusable(reason) | Trouble::Each(reason)) => {
                    self.fail(failed(ItemError::transient(reason), (16, 4)), &mut job)?;
                }
                // Not by this: the host tries it again, beside others.
                Err(Trouble::Passing(reason, None)) if self.works() => {
                    let place = parcels[part.parcels.start].place;
                    job.sink.put(place, Outcome::Err(ItemError::passing(reason)));
                }
                Err(Trouble::Passing(reason, None)) => {
                    self.fail(failed(ItemError::passing(reason), (16, 4)), &mut job)?;
                }
            }
        }
        self.settle(&mut job)
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
        if matches!(trouble, Trouble::Many(_)) {
            return parts.push(part);
        }
        if matches!(trouble, Trouble::Unusable(_) | Trouble::Each(_)) && self.sizes.fails(items) {
            // No answer for so many could be used yet: fewer are sent.
            return parts.push(Part { halved: true, ..part });
        }
        if matches!(trouble, Trouble::Each(_)) {
            // Each may be to blame: half of them would be in no other answer.
            return part.parcels.rev().for_each(|at| parts.insert(0, Part::alone(at, None)));
        }
        if !self.told_of_halves.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "resending {items} items in parts: {reason}; if this happens often, a smaller `batch` saves requests"
            );
        }
        let Range { start, end } = part.parcels;
        // Before anything has worked, one item says whether anything does.
        let middle = if self.works() { start + (end - start) / 2 } else { start + 1 };
        parts.extend([middle..end, start..middle].map(|parcels| Part { parcels, halved: true, beside: None }));
    }

    fn works(&self) -> bool {
        self.answers.load(Ordering::Relaxed) > 0
    }
}

/// The error of an item of which the server says this; the host tries again what passes, after that time.
fn stated(reason: String, passes: bool, after: Option<Duration>) -> ItemError {
    match (passes, after) {
        (false, _) => ItemError::new(reason),
        (true, None) => ItemError::passing(reason),
        (true, Some(after)) => ItemError::passing(reason).after(after),
    }
}

/// An item of the modality that any server has a vector for.
fn sample(settings: &Settings) -> Option<Input> {
    let samples = Samples::of(&settings.modality)?;
    Input::of(&Item::new(&settings.modality, samples.good.first()?)).ok()
}

impl Part {
    /// One parcel, whose vector in an answer with others had this fault.
    fn alone(at: usize, beside: Option<Kind>) -> Self {
        Self { parcels: at..at + 1, halved: false, beside }
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
