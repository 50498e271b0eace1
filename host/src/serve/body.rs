//! The body of a request: read within bounds, and parsed.

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::app::App;
use super::error::Refusal;
use super::limits::Limits;
use super::values;
use super::{HEAVY, weighed};

/// The unit of the memory that bodies share.
pub(super) const UNIT: usize = 1024;
/// Bytes of a value of an embedding: as a number, and as text.
const VALUE: usize = 16;
/// The largest body, in those that are allowed, of which the client gets to read that it is too large.
const PATIENCE: usize = 4;
/// Values, or fields of a form, that a request may have beside its items.
const BESIDE: usize = 256;
/// The longest wait for memory.
const WAIT: Duration = Duration::from_secs(10);

/// A body, and its share of the memory.
pub(super) struct Whole {
    headers: HeaderMap,
    pub(super) bytes: Bytes,
    limits: Limits,
    memory: Arc<Share>,
}

/// A share of the memory that all requests have together, until it is dropped.
pub(super) type Share = OwnedSemaphorePermit;

/// A field of a form.
pub(super) struct Field {
    pub(super) name: String,
    /// The type of its content, if the client says it.
    pub(super) media: Option<String>,
    pub(super) is_file: bool,
    pub(super) bytes: Bytes,
}

impl FromRequest<Arc<App>> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        let limits = &app.limits;
        let (parts, body) = request.into_parts();
        let large = || {
            let most = crate::bytes::Bytes(limits.body as u64);
            Refusal::large(format!("the body is larger than {most}; send fewer items a request"))
        };
        let said = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if said.is_some_and(|said: usize| said > limits.body) {
            // A client that waits to be told has sent nothing yet.
            if !parts.headers.contains_key(header::EXPECT) {
                let _ = timeout(limits.arrival, drop_first(body, PATIENCE * limits.body)).await;
            }
            return Err(large());
        }
        // What a base64 text decodes to is in memory beside it.
        let memory = app.share(2 * said.unwrap_or(limits.body)).await?;
        let bytes = match timeout(limits.arrival, Limited::new(body, limits.body).collect()).await {
            Err(_) => {
                let seconds = limits.arrival.as_secs();
                return Err(Refusal::slow(format!("the body did not arrive within {seconds} s")));
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(large()),
            Ok(Err(error)) => return Err(Refusal::invalid(format!("the body broke off: {error}"))),
            Ok(Ok(whole)) => whole.to_bytes(),
        };
        Ok(Self { headers: parts.headers, bytes, limits: *limits, memory: Arc::new(memory) })
    }
}

impl App {
    /// The share of an answer with so many items, each of so many values, unless it is small.
    pub(super) async fn answer_share(&self, items: usize, values: usize) -> Result<Option<Share>, Refusal> {
        let bytes = items.min(self.limits.items) * values * VALUE;
        if bytes < HEAVY { Ok(None) } else { self.share(bytes).await.map(Some) }
    }

    /// The units of a share for so many bytes; never more than there are.
    pub(super) fn units(&self, bytes: usize) -> usize {
        (bytes / UNIT + 1).min(self.limits.memory / UNIT)
    }

    /// A share of the memory, for so many bytes.
    pub(super) async fn share(&self, bytes: usize) -> Result<Share, Refusal> {
        let units = self.units(bytes) as u32;
        if let Ok(share) = self.memory.clone().try_acquire_many_owned(units) {
            return Ok(share);
        }
        // What clients that have gone still hold.
        self.towers.iter().for_each(|tower| tower.queue.sweep());
        match timeout(WAIT, self.memory.clone().acquire_many_owned(units)).await {
            Ok(Ok(share)) => Ok(share),
            _ => Err(Refusal::busy("what others have sent fills the memory; send this again later")),
        }
    }
}

/// Takes and drops the first bytes of a body: a client that is still sending does not read that it is refused.
async fn drop_first(mut body: Body, bytes: usize) {
    let mut taken = 0;
    while let Some(Ok(frame)) = body.frame().await {
        taken += frame.data_ref().map_or(0, Bytes::len);
        if taken > bytes {
            return;
        }
    }
}

/// An answer with its share of the memory, until it is sent.
pub(super) fn holding(answer: Response, share: Option<Share>) -> Response {
    match share {
        Some(share) => answer.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _held = &share;
                frame
            }))
        }),
        None => answer,
    }
}

impl Whole {
    /// Its share of the memory, for what was parsed of it.
    pub(super) fn share(self) -> Arc<Share> {
        self.memory
    }

    /// What is parsed of the body; of a large one, off the threads that answer others.
    pub(super) fn parse<T>(&self, parse: impl FnOnce(&Self) -> T) -> T {
        weighed(self.bytes.len(), || parse(self))
    }

    /// The body as JSON of this form, which has no more than so many values for each item that a request may have; a
    /// mistake names its key.
    pub(super) fn items_json<T: DeserializeOwned>(&self, of_item: usize) -> Result<T, Refusal> {
        self.json(self.limits.items.saturating_mul(of_item))
    }

    /// The body as JSON of this form, which has no more than about so many values; a mistake names its key.
    pub(super) fn json<T: DeserializeOwned>(&self, most: usize) -> Result<T, Refusal> {
        if self.bytes.is_empty() {
            return Err(Refusal::invalid("the body is empty; send JSON"));
        }
        // A value in memory is many times what a short one is in the body.
        let most = most.saturating_add(BESIDE);
        if values::are_more(&self.bytes, most) {
            return Err(Refusal::large(format!("the body has more than {most} values; send fewer items a request")));
        }
        let mut json = serde_json::Deserializer::from_slice(&self.bytes);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let (path, inner) = (error.path().to_string(), error.into_inner());
            match path.as_str() {
                "." => Refusal::invalid(format!("the body is not the JSON that is expected: {inner}")),
                _ => Refusal::invalid(format!("`{path}`: {inner}")).at(path),
            }
        })?;
        json.end().map_err(|_| Refusal::invalid("the body goes on behind its JSON"))?;
        Ok(value)
    }

    /// The fields if the body is a form.
    pub(super) async fn form(&self) -> Result<Option<Vec<Field>>, Refusal> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("multipart/form-data") {
            return Ok(None);
        }
        let mut request = Request::new(Body::from(self.bytes.clone()));
        *request.headers_mut() = self.headers.clone();
        // The body is within the server's own limit.
        DefaultBodyLimit::disable().apply(&mut request);
        let wrong = |reason: String| Refusal::invalid(format!("the form cannot be read: {reason}"));
        let mut form = Multipart::from_request(request, &()).await.map_err(|error| wrong(error.body_text()))?;
        let mut fields = Vec::new();
        while let Some(field) = form.next_field().await.map_err(|error| wrong(error.body_text()))? {
            if fields.len() >= self.limits.items.saturating_add(BESIDE) {
                return Err(Refusal::large(format!("the form has more than {} fields", fields.len())));
            }
            fields.push(Field {
                name: field.name().unwrap_or_default().to_owned(),
                media: field.content_type().map(str::to_owned),
                is_file: field.file_name().is_some(),
                bytes: field.bytes().await.map_err(|error| wrong(error.body_text()))?,
            });
        }
        Ok(Some(fields))
    }
}

impl Field {
    /// Its content as a word.
    pub(super) fn text(&self) -> Result<String, Refusal> {
        let text = String::from_utf8(self.bytes.to_vec());
        text.map_err(|_| Refusal::invalid(format!("field `{}` is no text", self.name)).at(&self.name))
    }
}
