//! One request: sent again for as long as it may help.

use fusemix_sdk::{Error, tracing};
use rand::RngExt;
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::reading::Unread;
use super::{Job, Part, Sender};
use crate::body::Most;
use crate::diagnosis::probes;
use crate::failure::Failure;
use crate::input::Input;
use crate::limit;
use crate::order::Counting;
use crate::pace;
use crate::tries::{Next, Server, Tries, Trouble};
use crate::vector::{Judged, Kind};

/// The longest pause that the server did not ask for.
const LONGEST: Duration = Duration::from_secs(60);
/// The items with which it is found out which key a server refuses.
const DIAGNOSES: u32 = 2;

impl Sender {
    /// Sends one request, retrying as long as it may help; at least one of the returned vectors is good.
    pub(super) fn request(&self, part: &Part, job: &mut Job<'_, '_>) -> Result<Vec<Judged>, Trouble> {
        let host = job.sink.host();
        let parcels = &job.parcels[part.parcels.clone()];
        let inputs: Vec<&Input> = parcels.iter().map(|parcel| &parcel.input).collect();
        let tokens = parcels.iter().map(|parcel| parcel.tokens).sum();
        let body = self.provider.body(&inputs);
        let unproven = !self.sizes.is_proven(inputs.len());
        // What an answer with others leaves out is asked for once, and what is wrong in one twice.
        let most_bad = match part.beside {
            Some(Kind::Missing) => 1,
            Some(_) => 2,
            None => u32::MAX,
        };
        let mut tries = Tries::new(inputs.len(), part.halved, self.retries).unproven(unproven).most_bad(most_bad);
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
            let read = answer.map_err(Unread::Failure).and_then(|body| self.read(&body, &inputs, job));
            let next = match read {
                Ok(vectors) => {
                    if tries.have_failed() {
                        host.status("");
                    }
                    return Ok(vectors);
                }
                Err(Unread::Trouble(trouble)) => tries.after_answer(trouble, server()),
                Err(Unread::Failure(failure)) => {
                    let failure = self.understood(failure, inputs.len(), job)?;
                    let may_be_a_key = matches!(failure, Failure::Refused(_) | Failure::Broken(_));
                    if may_be_a_key
                        && inputs.len() == 1
                        && !self.works()
                        && let Some(error) = self.diagnose(&body, &failure.to_string(), tokens, job)?
                    {
                        self.fatal.get_or_init(|| error.clone());
                        return Err(error.into());
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
    pub(super) fn exchange(&self, body: &Value, items: usize, tokens: u64) -> Result<Vec<u8>, Failure> {
        let start = Instant::now();
        let width = Some(self.width.load(Ordering::Relaxed)).filter(|width| *width > 0).or(self.dimensions);
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

    /// The failure of a request of so many `items`, by what its words say, and by what the server says of others.
    fn understood(&self, failure: Failure, items: usize, job: &mut Job<'_, '_>) -> Result<Failure, Trouble> {
        match failure {
            Failure::Refused(reason) if items > 1 => {
                // The number before the words is that of HTTP.
                let words = reason.split_once(": ").map_or(&*reason, |(_, words)| words);
                let Some(most) = limit::inputs(words, items) else { return Ok(Failure::Refused(reason)) };
                if self.sizes.limit(most) {
                    tracing::warn!(
                        "the server takes no more than {most} items at once, so no more are sent; `batch = {most}` \
                         saves such a request: {reason}"
                    );
                }
                Err(Trouble::Many(reason))
            }
            // It may be the text of an item that says so.
            Failure::Key("model", reason) if self.prove(job)? => Ok(Failure::Refused(reason)),
            failure => Ok(failure),
        }
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
            if let Some(answer) = &answer {
                // It is not kept, but it is paid for.
                answer.usage.iter().for_each(|(unit, amount)| job.sink.used(unit, *amount));
                job.sink.used("items", 1.0);
            }
            Ok::<_, Error>(
                answer
                    .and_then(|answer| answer.judge(1, Counting::default()).ok())
                    .is_some_and(|judged| judged[0].is_ok()),
            )
        };
        for probe in probes(body, self.provider.spare(), self.encoding, words) {
            if answers(&probe.body)? {
                // A server that was not ready would answer the request itself by now.
                return Ok(if answers(body)? { None } else { Some(probe.error(words)) });
            }
        }
        Ok(None)
    }

    /// The pause of this number: it doubles, with jitter between calls; 0 is none.
    pub(super) fn pause(&self, number: u32) -> Duration {
        if number == 0 {
            return Duration::ZERO;
        }
        let longest = self.backoff.saturating_mul(1 << (number - 1).min(16)).min(LONGEST);
        longest.mul_f64(rand::rng().random_range(0.5..1.0))
    }
}
