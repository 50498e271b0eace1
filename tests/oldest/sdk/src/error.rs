//! What can go wrong in a plugin: an error of the encoder, or of one item.

use serde::{Deserialize, Serialize};

/// Why an encoder could not be opened, or why a whole batch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[non_exhaustive]
pub struct Error {
    /// Who has to act.
    #[serde(default)]
    pub kind: ErrorKind,
    /// What happened, to what, and what to try.
    pub message: String,
    /// The key of plugins.toml that is at fault: the host names its line.
    #[serde(default)]
    pub key: Option<String>,
}

/// Who has to act on an [`Error`].
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
    /// The plugin's author: not one outcome for each item, or latents of several widths. Set by the export line.
    Contract,
    /// Anything else; also what a newer plugin says that this version does not know.
    #[default]
    #[serde(other)]
    Failed,
}

impl Error {
    /// The encoder failed.
    pub fn new(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into(), key: None }
    }

    /// Something the user configured is wrong; say which key or file and what to try, and set [`Error::key`].
    pub fn config(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Config, ..Self::new(message) }
    }

    /// Sets [`Error::key`].
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The batch was given up because the host asked to stop.
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

/// Why one item has no latent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[non_exhaustive]
pub struct ItemError {
    /// What is wrong with the item.
    pub message: String,
    /// It may work next time. The host remembers every other failure and does not send such an item again unless asked.
    #[serde(default)]
    pub transient: bool,
}

impl ItemError {
    /// The item itself is bad.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false }
    }

    /// The item may work next time.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: true }
    }
}
