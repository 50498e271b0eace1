//! Wording of failures.

use fusemix_sdk::{Error, ItemError};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// candle's message, without the backtrace that it adds if `RUST_BACKTRACE` is set.
pub fn reason(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => reason(inner),
        candle_core::Error::WithPath { inner, path } => format!("{}: {}", path.display(), reason(inner)),
        candle_core::Error::Context { inner, context } => format!("{context}: {}", reason(inner)),
        other => other.to_string(),
    }
}

/// A failure of candle that no option would fix, with a description of the work.
pub(crate) fn failed(doing: impl Display) -> impl FnOnce(candle_core::Error) -> Error {
    move |error| Error::new(format!("{doing}: {}", reason(&error)))
}

/// The result of `work` on one item; a panic fails only this item. `doing` describes the work.
pub fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T, ItemError>) -> Result<T, ItemError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ItemError::new(format!("this plugin panicked while {doing}; see the log for the place")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Error as Candle;
    use std::backtrace::Backtrace;

    #[test]
    fn a_backtrace_is_nobodys_reason() {
        let traced =
            |inner| Candle::WithBacktrace { inner: Box::new(inner), backtrace: Box::new(Backtrace::force_capture()) };
        let missing = traced(Candle::CannotFindTensor { path: "pooler.weight".into() });
        let error = traced(missing.with_path("model.safetensors"));
        assert!(error.to_string().contains("\n"), "candle has changed: {error}");
        assert_eq!(reason(&error), "model.safetensors: cannot find tensor pooler.weight");
    }

    #[test]
    fn a_panic_is_the_items_failure() {
        let word = |text: &'static str| guarded("counting words", || Ok(text.split(' ').nth(1).unwrap()));
        assert_eq!(word("a flower"), Ok("flower"));
        assert_eq!(
            word("flower").unwrap_err().message,
            "this plugin panicked while counting words; see the log for the place"
        );
    }
}
