//! What a failed request means.

use std::time::Duration;

/// What is said of a request that takes longer than `request_timeout`.
pub(crate) const SLOW: &str = "no answer within `request_timeout`";

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", match self {
    Self::Slow(_) => SLOW,
    Self::Unreachable(reason) | Self::Broken(reason) | Self::Refused(reason) | Self::Forbidden(reason) => reason,
    Self::Fatal(reason) | Self::Again { reason, .. } | Self::Later { reason, .. } => reason,
})]
pub(crate) enum Failure {
    /// There is no connection.
    Unreachable(String),
    /// There is no answer in time from this server.
    Slow(String),
    /// The server fell over it, or over something else.
    Broken(String),
    /// It may work if it is sent again.
    Again { reason: String, after: Option<Duration> },
    /// The server only wants it later, after as long as it says.
    Later { reason: String, after: Option<Duration> },
    /// The request is too large, or the server minds something in it.
    Refused(String),
    /// Either the key may not do this, or the server minds something in the request.
    Forbidden(String),
    /// No other request will work either.
    Fatal(String),
}
