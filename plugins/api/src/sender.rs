//! The sending of a batch: retried if that may help, and halved down to the item at fault if it is refused.
//!
//! An answer with vectors has been paid for, so it goes to the host's disk before the rest of its batch is sent. Until
//! the first good answer one request is sent at a time: what can never be right is not asked for eight times at once.

use fusemix_sdk::{Error, Host, ItemError, Outcome, Sink, tracing};
use rand::RngExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::{Duration, Instant};

use crate::answer::BadAnswer;
use crate::body::Most;
use crate::client::Client;
use crate::diagnosis::probes;
use crate::failure::Failure;
use crate::input::Input;
use crate::pace::{self, Pace};
use crate::provider::Provider;
use crate::settings::{Encoding, Settings};
use crate::sizes::Sizes;
use crate::tries::{Next, Server, Tries, Trouble};
use crate::vector::Judged;

/// The longest pause that the server did not ask for.
const LONGEST: Duration = Duration::from_secs(60);
/// The wait for another call's first answer between checks for the wish to stop.
const TICK: Duration = Duration::from_millis(20);
/// Answers in a row that cannot be used, after which no more are asked for.
const UNUSABLE: u32 = 16;
/// The items with which it is found out which key a server refuses.
const DIAGNOSES: u32 = 2;

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

/// The reason why a request has no vectors.
enum Unread {
    /// There is no answer, or it is an error.
    Failure(Failure),
    /// The answer is none that can be used.
    Trouble(Trouble),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Trouble(error.into())
    }
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
                Err(trouble) if part.parcels.len() > 1 => self.split(part, &trouble, &mut parts),
                Err(Trouble::Refused(reason)) => {
                    self.fail(part.parcels.start, ItemError::new(reason), 256, &mut job)?;
                }
                Err(Trouble::Unsure(reason) | Trouble::Unusable(reason)) => {
                    self.fail(part.parcels.start, ItemError::transient(reason), 16, &mut job)?;
                }
                // Not by this: the host tries it again, beside others.
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

    /// Sends one request, retrying as long as it may help; at least one of the returned vectors is good.
    fn request(&self, part: &Part, job: &mut Job<'_, '_>) -> Result<Vec<Judged>, Trouble> {
        let host = job.sink.host();
        let parcels = &job.parcels[part.parcels.clone()];
        let inputs: Vec<&Input> = parcels.iter().map(|parcel| &parcel.input).collect();
        let tokens = parcels.iter().map(|parcel| parcel.tokens).sum();
        let body = self.provider.body(&inputs);
        let unproven = !self.sizes.is_proven(inputs.len());
        let mut tries = Tries::new(inputs.len(), part.halved, self.retries).unproven(unproven);
        let before = self.answers.load(Ordering::Relaxed);
        loop {
            self.pace.take(tokens, host)?;
            if let Some(error) = self.fatal.get() {
                return Err(error.clone().into());
            }
            job.sink.used("requests", 1.0);
            if tries.any() {
                job.sink.used("repeats", 1.0);
            }
            let works = self.works();
            let answer = self.exchange(&body, inputs.len(), tokens);
            let server = || Server { works, answers_others: self.answers.load(Ordering::Relaxed) > before };
            let read = answer.map_err(Unread::Failure).and_then(|body| self.read(&body, inputs.len(), job));
            let next = match read {
                Ok(vectors) => {
                    if tries.have_failed() {
                        host.status("");
                    }
                    return Ok(vectors);
                }
                Err(Unread::Trouble(trouble)) => tries.after_answer(trouble, server()),
                Err(Unread::Failure(failure)) => {
                    let may_be_a_key = matches!(failure, Failure::Refused(_) | Failure::Broken(_));
                    if may_be_a_key && inputs.len() == 1 && !self.works() {
                        if let Some(error) = self.diagnose(&body, &failure.to_string(), tokens, job)? {
                            self.fatal.get_or_init(|| error.clone());
                            return Err(error.into());
                        }
                    }
                    tries.after(failure, server())
                }
            };
            match next {
                Next::Again { number, reason } => {
                    host.status(&format!("retrying ({number}): {reason}"));
                    let until = Instant::now() + self.pause(number);
                    pace::wait(until, &format!("before retrying: {reason}"), host)?;
                }
                Next::Later { asked, number, reason } => {
                    let who = if asked.is_some() { "as the server asks" } else { "before trying again" };
                    let pause = asked.unwrap_or_default().max(self.pause(number));
                    if !pause.is_zero() && !self.told_of_waits.swap(true, Ordering::Relaxed) {
                        tracing::warn!("waiting {:.1} s {who}: {reason}", pause.as_secs_f64());
                    }
                    self.pace.pause(pause, &format!("{who}: {reason}"));
                }
                Next::GiveUp(trouble) => {
                    if let Trouble::Stop(error) = &trouble {
                        self.fatal.get_or_init(|| error.clone());
                    }
                    return Err(trouble);
                }
            }
        }
    }

    /// Makes one try of a request with so many `items` and `tokens`, and returns the answer's body. Limits reported by
    /// the server are respected.
    fn exchange(&self, body: &Value, items: usize, tokens: u64) -> Result<Vec<u8>, Failure> {
        let start = Instant::now();
        let width = self.width.get().copied().or(self.dimensions);
        let most = |request| Most::of_vectors(items, width, request);
        let replied = self.client.post(&self.provider.endpoint(), body, most);
        let came = replied.as_ref().map_or_else(ToString::to_string, |reply| format!("{} bytes", reply.body.len()));
        tracing::debug!("{items} items, after {:?}: {came}", start.elapsed());
        match replied {
            Ok(reply) => {
                self.pace.heed(reply.allowance, tokens);
                Ok(reply.body)
            }
            Err(failure) => {
                if let Failure::Again { after: Some(after), reason } = &failure {
                    self.pace.pause(*after, &format!("as the server asks: {reason}"));
                }
                Err(failure)
            }
        }
    }

    /// The vectors of an answer that has at least one good one.
    fn read(&self, body: &[u8], inputs: usize, job: &mut Job<'_, '_>) -> Result<Vec<Judged>, Unread> {
        let (answer, usage) = match self.provider.answer(body) {
            Ok(mut answer) => {
                let usage = std::mem::take(&mut answer.usage);
                self.compare(answer.model.take())?;
                (Ok(answer), usage)
            }
            Err(bad) => match self.client.stated(body) {
                Some(failure) => return Err(Unread::Failure(failure)),
                None => (Err(BadAnswer { usage: BTreeMap::new(), ..bad.clone() }), bad.usage),
            },
        };
        job.wasted += usage.get("tokens").copied().unwrap_or(0.0);
        usage.iter().for_each(|(unit, amount)| job.sink.used(unit, *amount));
        job.sink.used("items", inputs as f64);
        let judged = answer.and_then(|answer| answer.judge(inputs));
        let judged = judged.map_err(|bad| Unread::Trouble(self.unusable(bad, inputs, job)))?;
        match judged.iter().all(Result::is_err) {
            // The model has no vector for it.
            true if inputs == 1 => {
                let reason = judged.into_iter().find_map(Result::err).map(|fault| fault.reason).unwrap_or_default();
                Err(Unread::Trouble(Trouble::Refused(format!("its vector {reason}"))))
            }
            true => {
                let bad = BadAnswer::from("none of its vectors is usable".to_owned());
                Err(Unread::Trouble(self.unusable(bad, inputs, job)))
            }
            false => {
                self.unusable.store(0, Ordering::Relaxed);
                self.sizes.works(inputs);
                match (self.dimensions, judged.iter().flatten().map(Vec::len).next()) {
                    (Some(wanted), Some(got)) if wanted != got => Err(Unread::Trouble(Trouble::Stop(
                        Error::config(format!(
                            "the vectors have {got} values, not the {wanted} of `dimensions`: the model does not \
                             support the setting, or not that value"
                        ))
                        .key("dimensions"),
                    ))),
                    (_, width) => {
                        if let Some(width) = width {
                            self.width.get_or_init(|| width);
                        }
                        Ok(judged)
                    }
                }
            }
        }
    }

    /// The trouble with an answer that cannot be used, and may have to be paid for.
    fn unusable(&self, bad: BadAnswer, inputs: usize, job: &mut Job<'_, '_>) -> Trouble {
        let reason: String = bad.reason.chars().take(300).collect();
        job.sink.used("unusable", inputs as f64);
        let spoilt = self.spoilt.fetch_add(inputs as u64, Ordering::Relaxed) + inputs as u64;
        let answers = self.unusable.fetch_add(1, Ordering::Relaxed) + 1;
        if bad.of_form && !self.works() {
            return Trouble::Stop(Error::new(format!("{reason}; are `provider` and `base_url` right?")));
        }
        if answers >= UNUSABLE {
            return Trouble::Stop(Error::new(format!(
                "{answers} answers in a row cannot be used, and {spoilt} items of this run were in such answers, which \
                 may have to be paid for; the last: {reason}"
            )));
        }
        if !self.told_of_waste.swap(true, Ordering::Relaxed) {
            tracing::warn!("an answer for {inputs} items cannot be used, and may have to be paid for: {reason}");
        }
        Trouble::Unusable(reason)
    }

    /// The error if the server refuses not the item but a key of its request: it answers without the key, and refuses
    /// the request once more.
    fn diagnose(&self, body: &Value, words: &str, tokens: u64, job: &mut Job<'_, '_>) -> Result<Option<Error>, Error> {
        if self.diagnoses.fetch_add(1, Ordering::Relaxed) >= DIAGNOSES {
            return Ok(None);
        }
        let mut answers = |body: &Value| {
            self.pace.take(tokens, job.sink.host())?;
            job.sink.used("requests", 1.0);
            let answer = self.exchange(body, 1, tokens);
            let answer = answer.ok().and_then(|body| self.provider.answer(&body).ok());
            Ok::<_, Error>(answer.and_then(|answer| answer.judge(1).ok()).is_some_and(|judged| judged[0].is_ok()))
        };
        for probe in probes(body, self.provider.spare(), self.encoding, words) {
            if answers(&probe.body)? {
                // A server that was not ready would answer the request itself by now.
                return Ok(if answers(body)? { None } else { Some(probe.error(words)) });
            }
        }
        Ok(None)
    }

    /// Warns if the first answer is from another model than the requested one, and fails if the model changes.
    fn compare(&self, model: Option<String>) -> Result<(), Error> {
        let Some(model) = model else { return Ok(()) };
        if let Some(first) = self.answered.get() {
            return match *first == model {
                true => Ok(()),
                false => Err(Error::new(format!(
                    "the server answers with model `{model}`, but answered with `{first}` before"
                ))),
            };
        }
        let [theirs, ours] = [&model, &self.model].map(|name| name.to_lowercase());
        if self.answered.set(model.clone()).is_ok() && !theirs.contains(&ours) && !ours.contains(&theirs) {
            tracing::warn!("requested model `{}`, but the server answers with `{model}`", self.model);
        }
        Ok(())
    }

    /// The pause of this number: it doubles, with jitter between calls; 0 is none.
    fn pause(&self, number: u32) -> Duration {
        if number == 0 {
            return Duration::ZERO;
        }
        let longest = self.backoff.saturating_mul(1 << (number - 1).min(16)).min(LONGEST);
        longest.mul_f64(rand::rng().random_range(0.5..1.0))
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
