//! The word to a user who has asked to stop, and waits for calls that do not look whether they should.

use std::time::{Duration, Instant};

use crate::wording::count;

/// The wait after which it is said.
const PATIENCE: Duration = Duration::from_millis(800);

/// A word that is said once.
#[derive(Default)]
pub(super) struct Awaited {
    asked: Option<Instant>,
    said: bool,
}

impl Awaited {
    /// Says that so many calls of an encoder are waited for, if that has lasted for a while since a stop was asked.
    pub(super) fn see(&mut self, is_asked: bool, calls: usize, encoder: &str) {
        if !is_asked || self.said || calls == 0 {
            return;
        }
        if self.asked.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            self.said = true;
            tracing::warn!(
                "waiting for {} of encoder `{encoder}` to end, so that the results are kept; a second Ctrl-C ends the \
                 program at once, without them",
                count(calls, "call")
            );
        }
    }
}
