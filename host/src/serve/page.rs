//! The page: files of host/ui/dist, which are a part of the program.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

use super::error::Refusal;

/// What a browser may do with the page: nothing that is not this server's.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'; \
                      base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

#[derive(Embed)]
#[folder = "ui/dist"]
struct Files;

/// True for a path of the page, which needs no key.
pub(super) fn is_part(path: &str) -> bool {
    Files::get(name(path)).is_some()
}

fn name(path: &str) -> &str {
    if path == "/" { "index.html" } else { path.trim_start_matches('/') }
}

/// A file of the page, where no other path fits.
pub(super) async fn file(request: Request) -> Result<Response, Refusal> {
    let path = request.uri().path();
    let name = name(path);
    let Some(file) = Files::get(name) else {
        return Err(Refusal::absent(format!("there is nothing at {path}; /openapi.json says what is")));
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Refusal::invalid(format!("{path} is a file of the page, which is only read")).method());
    }
    let tag = tag(&file);
    let mut response = match has(request.headers(), &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let mut response = (StatusCode::OK, file.data.into_owned()).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(name)));
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    for (name, value) in [
        // The names stay the same when the program does not: each use asks whether the file is still this one.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What a file's content is known by: the beginning of its SHA-256.
fn tag(file: &EmbeddedFile) -> HeaderValue {
    let hex: String = file.metadata.sha256_hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).expect("hexadecimal digits in quotes")
}

/// True if the client says that it has the file of this tag.
pub(super) fn has(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    known.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one).as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_the_client_has_is_known_by_its_tag() {
        let tag = tag(&Files::get("index.html").expect("the page is built"));
        let sent = |value: &str| HeaderMap::from_iter([(header::IF_NONE_MATCH, value.parse().unwrap())]);
        let own = tag.to_str().unwrap();
        for known in [own.to_owned(), format!("\"other\", W/{own}"), "*".to_owned()] {
            assert!(has(&sent(&known), &tag), "{known}");
        }
        assert!(!has(&sent("\"other\""), &tag) && !has(&HeaderMap::new(), &tag));
    }

    #[test]
    fn the_page_and_its_files_are_parts_and_nothing_else_is() {
        assert!(is_part("/") && is_part("/page.js") && is_part("/page.css") && is_part("/index.html"));
        assert!(!is_part("/search") && !is_part("/../Cargo.toml") && !is_part("/v1/embeddings"));
    }
}
