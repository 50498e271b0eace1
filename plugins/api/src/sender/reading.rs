//! The reading of an answer: its vectors, what it costs, and what is wrong with it.

use fusemix_sdk::{Error, tracing};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::{Job, Sender};
use crate::answer::{Answer, BadAnswer};
use crate::failure::Failure;
use crate::input::Input;
use crate::said::PATIENCE;
use crate::tries::Trouble;
use crate::vector::{Fault, Judged, Kind};

/// Answers in a row that cannot be used, after which no more are asked for.
const UNUSABLE: u32 = 16;

/// The reason why a request has no vectors.
pub(super) enum Unread {
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
    /// The vectors of an answer that has at least one good one.
    pub(super) fn read(&self, body: &[u8], sent: &[&Input], job: &mut Job<'_, '_>) -> Result<Vec<Judged>, Unread> {
        let inputs = sent.len();
        let (answer, usage, model) = match self.provider.answer(body) {
            Ok(mut answer) => {
                let usage = std::mem::take(&mut answer.usage);
                let model = answer.model.take();
                let stated = if answer.vectors.is_empty() { self.client.stated(body) } else { None };
                match stated {
                    // The words are about these items: others may have vectors.
                    Some(Failure::Stated(reason)) => (Err(Unread::Failure(Failure::Refused(reason))), usage, model),
                    Some(failure) => (Err(Unread::Failure(failure)), usage, model),
                    None => (Ok(Ok(answer)), usage, model),
                }
            }
            Err(bad) => match self.client.stated(body) {
                Some(failure) => return Err(Unread::Failure(failure)),
                None => (Ok(Err(BadAnswer { usage: BTreeMap::new(), ..bad.clone() })), bad.usage, None),
            },
        };
        job.wasted += usage.get("tokens").copied().unwrap_or(0.0);
        usage.iter().for_each(|(unit, amount)| job.sink.used(unit, *amount));
        // What it was asked for is paid, whoever answered.
        self.compare(model)?;
        let answer = answer?;
        job.sink.used("items", inputs as f64);
        if let Ok(answer) = &answer {
            answer.teach(&self.seen, inputs);
            if answer.wants_first(inputs) && self.seen.counting().first.is_none() {
                // One item, where all of these would be asked for again.
                self.seen.ask();
                self.prove(job)?;
            }
        }
        let scalar = answer.as_ref().ok().and_then(Answer::scalar);
        let is_read = answer.is_ok();
        let judged = answer.and_then(|answer| answer.judge(inputs, self.seen.counting()));
        let judged = match judged {
            Ok(judged) => judged,
            Err(bad) => {
                let is_whole = is_read || bad.kind == Kind::Form;
                return Err(match self.unusable(bad, inputs, job)? {
                    // What it holds is no vector, or not one.
                    Trouble::Unusable(reason) if inputs == 1 && is_whole => Unread::Trouble(Trouble::Bad(reason, None)),
                    trouble => Unread::Trouble(trouble),
                });
            }
        };
        if let Some((scalar, width)) = scalar {
            self.check_numbers(scalar, width, sent, &judged, job)?;
        }
        match judged.iter().flatten().map(Vec::len).next() {
            Some(width) => self.accept(judged, width, job),
            None => Err(self.without_vectors(judged, job)?),
        }
    }

    /// The vectors of an answer of which at least one is good, and has so many values.
    fn accept(&self, judged: Vec<Judged>, width: usize, job: &mut Job<'_, '_>) -> Result<Vec<Judged>, Unread> {
        let inputs = judged.len();
        if let Some(wanted) = self.dimensions.filter(|wanted| *wanted != width) {
            let other = if width == 2 * wanted || 2 * width == wanted {
                "; or it sends another kind of number in base64: try `encoding = \"float\"`"
            } else {
                ""
            };
            let reason = format!(
                "the vectors have {width} values, not the {wanted} of `dimensions`: the model does not support the \
                 setting, or not that value{other}"
            );
            return Err(Unread::Failure(Failure::Key("dimensions", reason)));
        }
        let known = self.width.load(Ordering::Relaxed);
        if inputs == 1 && known != 0 && known != width {
            let reason = format!("its vector has {width} values, but others have {known}");
            let vector = judged.into_iter().find_map(Result::ok);
            return Err(Unread::Trouble(Trouble::Bad(reason, vector)));
        }
        // Else the host has the last word, which knows the width of all others.
        if known != 0 && known != width && self.prove(job)? && self.width.load(Ordering::Relaxed) == known {
            return Err(Unread::Trouble(Trouble::Each(format!("vectors of {width} values, but others have {known}"))));
        }
        self.width.store(width, Ordering::Relaxed);
        self.unusable.store(0, Ordering::Relaxed);
        if judged.iter().all(|vector| !vector.as_ref().is_err_and(|fault| fault.kind == Kind::Missing)) {
            self.sizes.works(inputs);
        }
        Ok(judged)
    }

    /// The trouble with an answer none of whose vectors is good.
    fn without_vectors(&self, judged: Vec<Judged>, job: &mut Job<'_, '_>) -> Result<Unread, Unread> {
        let inputs = judged.len();
        let all_stated = judged.iter().flat_map(|vector| vector.as_ref().err()).all(Fault::is_stated);
        let waits = judged.iter().flat_map(|vector| vector.as_ref().err()).map(|fault| match fault.kind {
            Kind::Stated { passes: true, after } => Some(after.unwrap_or_default()),
            _ => None,
        });
        let wait = waits.collect::<Option<Vec<_>>>().and_then(|waits| waits.into_iter().max());
        let wait = wait.filter(|wait| *wait <= PATIENCE);
        let Some(fault) = judged.into_iter().find_map(Result::err) else {
            return Ok(Unread::Trouble(Trouble::Unusable("no vectors".to_owned())));
        };
        Ok(match (inputs, fault.kind) {
            // The host sends it again when the server says, or soon, and others meanwhile.
            (1, Kind::Stated { passes: true, after }) if after.is_some() || self.works() => {
                Unread::Trouble(Trouble::Passing(fault.reason, after))
            }
            (1, Kind::Stated { passes: false, .. }) => Unread::Failure(Failure::Refused(fault.reason)),
            // It says so of each.
            _ if wait.is_some_and(|wait| !wait.is_zero()) => Unread::Trouble(Trouble::Passing(fault.reason, wait)),
            _ if wait.is_some() => Unread::Failure(Failure::Again { reason: fault.reason, after: None }),
            // The model has no vector for it.
            (1, Kind::Packed) => {
                Unread::Trouble(Trouble::Bad(format!("its vector {}; {}", fault.reason, self.advice()), None))
            }
            (1, _) => Unread::Trouble(Trouble::Bad(format!("its vector {}", fault.reason), None)),
            _ => {
                let of_first = format!("none of its vectors is usable; the first: {}", fault.reason);
                match self.unusable(BadAnswer::from(of_first), inputs, job)? {
                    Trouble::Unusable(reason) if all_stated => Unread::Trouble(Trouble::Refused(reason)),
                    Trouble::Unusable(reason) => Unread::Trouble(Trouble::Each(reason)),
                    trouble => Unread::Trouble(trouble),
                }
            }
        })
    }

    /// The trouble with an answer that cannot be used, and may have to be paid for.
    fn unusable(&self, bad: BadAnswer, inputs: usize, job: &mut Job<'_, '_>) -> Result<Trouble, Unread> {
        let fatal = |reason| Err(Unread::Failure(Failure::Fatal(reason)));
        let mut reason: String = bad.reason.chars().take(300).collect();
        if bad.kind == Kind::Packed {
            reason = format!("{reason}; {}", self.advice());
        }
        job.sink.used("unusable", inputs as f64);
        let spoilt = self.spoilt.fetch_add(inputs as u64, Ordering::Relaxed) + inputs as u64;
        let answers = self.unusable.fetch_add(1, Ordering::Relaxed) + 1;
        match bad.kind {
            Kind::Packed if !self.works() && self.can_ask_for_numbers() => {
                return Err(Unread::Failure(Failure::Key("encoding", reason)));
            }
            Kind::Packed if !self.works() => return fatal(reason),
            Kind::Form if !self.works() => return fatal(format!("{reason}; are `provider` and `base_url` right?")),
            _ => {}
        }
        if answers >= UNUSABLE {
            match self.prove(job)? {
                true => self.unusable.store(0, Ordering::Relaxed),
                false => {
                    return fatal(format!(
                        "{answers} answers in a row cannot be used, and {spoilt} items of this run were in such \
                         answers, which may have to be paid for; the last: {reason}"
                    ));
                }
            }
        }
        if !self.told_of_waste.swap(true, Ordering::Relaxed) {
            tracing::warn!("an answer for {inputs} items cannot be used, and may have to be paid for: {reason}");
        }
        Ok(Trouble::Unusable(reason))
    }

    /// Warns if the first answer is from another model than the requested one, and fails if the model changes.
    fn compare(&self, model: Option<String>) -> Result<(), Unread> {
        let Some(model) = model else { return Ok(()) };
        if let Some(first) = self.answered.get() {
            return match *first == model {
                true => Ok(()),
                false => Err(Unread::Failure(Failure::Fatal(format!(
                    "the server answers with model `{model}`, but answered with `{first}` before"
                )))),
            };
        }
        let [theirs, ours] = [&model, &self.model].map(|name| name.to_lowercase());
        if self.answered.set(model.clone()).is_ok() && !theirs.contains(&ours) && !ours.contains(&theirs) {
            tracing::warn!("requested model `{}`, but the server answers with `{model}`", self.model);
        }
        Ok(())
    }
}
