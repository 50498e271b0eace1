//! An answer as JSON.

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::memory::{Share, held};

/// The bytes of an answer.
pub(super) fn bytes(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("all keys are text")
}

/// The bytes of an answer in JSON, with their share of the memory until the client has them.
pub(super) fn json(bytes: impl Into<Bytes>, share: Option<Share>) -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (kind, held(bytes, share)).into_response()
}
