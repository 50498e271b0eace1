//! The page: files of host/ui/dist, which are a part of the program.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::Embed;
use std::sync::Arc;

use super::app::App;
use super::error::Refusal;

/// What a browser may do with the page: nothing that is not this server's.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'; \
                      base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

#[derive(Embed)]
#[folder = "ui/dist"]
struct Files;

/// The page's files.
pub(super) struct Page;

impl Page {
    /// True for a path of the page, which needs no key.
    pub(super) fn is_part(&self, path: &str) -> bool {
        path == "/" || Files::get(path.trim_start_matches('/')).is_some()
    }
}

/// A file of the page, where no other path fits.
pub(super) async fn file(State(_app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let path = request.uri().path();
    let name = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
    let Some(file) = Files::get(name) else {
        return Err(Refusal::absent(format!("there is nothing at {path}; /openapi.json says what is")));
    };
    let kind = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    };
    // Vite names the others by their content.
    let kept = if name == "index.html" { "no-cache" } else { "public, max-age=31536000, immutable" };
    let mut response = (StatusCode::OK, file.data.into_owned()).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, kept),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
