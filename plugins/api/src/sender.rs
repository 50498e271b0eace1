//! A batch on its way to vectors: sent again where that may help, halved down to the item at fault where it is refused.
//!
//! An answer with vectors is paid for: it goes to the host's disk before the rest of its batch is sent.

use fusemix_sdk::{Error, ItemError, Outcome, Sink, tracing};
use rand::RngExt;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::answer::{BadAnswer, Judged};
use crate::client::{Client, Failure, SLOW};
use crate::input::Input;
use crate::pace::{self, Pace};
use crate::provider::Provider;
use crate::settings::Settings;

/// The longest pause that nobody asked for.
const LONGEST: Duration = Duration::from_secs(60);
/// How often a server may say that it only wants a request later.
const DELAYS: u32 = 100;
/// How often it may say so of several items without saying when.
const PATIENCE: u32 = 8;
/// How often a request of several items, and of one, is sent whose answers cannot be used: they may cost as much as good ones.
const ANSWERS: [u32; 2] = [3, 5];

pub(crate) struct Sender {
    provider: Box<dyn Provider>,
    client: Client,
    pace: Pace,
    model: String,
    /// Values of a latent, if they are asked for.
    dimensions: Option<usize>,
    retries: u32,
    backoff: Duration,
    /// Items that failed since the last one that did not.
    failing: AtomicU32,
    /// Answers with good vectors: before the first, what fails is perhaps not the items' fault.
    answers: AtomicU32,
    /// The model that the first of them was from.
    answered: OnceLock<String>,
    /// Whether the user knows that batches are sent in halves.
    told_of_halves: AtomicBool,
    /// Why no request will work any more.
    fatal: OnceLock<Error>,
}

/// An item as it is sent.
pub(crate) struct Parcel {
    /// Its index in the host's batch.
    pub(crate) place: usize,
    pub(crate) input: Input,
    pub(crate) tokens: u64,
}

/// A batch at work.
struct Job<'a, 'b> {
    parcels: &'a [Parcel],
    sink: &'a mut Sink<'b>,
    /// Tokens used since the last answer that was good.
    wasted: f64,
}

/// Some of a batch's parcels.
#[derive(Clone, Debug)]
struct Part {
    parcels: Range<usize>,
    /// Whether more was refused before.
    halved: bool,
}

/// Why some inputs have no vectors.
enum Trouble {
    /// The server does not want one of them.
    Refused(String),
    /// It is perhaps one of them.
    Unsure(String),
    /// It is none of them.
    Stop(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

impl Sender {
    pub(crate) fn open(settings: &Settings, mut provider: Box<dyn Provider>) -> Result<Self, Error> {
        let client = Client::open(settings, provider.base())?;
        if let Err(error) = client.need_key() {
            tracing::warn!("{}; without it nothing can be sent, and what is cached can be used", error.message);
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
                            "{} items are sent again in halves: {reason}; if all are, a smaller `batch` saves requests",
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

    /// An item has no vector. After `most` of them in a row, and much earlier if nothing has worked yet, it is no longer put
    /// down to the items.
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

    /// One request, sent again as often as may help: one of its vectors at least is good.
    fn request(&self, part: &Part, job: &mut Job<'_, '_>) -> Result<Vec<Judged>, Trouble> {
        let host = job.sink.host();
        let parcels = &job.parcels[part.parcels.clone()];
        let inputs: Vec<&Input> = parcels.iter().map(|parcel| &parcel.input).collect();
        let tokens = parcels.iter().map(|parcel| parcel.tokens).sum();
        let body = self.provider.body(&inputs);
        // What was tried whole is not tried as often in halves, down to the single item.
        let half = part.halved && inputs.len() > 1;
        let [most, answers] = [u32::MAX, ANSWERS[usize::from(inputs.len() == 1)]]
            .map(|tries| if half { 1 } else { tries.min(self.retries.saturating_add(1)) });
        let before = self.answers.load(Ordering::Relaxed);
        // What failed in a way that may be the items' doing, in any other way, and what was put off.
        let (mut unsure, mut failed, mut delayed) = (0, 0, 0);
        loop {
            self.pace.take(tokens, host)?;
            if let Some(error) = self.fatal.get() {
                return Err(error.clone().into());
            }
            let works = self.works();
            let start = Instant::now();
            let replied = self.client.post(&self.provider.endpoint(), &body);
            let came = replied.as_ref().map_or_else(ToString::to_string, |reply| format!("{} bytes", reply.body.len()));
            tracing::debug!("{} items, after {:?}: {came}", inputs.len(), start.elapsed());
            job.sink.used("requests", 1.0);
            if unsure + failed + delayed > 0 {
                job.sink.used("repeats", 1.0);
            }
            let (trouble, tries) = match replied {
                Ok(reply) => {
                    self.pace.heed(reply.allowance, tokens);
                    match self.read(&reply.body, inputs.len(), job) {
                        Ok(vectors) => {
                            if unsure + failed > 0 {
                                host.status("");
                            }
                            return Ok(vectors);
                        }
                        Err(trouble) => (trouble, answers),
                    }
                }
                Err(Failure::Slow) if works || part.halved => (Trouble::Unsure(SLOW.to_owned()), answers),
                Err(Failure::Slow) => {
                    let advice = "is the server well? A smaller `batch` or a longer `request_timeout` may help";
                    (Error::new(format!("{SLOW} of {}, {answers} times; {advice}", self.address())).into(), answers)
                }
                Err(Failure::Unreachable(reason)) => {
                    // A server that was there will perhaps be there again.
                    let tries = 1 + if works { self.retries } else { self.retries.min(2) };
                    (Error::new(format!("{reason}; tried {tries} times")).into(), tries)
                }
                Err(Failure::Again { reason, after }) => {
                    if let Some(after) = after {
                        self.pace.pause(after, "as the server asks");
                    }
                    match part.halved || works {
                        true => (Trouble::Unsure(reason), if part.halved { answers } else { most }),
                        false => (Error::new(format!("{reason}; tried {most} times")).into(), most),
                    }
                }
                // Some servers fall over what is too large for them, some over an item.
                Err(Failure::Broken(reason)) if part.halved || inputs.len() > 1 || works => {
                    (Trouble::Unsure(reason), answers)
                }
                Err(Failure::Broken(reason)) => (Error::new(format!("{reason}; tried {most} times")).into(), most),
                Err(Failure::Later { reason, after }) => {
                    delayed += 1;
                    if delayed > DELAYS {
                        return Err(Error::new(format!("asked to wait {DELAYS} times: {reason}")).into());
                    }
                    // A server that asks for no pause, again and again, gets one.
                    let least = if delayed > 2 { self.pause(delayed - 2) } else { Duration::ZERO };
                    // Some say so of what is too large for any minute.
                    if after.is_none() && delayed > PATIENCE && inputs.len() > 1 {
                        return Err(Trouble::Unsure(reason));
                    }
                    let time = after.map_or_else(|| self.pause(delayed), |after| after.max(least));
                    self.pace.pause(time, "as the server asks");
                    continue;
                }
                Err(Failure::Refused(reason)) => return Err(Trouble::Refused(reason)),
                Err(Failure::Forbidden(reason)) if works => (Trouble::Unsure(reason), 1),
                Err(Failure::Fatal(reason) | Failure::Forbidden(reason)) => (Error::new(reason).into(), 1),
            };
            let (reason, times) = match &trouble {
                Trouble::Refused(reason) | Trouble::Unsure(reason) => (reason, &mut unsure),
                Trouble::Stop(error) => (&error.message, &mut failed),
            };
            *times += 1;
            // Where others are answered meanwhile, it is not the server.
            let others = self.answers.load(Ordering::Relaxed) > before;
            if *times >= if others { tries.min(answers) } else { tries } {
                if let Trouble::Stop(error) = &trouble {
                    self.fatal.get_or_init(|| error.clone());
                }
                return Err(trouble);
            }
            host.status(&format!("sending again ({times}): {reason}"));
            let pause = self.pause(*times);
            pace::wait(Instant::now() + pause, &format!("before sending again: {reason}"), host)?;
        }
    }

    /// The vectors of an answer that has good ones.
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
        let judged = answer.and_then(|answer| answer.judge(inputs));
        let judged = judged.map_err(|reason| {
            let reason: String = self.client.redact(&reason).chars().take(300).collect();
            Trouble::Unsure(reason)
        })?;
        match judged.iter().all(Result::is_err) {
            // The model has no vector for it.
            true if inputs == 1 => {
                let reason = judged.into_iter().find_map(Result::err).unwrap_or_default();
                Err(Trouble::Refused(format!("its vector {reason}")))
            }
            true => Err(Trouble::Unsure("none of its vectors is good".to_owned())),
            false => match (self.dimensions, judged.iter().flatten().map(Vec::len).next()) {
                (Some(wanted), Some(got)) if wanted != got => Err(Trouble::Stop(Error::config(format!(
                    "the vectors have {got} values, and not the {wanted} of `dimensions`: the model does not know the \
                     setting, or not that value"
                )).key("dimensions"))),
                _ => Ok(judged),
            },
        }
    }

    /// Says so if the first answer is from another model than the one that was asked for, and stops if the model changes.
    fn compare(&self, model: Option<String>) -> Result<(), Error> {
        let Some(model) = model else { return Ok(()) };
        if let Some(first) = self.answered.get() {
            return match *first == model {
                true => Ok(()),
                false => Err(Error::new(format!("the server answers with model `{model}`, and with `{first}` before"))),
            };
        }
        let [theirs, ours] = [&model, &self.model].map(|name| name.to_lowercase());
        if self.answered.set(model.clone()).is_ok() && !theirs.contains(&ours) && !ours.contains(&theirs) {
            tracing::warn!("asked for model `{}`, the server answers with `{model}`", self.model);
        }
        Ok(())
    }

    /// The pause before try `number`, from 1: it doubles, and differs from one call to the other.
    fn pause(&self, number: u32) -> Duration {
        let longest = self.backoff.saturating_mul(1 << number.saturating_sub(1).min(16)).min(LONGEST);
        longest.mul_f64(rand::rng().random_range(0.5..1.0))
    }
}

impl Job<'_, '_> {
    /// `error`, with what was used up to it.
    fn told(&self, mut error: Error) -> Error {
        if self.wasted > 0.0 {
            error.message += &format!(" ({} tokens were used for answers that were no good)", self.wasted);
        }
        error
    }
}
