//! The sending of a batch: retried if that may help, and halved down to the item at fault if it is refused.
//!
//! An answer with vectors has been paid for, so it goes to the host's disk before the rest of its batch is sent.

use fusemix_sdk::{Error, ItemError, Outcome, Sink, tracing};
use rand::RngExt;
use serde_json::Value;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::answer::{BadAnswer, Judged};
use crate::body::Most;
use crate::client::Client;
use crate::failure::Failure;
use crate::input::Input;
use crate::pace::{self, Pace};
use crate::provider::Provider;
use crate::settings::Settings;
use crate::tries::{Next, Server, Tries, Trouble};

/// The longest pause that the server did not ask for.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) struct Sender {
    provider: Box<dyn Provider>,
    client: Client,
    pace: Pace,
    model: String,
    /// Values per latent, if requested.
    dimensions: Option<usize>,
    retries: u32,
    backoff: Duration,
    /// Consecutive items that failed.
    failing: AtomicU32,
    /// Answers with good vectors: before the first, failures may not be the items' fault.
    answers: AtomicU32,
    /// The model of the first of these answers, and the values of its vectors.
    answered: OnceLock<String>,
    width: OnceLock<usize>,
    /// True once the user was told that batches are sent in halves.
    told_of_halves: AtomicBool,
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
            retries: settings.retries,
            backoff: settings.backoff,
            failing: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            answered: OnceLock::new(),
            width: OnceLock::new(),
            told_of_halves: AtomicBool::new(false),
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
        while let Some(part) = parts.pop() {
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
                Err(Trouble::Refused(reason) | Trouble::Unsure(reason)) if part.parcels.len() > 1 => {
                    if !self.told_of_halves.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            "resending {} items in halves: {reason}; if this happens often, a smaller `batch` saves \
                             requests",
                            part.parcels.len()
                        );
                    }
                    let Range { start, end } = part.parcels;
                    let middle = start + (end - start) / 2;
                    parts.extend([middle..end, start..middle].map(|parcels| Part { parcels, halved: true }));
                }
                Err(Trouble::Refused(reason)) => {
                    self.fail(part.parcels.start, ItemError::new(reason), 256, &mut job)?;
                }
                Err(Trouble::Unsure(reason)) => {
                    self.fail(part.parcels.start, ItemError::transient(reason), 16, &mut job)?;
                }
                Err(Trouble::Stop(error)) => return Err(job.told(error)),
            }
        }
        Ok(())
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
        let mut tries = Tries::new(inputs.len(), part.halved, self.retries);
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
            let next = match answer.map(|body| self.read(&body, inputs.len(), job)) {
                Ok(Ok(vectors)) => {
                    if tries.have_failed() {
                        host.status("");
                    }
                    return Ok(vectors);
                }
                Ok(Err(trouble)) => tries.after_answer(trouble, server()),
                Err(failure) => tries.after(failure, server()),
            };
            match next {
                Next::Again { number, reason } => {
                    host.status(&format!("retrying ({number}): {reason}"));
                    let until = Instant::now() + self.pause(number);
                    pace::wait(until, &format!("before retrying: {reason}"), host)?;
                }
                Next::Later { asked, number } => {
                    self.pace.pause(asked.max(self.pause(number)), "because the server asked to")
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
                if let Failure::Again { after: Some(after), .. } = &failure {
                    self.pace.pause(*after, "because the server asked to");
                }
                Err(failure)
            }
        }
    }

    /// The vectors of an answer that has at least one good one.
    fn read(&self, body: &[u8], inputs: usize, job: &mut Job<'_, '_>) -> Result<Vec<Judged>, Trouble> {
        let (answer, usage) = match self.provider.answer(body) {
            Ok(mut answer) => {
                let usage = std::mem::take(&mut answer.usage);
                self.compare(answer.model.take())?;
                (Ok(answer), usage)
            }
            Err(BadAnswer { reason, usage }) => (Err(reason), usage),
        };
        job.wasted += usage.get("tokens").copied().unwrap_or(0.0);
        usage.iter().for_each(|(unit, amount)| job.sink.used(unit, *amount));
        job.sink.used("items", inputs as f64);
        let judged = answer.and_then(|answer| answer.judge(inputs));
        let judged = judged.map_err(|reason| Trouble::Unsure(reason.chars().take(300).collect()))?;
        match judged.iter().all(Result::is_err) {
            // The model has no vector for it.
            true if inputs == 1 => {
                let reason = judged.into_iter().find_map(Result::err).unwrap_or_default();
                Err(Trouble::Refused(format!("its vector {reason}")))
            }
            true => Err(Trouble::Unsure("none of its vectors is usable".to_owned())),
            false => match (self.dimensions, judged.iter().flatten().map(Vec::len).next()) {
                (Some(wanted), Some(got)) if wanted != got => Err(Trouble::Stop(Error::config(format!(
                    "the vectors have {got} values, not the {wanted} of `dimensions`: the model does not support the \
                     setting, or not that value"
                )).key("dimensions"))),
                (_, width) => {
                    if let Some(width) = width {
                        self.width.get_or_init(|| width);
                    }
                    Ok(judged)
                }
            },
        }
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
