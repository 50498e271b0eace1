//! When a request may go: under the limits of plugins.toml, and of what the server says.

use fusemix_sdk::{Error, Host};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::said::Allowance;

/// How long to wait before looking whether the user wants to stop.
const TICK: Duration = Duration::from_millis(50);
/// The longest pause; then the server is asked again.
const LONGEST: Duration = Duration::from_secs(3600);
/// Of the configured rate: requests arrive a little earlier or later than they are sent.
const SHARE: f64 = 0.98;

/// Shared by all calls of an encoder.
pub(crate) struct Pace {
    /// Between two requests, and for a token.
    request: Duration,
    token: Duration,
    state: Mutex<State>,
}

struct State {
    /// When the next request may go, as far as their number, and their tokens, are concerned.
    request: Instant,
    token: Instant,
    /// No request goes before, and why.
    paused: Instant,
    reason: &'static str,
}

impl Pace {
    pub(crate) fn new(requests_per_minute: Option<f64>, tokens_per_minute: Option<f64>) -> Self {
        let between =
            |rate: Option<f64>| rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(60.0 / rate / SHARE));
        let now = Instant::now();
        let state = State { request: now, token: now, paused: now, reason: "" };
        Self { request: between(requests_per_minute), token: between(tokens_per_minute), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request with so many tokens may go.
    pub(crate) fn take(&self, tokens: u64, host: &Host) -> Result<(), Error> {
        let turn = {
            let mut state = self.state();
            let turn = Instant::now().max(state.request).max(state.token);
            state.request = turn + self.request;
            state.token = turn + self.token.mul_f64(tokens as f64);
            turn
        };
        wait(turn, "for the next request, as the rate in plugins.toml has it", host)?;
        loop {
            let (until, reason) = {
                let state = self.state();
                (state.paused, state.reason)
            };
            if until <= Instant::now() {
                return Ok(());
            }
            wait(until, reason, host)?;
        }
    }

    /// No request goes for a while.
    pub(crate) fn pause(&self, time: Duration, reason: &'static str) {
        let until = Instant::now() + time.min(LONGEST);
        let mut state = self.state();
        if until > state.paused {
            (state.paused, state.reason) = (until, reason);
        }
    }

    /// What the server says is left.
    pub(crate) fn heed(&self, allowance: Allowance, tokens: u64) {
        if let Some((0, reset)) = allowance.requests {
            self.pause(reset, "until the server takes more requests");
        }
        if let Some((_, reset)) = allowance.tokens.filter(|(left, _)| *left < tokens) {
            self.pause(reset, "until the server takes more tokens");
        }
    }
}

/// Waits, says so, and gives up if the user wants to stop.
pub(crate) fn wait(until: Instant, reason: &str, host: &Host) -> Result<(), Error> {
    let mut said = None;
    loop {
        if host.should_stop() {
            return Err(Error::stopped());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            if said.is_some() {
                host.status("");
            }
            return Ok(());
        }
        let seconds = left.as_secs() + 1;
        // Waits that nobody notices need no word.
        if said.map_or(seconds > 1, |said| said != seconds) {
            host.status(&format!("waiting {seconds} s {reason}"));
            said = Some(seconds);
        }
        std::thread::sleep(left.min(TICK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_tokens_keep_their_rates() {
        let host = Host::detached();
        let time = |pace: Pace, takes: &[u64]| {
            let start = Instant::now();
            takes.iter().for_each(|&tokens| pace.take(tokens, &host).unwrap());
            start.elapsed()
        };
        let least = Duration::from_millis(180);
        assert!(time(Pace::new(Some(600.0), None), &[1, 1, 1]) >= least);
        assert!(time(Pace::new(None, Some(60_000.0)), &[150, 50, 1]) >= least);
        assert!(time(Pace::new(None, None), &[1; 100]) < least);
        let pace = Pace::new(None, None);
        pace.pause(least, "");
        assert!(time(pace, &[1]) >= least * 9 / 10);
    }

    #[test]
    fn what_is_left_is_heeded() {
        let host = Host::detached();
        let reset = Duration::from_millis(100);
        for (allowance, waits) in [
            (Allowance { requests: Some((0, reset)), tokens: None }, true),
            (Allowance { requests: Some((1, reset)), tokens: Some((10, reset)) }, false),
            (Allowance { requests: None, tokens: Some((9, reset)) }, true),
        ] {
            let pace = Pace::new(None, None);
            pace.heed(allowance, 10);
            let start = Instant::now();
            pace.take(10, &host).unwrap();
            assert_eq!(start.elapsed() >= reset * 9 / 10, waits, "{allowance:?}");
        }
    }
}
