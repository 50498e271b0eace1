//! Errors in a plugin: of the encoder, or of one item.

use serde::{Deserialize, Serialize};

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
}

impl ItemError {
    /// An error of the item itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false }
    }

    /// An error that may not occur next time.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: true }
    }
}
