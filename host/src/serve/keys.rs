//! The keys that clients send, and the names that this server has.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use subtle::ConstantTimeEq;

use super::app::App;
use super::error::Refusal;
use super::page;

/// What anybody may ask: whether the server is there. So is the page, which asks for a key itself.
pub(super) const OPEN: [&str; 2] = ["/health", "/ready"];

/// The keys, one of which each request must have, if there are any.
#[derive(Clone, Default)]
pub struct Keys(Vec<String>);

impl Keys {
    /// Keys that stand in a text, between white space or commas; only an empty text has none. The error says what is
    /// wrong, without a key in it.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        // No client can send another in a header.
        let Some(text) = text.to_str().filter(|text| text.is_ascii()) else {
            return Err("a key has a character beyond ASCII, which no client can send; use others".to_owned());
        };
        let keys = text.split([',', ' ', '\t', '\r', '\n']).filter(|key| !key.is_empty());
        let keys = Self(keys.map(str::to_owned).collect());
        match keys.0.iter().find(|key| key.bytes().any(|byte| byte.is_ascii_control())) {
            Some(_) => Err("a key has a control character, which no client can send; use others".to_owned()),
            None if keys.is_empty() && !text.is_empty() => {
                Err("there is no key in it; put one there, or unset it".to_owned())
            }
            None => Ok(keys),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if `key` is one of them; all are compared, each in a time that does not depend on where it differs.
    fn has(&self, key: &str) -> bool {
        self.0.iter().fold(false, |any, own| any | bool::from(own.as_bytes().ct_eq(key.as_bytes())))
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.is_empty() {
            return Ok(());
        }
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let sent = sent.and_then(|value| value.split_once(' '));
        let bearer = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim());
        match bearer {
            Some(key) if self.has(key) => Ok(()),
            Some(_) => Err(Refusal::unknown("the key is none of this server's (FUSEMIX_SERVE_KEYS)")),
            None => Err(Refusal::unknown("this server needs a key: send `Authorization: Bearer KEY`")),
        }
    }
}

/// Lets a request pass that has a key, and that no page of another site has sent.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, Refusal> {
    let path = request.uri().path();
    if !OPEN.contains(&path) {
        let headers = request.headers();
        if app.keys.is_empty() {
            check_host(headers)?;
        }
        app.origins.check(headers)?;
        if !app.keys.is_empty() && !page::is_part(path) {
            app.keys.check(headers)?;
        }
    }
    Ok(next.run(request).await)
}

/// Refuses a name that some other site's owner may have pointed at this machine: without keys, only its own names are
/// good.
fn check_host(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).to_ascii_lowercase();
    match is_own(name.strip_suffix('.').unwrap_or(&name)) {
        true => Ok(()),
        false => Err(Refusal::forbidden(format!(
            "without keys (FUSEMIX_SERVE_KEYS) this server answers to localhost only, not to {name:?}"
        ))),
    }
}

/// True if a name is this machine's by itself: that no name server is asked for.
fn is_own(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    matches!(name, "" | "localhost")
        || name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
        || inner.and_then(|inner| inner.parse().ok()).is_some_and(|ip: Ipv6Addr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn one_of_the_keys_is_needed() {
        let keys = Keys::parse("one, two\nthree".as_ref()).unwrap();
        let check = |value: &str| keys.check(&headers(&[(header::AUTHORIZATION, value)])).is_ok();
        assert!(check("Bearer two") && check("bearer three"));
        for wrong in ["Bearer ", "Bearer tw", "Bearer two2", "two", "Basic two"] {
            assert!(!check(wrong), "{wrong}");
        }
        assert!(keys.check(&HeaderMap::new()).is_err());
        assert!(Keys::default().check(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn keys_that_no_client_can_send_are_refused() {
        assert!(Keys::parse("".as_ref()).unwrap().is_empty());
        for (text, says) in [("kéy", "beyond ASCII"), ("a,b\u{7}", "control character"), (" ,\n", "no key in it")] {
            let error = Keys::parse(text.as_ref()).err().unwrap();
            assert!(error.contains(says), "{error}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            assert!(Keys::parse(OsStr::from_bytes(b"key\xff")).is_err());
        }
    }

    #[test]
    fn other_names_are_refused() {
        let host = |host: &str| check_host(&headers(&[(header::HOST, host)])).is_ok();
        assert!(host("localhost:7700") && host("127.0.0.1:7700") && host("[::1]:7700") && host("[::1]"));
        assert!(host("LocalHost.:7700") && host("127.8.9.10:7700") && host("[0:0::1]:7700"));
        for wrong in [
            "evil.example:7700",
            "localhost.evil.example",
            "127.evil.example",
            "127.0.0.1.evil.example:7700",
            "127.1:7700",
            "126.0.0.1",
            "[::2]:7700",
            "::1",
            "[::1].evil.example",
        ] {
            assert!(!host(wrong), "{wrong}");
        }
    }
}
