//! The proof that base64 holds f32: its values look like those of an embedding, `dimensions` says how many there are, or
//! one item is asked for once more, as numbers. Read as f32, an encoder's f16 would be half as many values, and all wrong.

use fusemix_sdk::tracing;
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::reading::Unread;
use super::{Job, Sender};
use crate::diagnosis::{as_numbers, has_encoding};
use crate::failure::Failure;
use crate::input::Input;
use crate::pace;
use crate::scalar::Scalar;
use crate::settings::Encoding;
use crate::vector::{Judged, Vector};

/// The tries of the question; only no answer is tried again.
const TRIES: u32 = 3;
/// The reason where it is answered otherwise.
const IN_VAIN: &str = "no numbers come when asked for";
/// The least cosine of a vector with itself in numbers, which may be rounded.
const SAME: f64 = 0.99;

impl Sender {
    /// Fails unless the vectors of an answer, which were `width` values as f32, are known to be that.
    pub(super) fn check_numbers(
        &self,
        scalar: Scalar,
        width: usize,
        sent: &[&Input],
        judged: &[Judged],
        job: &mut Job<'_, '_>,
    ) -> Result<(), Unread> {
        if self.holds_f32.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Another width than that of `dimensions` has an error of its own.
        if scalar != Scalar::F32 && self.dimensions.is_none() {
            let at = judged.iter().position(Result::is_ok).unwrap_or_default();
            let values = judged.get(at).and_then(|vector| vector.as_deref().ok());
            self.compare_numbers(width, sent[at], values, job).map_err(Unread::Failure)?;
        }
        self.holds_f32.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Compares the `width` values of an item with what comes for it in numbers.
    fn compare_numbers(
        &self,
        width: usize,
        input: &Input,
        values: Option<&[f32]>,
        job: &mut Job<'_, '_>,
    ) -> Result<(), Failure> {
        let (fault, key, advice) = match self.numbers(input, job) {
            Ok(numbers) => match difference(width, values, &numbers) {
                None => {
                    tracing::warn!(
                        "the base64 of the first answer may be f32 or not, so one item was asked for once more, in \
                         numbers: it is f32"
                    );
                    return Ok(());
                }
                Some(other) => (other, "encoding", self.advice()),
            },
            Err(reason) => (
                format!(
                    "the vectors in base64 do not look like f32 values, and {reason}; if they are, \
                     `dimensions = {width}` in plugins.toml says so"
                ),
                "dimensions",
                if reason == IN_VAIN { "otherwise the server must send numbers" } else { self.advice() },
            ),
        };
        Err(Failure::Key(key, format!("{fault}; {advice}")))
    }

    /// What to try where base64 cannot be read.
    pub(super) fn advice(&self) -> &'static str {
        match self.can_ask_for_numbers() {
            true => "`encoding = \"float\"` in plugins.toml asks for numbers instead",
            false => "the server must send numbers instead, and has not been asked for base64",
        }
    }

    /// True if plugins.toml can ask for numbers, and does not yet.
    pub(super) fn can_ask_for_numbers(&self) -> bool {
        self.encoding != Encoding::Float && has_encoding(self.provider.spare())
    }

    /// The vector of an item in numbers, NaN where there is none, or the reason why it is not known.
    fn numbers(&self, input: &Input, job: &mut Job<'_, '_>) -> Result<Vec<f32>, String> {
        let mut reason = "this API cannot be asked for numbers".to_owned();
        for body in as_numbers(&self.provider.body(&[input]), self.provider.spare()) {
            match self.ask_for_numbers(&body, job) {
                Ok(numbers) => return Ok(numbers),
                Err(other) => reason = other,
            }
        }
        Err(reason)
    }

    fn ask_for_numbers(&self, body: &Value, job: &mut Job<'_, '_>) -> Result<Vec<f32>, String> {
        let host = job.sink.host();
        let mut failed = String::new();
        for number in 1..=TRIES {
            self.pace.take(0, host).map_err(|error| error.message)?;
            job.sink.used("requests", 1.0);
            match self.exchange(body, 1, 0) {
                Ok(answer) => {
                    let answer = self.provider.answer(&answer).map_err(|bad| bad.reason)?;
                    // It is not kept, but it is paid for.
                    answer.usage.iter().for_each(|(unit, amount)| job.sink.used(unit, *amount));
                    job.sink.used("items", 1.0);
                    let vector = answer.vectors.first().filter(|vector| vector.packed().is_none());
                    let numbers = vector.and_then(Vector::numbers).filter(|numbers| !numbers.is_empty());
                    return numbers.map(<[f32]>::to_vec).ok_or_else(|| IN_VAIN.to_owned());
                }
                Err(Failure::Later { after, reason } | Failure::Again { after, reason }) => {
                    self.pace.pause(after.unwrap_or_default().max(self.pause(number)), "before numbers are asked for");
                    failed = reason;
                }
                Err(Failure::Broken(reason) | Failure::Cut(reason)) => {
                    let until = Instant::now() + self.pause(number);
                    pace::wait(until, "before numbers are asked for", host).map_err(|error| error.message)?;
                    failed = reason;
                }
                Err(failure) => return Err(format!("asking for numbers fails: {failure}")),
            }
        }
        Err(format!("asking for numbers fails: {failed}"))
    }
}

/// What is different between the `width` values of a vector in base64, of which some may be unknown, and its numbers.
fn difference(width: usize, values: Option<&[f32]>, numbers: &[f32]) -> Option<String> {
    if numbers.len() != width {
        let (bytes, count) = (4 * width, numbers.len());
        let what = match (bytes.checked_div(count), bytes.is_multiple_of(count.max(1))) {
            (Some(1), true) => ": one byte each, such as int8",
            (Some(2), true) => ": two bytes each, such as f16",
            (Some(8), true) => ": eight bytes each, such as f64",
            _ if count == 8 * bytes => ": one bit each",
            _ => "",
        };
        return Some(format!(
            "a vector has {bytes} bytes in base64, but the same item has {count} values in numbers{what}, not f32"
        ));
    }
    let pairs = || values.into_iter().flatten().zip(numbers).filter(|(a, b)| a.is_finite() && b.is_finite());
    let sum = |of: fn(f64, f64) -> f64| pairs().map(|(a, b)| of((*a).into(), (*b).into())).sum::<f64>();
    let cosine = sum(|a, b| a * b) / (sum(|a, _| a * a) * sum(|_, b| b * b)).sqrt();
    (pairs().next().is_some() && (cosine.is_nan() || cosine < SAME)).then(|| {
        format!(
            "the {width} values of a vector in base64, read as little-endian f32, are others than those of the same item \
             in numbers (cosine {cosine:.3})"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_numbers_of_an_item_are_compared() {
        let numbers = [0.1, -0.2, 0.3, 0.4];
        let told = |width, values: Option<&[f32]>| difference(width, values, &numbers).unwrap_or_default();
        assert_eq!(told(4, Some(&[0.1001, -0.2, 0.3, 0.4])), "");
        assert_eq!(told(4, Some(&[0.1, f32::NAN, 0.3, 0.4])), "");
        assert_eq!(told(4, None), "", "the item has no vector, in either form");
        assert!(told(4, Some(&[0.4, 0.3, -0.2, 0.1])).contains("are others than those of the same item"));
        for (width, words) in [
            (
                1,
                "has 4 bytes in base64, but the same item has 4 values in numbers: one byte each, such as int8, not f32",
            ),
            (2, "two bytes each, such as f16"),
            (8, "eight bytes each, such as f64"),
            (3, "has 12 bytes in base64, but the same item has 4 values in numbers, not f32"),
        ] {
            assert!(told(width, None).contains(words), "{}", told(width, None));
        }
        assert!(difference(1, None, &[0.5; 32]).unwrap().contains("one bit each"));
    }
}
