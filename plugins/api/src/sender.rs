//! A batch on its way to vectors: sent again where that may help, halved down to the item at fault where it is refused.

use fusemix_sdk::{Error, Host, ItemError, Outcome, tracing};
use rand::RngExt;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::answer::{Answer, BadAnswer};
use crate::client::{Client, Failure};
use crate::input::Input;
use crate::pace::{self, Pace};
use crate::provider::Provider;
use crate::settings::Settings;

/// The longest pause that nobody asked for.
const LONGEST: Duration = Duration::from_secs(60);
/// How often a server may say that it only wants a request later.
const DELAYS: u32 = 100;
/// Items that fail one after the other before it is no longer put down to the items.
const IN_A_ROW: u32 = 16;

pub(crate) struct Sender {
    provider: Box<dyn Provider>,
    client: Client,
    pace: Pace,
    retries: u32,
    backoff: Duration,
    /// Values of a latent, once that is certain.
    width: OnceLock<usize>,
    /// Held while that is being found out.
    first: Mutex<()>,
    /// Items that failed since the last one that did not.
    failing: AtomicU32,
    /// Whether any request was answered: before that, what fails is perhaps not the items' fault.
    works: AtomicBool,
    /// Why no request will work any more.
    fatal: OnceLock<String>,
}

/// What became of a batch.
pub(crate) struct Sent {
    /// One an input.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) usage: BTreeMap<String, f64>,
}

/// A batch at work.
struct Job<'a> {
    inputs: &'a [&'a Input],
    tokens: &'a [u64],
    host: &'a Host,
    outcomes: Vec<Option<Outcome>>,
    /// The widths of the answers.
    widths: Vec<usize>,
    usage: BTreeMap<String, f64>,
}

/// Why some inputs have no vectors.
enum Trouble {
    /// It is perhaps one of them; with a word whether that may pass.
    Items { reason: String, transient: bool },
    /// It is not.
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
        provider.greet(&client)?;
        let width = OnceLock::new();
        if let Some(dimensions) = settings.dimensions {
            width.get_or_init(|| dimensions);
        }
        Ok(Self {
            provider,
            client,
            pace: Pace::new(settings.requests_per_minute, settings.tokens_per_minute),
            retries: settings.retries,
            backoff: settings.backoff,
            width,
            first: Mutex::default(),
            failing: AtomicU32::new(0),
            works: AtomicBool::new(false),
            fatal: OnceLock::new(),
        })
    }

    pub(crate) fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    pub(crate) fn address(&self) -> String {
        self.client.address()
    }

    /// The vectors of `inputs`, which have so many `tokens`. What was answered before something went wrong with the rest is
    /// returned: it is paid for.
    pub(crate) fn send(&self, inputs: &[&Input], tokens: &[u64], host: &Host) -> Result<Sent, Error> {
        let mut job = Job {
            inputs,
            tokens,
            host,
            outcomes: vec![None; inputs.len()],
            widths: Vec::new(),
            usage: BTreeMap::new(),
        };
        let ended = match inputs.len() {
            0 => Ok(()),
            count => {
                let first =
                    self.width.get().is_none().then(|| self.first.lock().unwrap_or_else(PoisonError::into_inner));
                match first.filter(|_| self.width.get().is_none()) {
                    Some(_lock) => self.find_width(&mut job),
                    None => self.part(0..count, &mut job),
                }
            }
        };
        let rest = match ended {
            Err(error) if job.outcomes.iter().all(Option::is_none) => return Err(error),
            Err(error) => error.message,
            Ok(()) => String::new(),
        };
        let outcome = |outcome: Option<Outcome>| outcome.unwrap_or_else(|| Err(ItemError::transient(rest.clone())));
        Ok(Sent { outcomes: job.outcomes.into_iter().map(outcome).collect(), usage: job.usage })
    }

    /// The first batch: two answers must agree on the width before either counts.
    fn find_width(&self, job: &mut Job<'_>) -> Result<(), Error> {
        for _ in 0..=self.retries {
            job.widths.clear();
            self.part(0..1, job)?;
            if job.inputs.len() > 1 {
                self.part(1..job.inputs.len(), job)?;
            }
            match job.widths[..] {
                [width, ref others @ ..] if !others.is_empty() && others.iter().all(|&other| other == width) => {
                    self.width.get_or_init(|| width);
                    return Ok(());
                }
                // One answer, or none: nothing contradicts it, and the host knows the width of what it has.
                [] | [_] => return Ok(()),
                _ => job
                    .outcomes
                    .iter_mut()
                    .filter(|outcome| matches!(outcome, Some(Ok(_))))
                    .for_each(|outcome| *outcome = None),
            }
        }
        Err(Error::new(format!("the answers have different widths: {:?}", job.widths)))
    }

    /// Sends some inputs that have no outcome yet.
    fn part(&self, inputs: Range<usize>, job: &mut Job<'_>) -> Result<(), Error> {
        // However many items plugins.toml wants in a call, the provider takes no more of them at once.
        let most = self.provider.limits().items;
        if inputs.len() > most {
            self.part(inputs.start..inputs.start + most, job)?;
            return self.part(inputs.start + most..inputs.end, job);
        }
        match self.request(inputs.clone(), job) {
            Ok(vectors) => {
                self.failing.store(0, Ordering::Relaxed);
                self.works.store(true, Ordering::Relaxed);
                for (place, vector) in inputs.zip(vectors) {
                    job.outcomes[place] = Some(Ok(vector.into()));
                }
                Ok(())
            }
            Err(Trouble::Items { reason, .. }) if inputs.len() > 1 => {
                let middle = inputs.start + inputs.len() / 2;
                tracing::debug!("{} items are sent in halves: {reason}", inputs.len());
                self.part(inputs.start..middle, job)?;
                self.part(middle..inputs.end, job)
            }
            Err(Trouble::Items { reason, transient }) => {
                if self.failing.fetch_add(1, Ordering::Relaxed) + 1 >= IN_A_ROW {
                    return Err(Error::new(format!("{IN_A_ROW} items in a row have failed, the last with: {reason}")));
                }
                let transient = transient || !self.works.load(Ordering::Relaxed);
                let error = if transient { ItemError::transient(reason) } else { ItemError::new(reason) };
                job.outcomes[inputs.start] = Some(Err(error));
                Ok(())
            }
            Err(Trouble::Stop(error)) => Err(error),
        }
    }

    /// One request, sent again as often as may help.
    fn request(&self, inputs: Range<usize>, job: &mut Job<'_>) -> Result<Vec<Vec<f32>>, Trouble> {
        let tokens = job.tokens[inputs.clone()].iter().sum();
        let body = self.provider.body(&job.inputs[inputs.clone()]);
        let (mut failed, mut delayed) = (0, 0);
        loop {
            self.pace.take(tokens, job.host)?;
            if let Some(reason) = self.fatal.get() {
                return Err(Error::new(reason).into());
            }
            let replied = self.client.post(&self.provider.endpoint(), &body);
            *job.usage.entry("requests".to_owned()).or_default() += 1.0;
            let (reason, trouble) = match replied {
                Ok(reply) => {
                    self.pace.heed(reply.allowance, tokens);
                    match self.read(&reply.body, inputs.len(), job) {
                        Ok(vectors) => return Ok(vectors),
                        Err(reason) => (reason.clone(), Trouble::Items { reason, transient: true }),
                    }
                }
                Err(Failure::Refused(reason)) => return Err(Trouble::Items { reason, transient: false }),
                Err(Failure::Fatal(reason)) => return Err(Error::new(self.fatal.get_or_init(|| reason)).into()),
                Err(Failure::Again { reason, limited: true, after }) => {
                    delayed += 1;
                    if delayed > DELAYS {
                        return Err(Error::new(format!("asked to wait {DELAYS} times: {reason}")).into());
                    }
                    // A server that asks for no pause, again and again, gets one.
                    let least = if delayed > 2 { self.pause(delayed - 2) } else { Duration::ZERO };
                    let time = after.map_or_else(|| self.pause(delayed), |after| after.max(least));
                    self.pace.pause(time, "as the server asks");
                    continue;
                }
                Err(Failure::Again { reason, after, .. }) => {
                    // Some servers fail on what is too large for them.
                    let trouble = match reason.starts_with("500") && inputs.len() > 1 {
                        true => Trouble::Items { reason: reason.clone(), transient: true },
                        false => Trouble::Stop(Error::new(format!("{reason}; tried {} times", self.retries + 1))),
                    };
                    if let Some(after) = after {
                        self.pace.pause(after, "as the server asks");
                    }
                    (reason, trouble)
                }
            };
            failed += 1;
            if failed > self.retries {
                return Err(trouble);
            }
            tracing::debug!("sent again: {reason}");
            pace::wait(Instant::now() + self.pause(failed), &format!("before sending again: {reason}"), job.host)?;
        }
    }

    /// The vectors of an answer that is as it must be.
    fn read(&self, body: &[u8], inputs: usize, job: &mut Job<'_>) -> Result<Vec<Vec<f32>>, String> {
        let answer = self.provider.answer(body);
        let usage = match &answer {
            Ok(Answer { usage, .. }) | Err(BadAnswer { usage, .. }) => usage,
        };
        for (unit, amount) in usage {
            *job.usage.entry(unit.clone()).or_default() += amount;
        }
        let answer = answer.map_err(|bad| self.client.redact(&bad.reason).chars().take(300).collect::<String>())?;
        let width = answer.check(inputs)?;
        match self.width.get() {
            Some(&known) if known != width => Err(format!("vectors of {width} values, and not of {known}")),
            _ => {
                job.widths.push(width);
                Ok(answer.vectors)
            }
        }
    }

    /// The pause before try `number`, from 1: it doubles, and differs from one call to the other.
    fn pause(&self, number: u32) -> Duration {
        let longest = self.backoff.saturating_mul(1 << number.saturating_sub(1).min(16)).min(LONGEST);
        longest.mul_f64(rand::rng().random_range(0.5..1.0))
    }
}
