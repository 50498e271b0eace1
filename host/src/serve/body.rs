//! The body of a request: read within bounds, and parsed.

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::time::timeout;

use super::app::App;
use super::error::Refusal;
use super::limits::Limits;
use super::memory::{COPIES, Share};
use super::{values, weighed};

/// The largest body, in those that are allowed, of which the client gets to read that it is too large.
const PATIENCE: usize = 4;
/// Values, or fields of a form, that a request may have beside its items.
const BESIDE: usize = 256;

/// A body, and its share of the memory.
pub(super) struct Whole {
    headers: HeaderMap,
    /// Empty once it was parsed.
    bytes: Bytes,
    limits: Limits,
    share: Share,
}

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
        let arrived = async {
            let (mut bytes, mut share, mut body) = (Vec::new(), Share::default(), body);
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Refusal::invalid(format!("the body broke off: {error}")))?;
                let Ok(data) = frame.into_data() else { continue };
                let length = bytes.len() + data.len();
                if length > limits.body {
                    return Err(large());
                }
                // For what is there: what was only announced takes nothing from others.
                app.grow(&mut share, COPIES * length).await?;
                bytes.extend_from_slice(&data);
            }
            Ok((Bytes::from(bytes), share))
        };
        let (bytes, share) = timeout(limits.arrival, arrived).await.map_err(|_| {
            let seconds = limits.arrival.as_secs();
            Refusal::slow(format!("the body did not arrive within {seconds} s"))
        })??;
        Ok(Self { headers: parts.headers, bytes, limits: *limits, share })
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

impl Whole {
    /// Its share of the memory, for what was parsed of it.
    pub(super) fn into_share(self) -> Share {
        self.share
    }

    /// What is parsed of the body; of a large one, off the threads that answer others.
    pub(super) fn parse<T>(&mut self, parse: impl FnOnce(&mut Self) -> T) -> T {
        weighed(self.bytes.len(), || parse(self))
    }

    /// The body as JSON of this form, which has no more than so many values for each item that a request may have; a
    /// mistake names its key.
    pub(super) fn items_json<T: DeserializeOwned>(&mut self, of_item: usize) -> Result<T, Refusal> {
        self.json(self.limits.items.saturating_mul(of_item))
    }

    /// The body as JSON of this form, which has no more than about so many values; a mistake names its key. The bytes
    /// are gone then.
    pub(super) fn json<T: DeserializeOwned>(&mut self, most: usize) -> Result<T, Refusal> {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            return Err(Refusal::invalid("the body is empty; send JSON"));
        }
        if self.kind().starts_with("multipart/") {
            return Err(Refusal::invalid("this path takes JSON, and no form"));
        }
        if let Some(encoding) = self.headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            return Err(Refusal::invalid(format!("the body is encoded as {encoding:?}; send it as it is")));
        }
        // A value in memory is many times what a short one is in the body.
        let most = most.saturating_add(BESIDE);
        let wrong = |error| {
            // As some clients call everything.
            let is_form = self.kind().starts_with("application/x-www-form-urlencoded");
            let hint = if is_form { "; forms are sent as multipart/form-data" } else { "" };
            Refusal::invalid(format!("the body is not the JSON that is expected: {error}{hint}"))
        };
        if values::are_more(&bytes, most).map_err(wrong)? {
            return Err(Refusal::large(format!("the body has more than {most} values; send fewer items a request")));
        }
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let (path, inner) = (error.path().to_string(), error.into_inner());
            let reason = inner.to_string().replace("expected usize", "expected a whole number");
            match path.as_str() {
                "." | "?" => wrong(inner),
                path if reason.starts_with(&format!("unknown field `{path}`")) => Refusal::invalid(reason).at(path),
                _ => Refusal::invalid(format!("`{path}`: {reason}")).at(path),
            }
        })?;
        json.end().map_err(|_| Refusal::invalid("the body goes on behind its JSON"))?;
        Ok(value)
    }

    /// What the client says that the body is.
    fn kind(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default()
    }

    /// The fields if the body is a form, whose bytes are gone then.
    pub(super) async fn form(&mut self) -> Result<Option<Vec<Field>>, Refusal> {
        if !self.kind().starts_with("multipart/form-data") {
            return Ok(None);
        }
        let mut request = Request::new(Body::from(std::mem::take(&mut self.bytes)));
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
    /// Refuses fields that stand several times in a form, but for those that may.
    pub(super) fn refuse_repeated(fields: &[Self], may: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        let mut different = HashSet::new();
        match fields.iter().find(|field| !may(&field.name) && !different.insert(&field.name)) {
            None => Ok(()),
            Some(Self { name, .. }) => {
                Err(Refusal::invalid(format!("the form has field `{name}` twice; send one")).at(name))
            }
        }
    }

    /// Its content as a word.
    pub(super) fn text(&self) -> Result<String, Refusal> {
        let text = String::from_utf8(self.bytes.to_vec());
        text.map_err(|_| Refusal::invalid(format!("field `{}` is no text", self.name)).at(&self.name))
    }
}
