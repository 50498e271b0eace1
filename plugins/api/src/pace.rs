//! The time at which a request may be sent, by the limits of plugins.toml and of the server.

use fusemix_sdk::{Error, Host};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::said::Allowance;

/// The wait between checks for the wish to stop.
const TICK: Duration = Duration::from_millis(50);
/// The longest pause; then the server is asked again.
const LONGEST: Duration = Duration::from_secs(3600);
/// The used share of the configured rate, since requests arrive a little earlier or later than they are sent.
const SHARE: f64 = 0.98;

/// Shared by all calls of an encoder.
pub(crate) struct Pace {
    /// The time between two requests, and per token.
    request: Duration,
    token: Duration,
    state: Mutex<State>,
}

struct State {
    /// The earliest time of the next request, by the number of requests and by their tokens.
    request: Instant,
    token: Instant,
    /// The time before which no request is sent, and the reason.
    paused: Instant,
    reason: String,
}

impl Pace {
    pub(crate) fn new(requests_per_minute: Option<f64>, tokens_per_minute: Option<f64>) -> Self {
        let between =
            |rate: Option<f64>| rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(60.0 / rate / SHARE));
        let now = Instant::now();
        let state = State { request: now, token: now, paused: now, reason: String::new() };
        Self { request: between(requests_per_minute), token: between(tokens_per_minute), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request with so many tokens may be sent.
    pub(crate) fn take(&self, tokens: u64, host: &Host) -> Result<(), Error> {
        let turn = {
            let mut state = self.state();
            let turn = Instant::now().max(state.request).max(state.token);
            state.request = turn + self.request;
            state.token = turn + self.token.mul_f64(tokens as f64);
            turn
        };
        wait(turn, "for the rate limit in plugins.toml", host)?;
        loop {
            let (until, reason) = {
                let state = self.state();
                (state.paused, state.reason.clone())
            };
            if until <= Instant::now() {
                return Ok(());
            }
            wait(until, &reason, host)?;
        }
    }

    /// Holds back all requests for a while.
    pub(crate) fn pause(&self, time: Duration, reason: &str) {
        let until = Instant::now() + time.min(LONGEST);
        let mut state = self.state();
        if until > state.paused {
            (state.paused, state.reason) = (until, reason.to_owned());
        }
    }

    /// Applies the server's report of the remaining quota.
    pub(crate) fn heed(&self, allowance: Allowance, tokens: u64) {
        if let Some((0, reset)) = allowance.requests {
            self.pause(reset, "until the server accepts more requests");
        }
        if let Some((_, reset)) = allowance.tokens.filter(|(left, _)| *left < tokens) {
            self.pause(reset, "until the server accepts more tokens");
        }
    }
}

/// Waits, shows the reason, and gives up if the user wants to stop.
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
