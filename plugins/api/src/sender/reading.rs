//! The reading of an answer: its vectors, what it costs, and what is wrong with it.

use fusemix_sdk::{Error, tracing};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::{Job, Sender};
use crate::answer::BadAnswer;
use crate::failure::Failure;
use crate::tries::Trouble;
use crate::vector::Judged;

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
    pub(super) fn read(&self, body: &[u8], inputs: usize, job: &mut Job<'_, '_>) -> Result<Vec<Judged>, Unread> {
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
        let judged = judged.map_err(|bad| self.unusable(bad, inputs, job))?;
        match judged.iter().all(Result::is_err) {
            // The model has no vector for it.
            true if inputs == 1 => {
                let reason = judged.into_iter().find_map(Result::err).map(|fault| fault.reason).unwrap_or_default();
                Err(Unread::Trouble(Trouble::Refused(format!("its vector {reason}"))))
            }
            true => {
                let bad = BadAnswer::from("none of its vectors is usable".to_owned());
                Err(self.unusable(bad, inputs, job))
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
    fn unusable(&self, bad: BadAnswer, inputs: usize, job: &mut Job<'_, '_>) -> Unread {
        let fatal = |reason| Unread::Failure(Failure::Fatal(reason));
        let reason: String = bad.reason.chars().take(300).collect();
        job.sink.used("unusable", inputs as f64);
        let spoilt = self.spoilt.fetch_add(inputs as u64, Ordering::Relaxed) + inputs as u64;
        let answers = self.unusable.fetch_add(1, Ordering::Relaxed) + 1;
        if bad.of_form && !self.works() {
            return fatal(format!("{reason}; are `provider` and `base_url` right?"));
        }
        if answers >= UNUSABLE {
            return fatal(format!(
                "{answers} answers in a row cannot be used, and {spoilt} items of this run were in such answers, which \
                 may have to be paid for; the last: {reason}"
            ));
        }
        if !self.told_of_waste.swap(true, Ordering::Relaxed) {
            tracing::warn!("an answer for {inputs} items cannot be used, and may have to be paid for: {reason}");
        }
        Unread::Trouble(Trouble::Unusable(reason))
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
}
