//! Errors in the form of OpenAI's, which clients know: `{"error": {"message", "type", "param", "code"}}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::io::ErrorKind;
use utoipa::ToSchema;

use crate::config::ConfigError;
use crate::encode::EncodeError;
use crate::gallery::GalleryError;
use crate::session::Error;

/// A request that is not answered as it was meant.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    kind: &'static str,
    message: String,
    param: Option<String>,
    /// Seconds after which the request may be sent again.
    after: Option<u32>,
}

/// The body of an error.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// What happened, where, and what to do.
    message: String,
    /// `invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`.
    r#type: &'static str,
    /// The key of the request that is at fault, such as `input[3]`.
    param: Option<String>,
    /// The HTTP status in words.
    code: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, after: None }
    }

    /// A mistake in the request.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// Something that is not there.
    pub(super) fn absent(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message)
    }

    /// A request that is larger than is allowed.
    pub(super) fn large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    }

    /// A request that took too long to arrive.
    pub(super) fn slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", message)
    }

    /// A request without the right to be answered.
    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message)
    }

    /// A request that is never answered here.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "invalid_request_error", message)
    }

    /// A request that does not fit what is there.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "invalid_request_error", message)
    }

    /// More work than there is room for.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self { after: Some(1), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message) }
    }

    /// A server that ends.
    pub(super) fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "the server is stopping")
    }

    /// A failure that is not the request's.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// An error that another part of the server has made.
    pub(super) fn other(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        Self::new(status, kind, message)
    }

    /// True if it is a gallery that is at fault, and not the request.
    pub(super) fn is_of_gallery(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::CONFLICT
    }

    /// What happened, for a person.
    pub(super) fn message(self) -> String {
        self.message
    }

    /// The same of a method that a path does not have.
    pub(super) fn method(self) -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, ..self }
    }

    /// The same about this key of the request, unless it names one.
    pub(super) fn or_at(self, param: impl Into<String>) -> Self {
        Self { param: self.param.or_else(|| Some(param.into())), ..self }
    }

    /// The same about this key of the request.
    pub(super) fn at(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NoTower { .. } => Self::absent(message).at("model"),
            Error::QueryWidth { .. } => Self::invalid(message).at("vector"),
            Error::Gallery(GalleryError::NoColumn { .. }) => Self::invalid(message).at("where"),
            Error::Gallery(GalleryError::InUse { .. }) => Self::busy(message),
            Error::Gallery(GalleryError::Io { cause, .. })
                if matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "server_error", message)
            }
            Error::Gallery(
                GalleryError::Rebuilt { .. }
                | GalleryError::OtherRun { .. }
                | GalleryError::Retrained { .. }
                | GalleryError::OtherTower { .. }
                | GalleryError::OtherEncoders { .. }
                | GalleryError::OtherEncoder { .. },
            ) => Self::conflict(message),
            Error::Gallery(
                GalleryError::EmptyId { .. }
                | GalleryError::SameId { .. }
                | GalleryError::Value { .. }
                | GalleryError::BeyondF16 { .. },
            ) => Self::invalid(message).at("items"),
            Error::Stopped => Self::ending(),
            // The encoder, and what it stands on, is behind this server.
            Error::Encoder(_) | Error::Encode(EncodeError::Encoder(_)) | Error::Plugin(_) => {
                Self::new(StatusCode::BAD_GATEWAY, "server_error", message)
            }
            Error::Budget | Error::Encode(EncodeError::Cost { .. }) => {
                Self::new(StatusCode::PAYMENT_REQUIRED, "server_error", message)
            }
            Error::Config(ConfigError::Read { .. }) => Self::failed(message),
            _ => Self::failed(message),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<GalleryError> for Refusal {
    fn from(error: GalleryError) -> Self {
        Self::from(Error::from(error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, kind, message, param, after } = self;
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!("answered {}: {message}", status.as_u16());
        }
        let code = status.canonical_reason().map(|reason| reason.to_lowercase().replace(' ', "_"));
        let body = ErrorBody { error: ErrorDetail { message, r#type: kind, param, code } };
        let mut response = (status, axum::Json(body)).into_response();
        if let Some(after) = after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let of = |kind: ErrorKind| {
            let error = GalleryError::Io { doing: "write", path: "gallery/log".into(), cause: kind.into() };
            Refusal::from(error).status.as_u16()
        };
        assert_eq!([ErrorKind::StorageFull, ErrorKind::PermissionDenied].map(of), [507, 500]);
    }
}
