//! Errors in a plugin: of the encoder, or of one item.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The reason why an encoder could not be opened, or why a whole batch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[non_exhaustive]
pub struct Error {
    /// The party that has to act.
    #[serde(default)]
    pub kind: ErrorKind,
    /// The message: what happened, to what, and what to try.
    pub message: String,
    /// The key of plugins.toml that is at fault; the host names its line.
    #[serde(default)]
    pub key: Option<String>,
}

/// The party that has to act on an [`Error`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The user: a value in plugins.toml, a missing file, a missing key in the environment.
    Config,
    /// Nobody: the encoder stopped because [`crate::Host::should_stop`] said so.
    Stopped,
    /// The plugin's author: it panicked. Set by the export line.
    Panic,
    /// The plugin's author: missing or repeated outcomes, or latents of several widths. Set by the export line.
    Contract,
    /// Anything else, including kinds that only a newer version knows.
    #[default]
    #[serde(other)]
    Failed,
}

impl Error {
    /// The encoder failed.
    pub fn new(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into(), key: None }
    }

    /// A mistake in the user's configuration; say which key or file and what to try, and set [`Error::key`].
    pub fn config(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Config, ..Self::new(message) }
    }

    /// Sets [`Error::key`].
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The batch was abandoned because the host asked to stop.
    pub fn stopped() -> Self {
        Self { kind: ErrorKind::Stopped, ..Self::new("stopped on request") }
    }

    pub(crate) fn contract(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Contract, ..Self::new(message) }
    }

    pub(crate) fn panic(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Panic, ..Self::new(message) }
    }
}

/// The reason why one item has no latent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[non_exhaustive]
pub struct ItemError {
    /// The message: what is wrong with the item.
    pub message: String,
    /// True if it may work next time. The host remembers all other failures and does not resend such items unless
    /// asked.
    #[serde(default)]
    pub transient: bool,
    /// Milliseconds after which the host tries the item again in the same run, at the earliest; 0 leaves the time to
    /// the host. `None` if no other try in this run would help. An older host leaves the item to the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

impl ItemError {
    /// An error of the item itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false, retry_ms: None }
    }

    /// An error that may not occur in the next run, but would in this one: a limit that another machine may not have.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { transient: true, ..Self::new(message) }
    }

    /// An error that passes by itself, such as a server that restarts. The host tries the item again in the same run,
    /// with growing pauses and for as long as `retry_seconds` of plugins.toml says; what does not pass by then, the
    /// next run tries again.
    pub fn passing(message: impl Into<String>) -> Self {
        Self { retry_ms: Some(0), ..Self::transient(message) }
    }

    /// Sets the time before which another try is useless, if somebody has told it: 1 ms at least.
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        self.transient = true;
        self
    }
}
