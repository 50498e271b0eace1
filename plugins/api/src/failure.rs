//! The meaning of a failed request.

use std::time::Duration;

/// The message for a request that takes longer than `request_timeout`.
pub(crate) const SLOW: &str = "no answer within `request_timeout`";

/// The reason why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", match self {
    Self::Slow(_) => SLOW,
    Self::Unreachable(reason) | Self::Broken(reason) | Self::Refused(reason) | Self::Forbidden(reason) => reason,
    Self::Stated(reason) | Self::Key(_, reason) | Self::Cut(reason) => reason,
    Self::Fatal(reason) | Self::Again { reason, .. } | Self::Later { reason, .. } => reason,
})]
pub(crate) enum Failure {
    /// There is no connection.
    Unreachable(String),
    /// The server did not answer in time.
    Slow(String),
    /// The server failed, because of the request or something else.
    Broken(String),
    /// The answer broke off: it may have to be paid for.
    Cut(String),
    /// A retry may succeed.
    Again { reason: String, after: Option<Duration> },
    /// The server wants the request later, after the time that it gives, if it does.
    Later { reason: String, after: Option<Duration> },
    /// The request is too large, or the server rejects something in it.
    Refused(String),
    /// An error in an answer that HTTP calls a success: nobody knows what causes it.
    Stated(String),
    /// This key of plugins.toml is wrong.
    Key(&'static str, String),
    /// Either the key is not permitted, or the server rejects something in the request.
    Forbidden(String),
    /// No other request would succeed either.
    Fatal(String),
}
