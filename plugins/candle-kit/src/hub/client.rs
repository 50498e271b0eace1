//! Requests to a hub: redirects are followed, to other hosts without the token; busy hubs are asked again when they
//! say.

use fusemix_sdk::{Host, tracing};
use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, SystemTime};
use ureq::http::Response;
use ureq::{Agent, Body};

/// Requests after the first one.
const RETRIES: u32 = 5;
/// Redirects that are followed.
const REDIRECTS: usize = 10;
/// The first wait where a hub says nothing; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait that a hub may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
const CONNECTING: Duration = Duration::from_secs(30);
const ANSWERING: Duration = Duration::from_secs(60);
/// Bytes of an answer that lists files.
const LISTING: u64 = 1 << 28;

pub(crate) struct Client {
    agent: Agent,
    /// Without a slash at the end.
    endpoint: String,
    token: Option<String>,
    host: Host,
}

/// The answer to a request, and what the answers on the way to it said.
pub(crate) struct Answer {
    pub(crate) response: Response<Body>,
    /// The name of the content, by the first that gave it one.
    pub(crate) etag: Option<String>,
}

impl Client {
    pub(crate) fn new(endpoint: &str, token: Option<String>, host: &Host) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECTING))
            .timeout_recv_response(Some(ANSWERING))
            .user_agent(concat!("fusemix/", env!("CARGO_PKG_VERSION")));
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { agent: config.build().into(), endpoint, token, host: host.clone() }
    }

    /// The text at `path` of the hub.
    pub(crate) fn text(&self, path: &str) -> Result<String, String> {
        let mut text = String::new();
        let body = self.get(path, None)?.response.into_body();
        body.into_reader().take(LISTING).read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    /// The answer to a request for what is at `path` of the hub, or for the bytes of it in `range`. Answers that are
    /// no success are errors, but for 416: there are no such bytes.
    pub(crate) fn get(&self, path: &str, range: Option<&str>) -> Result<Answer, String> {
        let mut tries = 0;
        loop {
            let (error, wait) = match self.follow(&format!("{}/{path}", self.endpoint), range) {
                Ok(answer) => match answer.response.status().as_u16() {
                    200 | 206 | 416 => return Ok(answer),
                    status @ (408 | 429 | 500 | 502 | 503 | 504) => {
                        (format!("it answers {status}{}", meaning(status)), asked(&answer.response))
                    }
                    status => return Err(format!("it answers {status}{}", meaning(status))),
                },
                Err(Failure::Passing(error)) => (error, None),
                Err(Failure::Lasting(error)) => return Err(error),
            };
            let wait = wait.unwrap_or(FIRST_WAIT * 2u32.pow(tries));
            if wait > LONGEST_WAIT {
                return Err(format!("{error}, and asks to wait {} s; try again then", wait.as_secs()));
            }
            if tries == RETRIES {
                return Err(format!("{error}, {} times", tries + 1));
            }
            tries += 1;
            tracing::info!("{}: {error}; asking again in {:.1} s", shown(&self.endpoint), wait.as_secs_f64());
            self.wait(wait)?;
        }
    }

    /// The answer at the end of all redirects.
    fn follow(&self, url: &str, range: Option<&str>) -> Result<Answer, Failure> {
        let (mut url, mut etag) = (url.to_owned(), None);
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&url);
            if let Some(range) = range {
                request = request.header("Range", range);
            }
            if let Some(token) = self.token.as_ref().filter(|_| origin(&url) == origin(&self.endpoint)) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| failure(&url, &error))?;
            let redirected = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            // The plain one of a redirect may be that of its page.
            let name = header(&response, "x-linked-etag").or_else(|| header(&response, "etag").filter(|_| !redirected));
            etag = etag.or_else(|| name.map(cleaned));
            match header(&response, "location").filter(|_| redirected) {
                Some(location) => url = resolved(&url, location),
                None => return Ok(Answer { response, etag }),
            }
        }
        Err(Failure::Lasting(format!("more than {REDIRECTS} redirects, the last to {}", shown(&url))))
    }

    /// Waits, but not on when the run is to stop.
    pub(crate) fn wait(&self, wait: Duration) -> Result<(), String> {
        const STEP: Duration = Duration::from_millis(100);
        let mut left = wait;
        while !left.is_zero() {
            if self.host.should_stop() {
                return Err("stopped".to_owned());
            }
            let step = left.min(STEP);
            sleep(step);
            left -= step;
        }
        Ok(())
    }
}

enum Failure {
    /// May be gone in a moment.
    Passing(String),
    Lasting(String),
}

fn failure(url: &str, error: &ureq::Error) -> Failure {
    let message = format!("{}: {error}", shown(url));
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Failure::Lasting(message),
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => Failure::Passing(message),
        _ => Failure::Lasting(message),
    }
}

pub(crate) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// The wait that a busy hub asks for: seconds or a date in `Retry-After`, or the seconds in `RateLimit`.
fn asked(response: &Response<Body>) -> Option<Duration> {
    let after = header(response, "retry-after").and_then(|after| retry_after::wait(after, SystemTime::now()));
    after.or_else(|| {
        let limit = header(response, "ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t="))?;
        limit.parse().ok().map(Duration::from_secs)
    })
}

fn meaning(status: u16) -> &'static str {
    match status {
        401 => " (the token is missing or wrong, or there is no such model)",
        403 => " (the token does not allow it)",
        404 => " (not found)",
        429 => " (too many requests)",
        503 => " (not available at the moment)",
        _ => "",
    }
}

/// An etag without quotes and the mark of a weak one, as a file may be called.
fn cleaned(etag: &str) -> String {
    let name = |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    etag.trim().trim_start_matches("W/").replace('"', "").chars().map(name).collect()
}

/// Scheme, name and port of a URL.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}

/// The URL that a redirect from `url` leads to.
fn resolved(url: &str, location: &str) -> String {
    let scheme = url.split("://").next().unwrap_or("https");
    let path = url.split(['?', '#']).next().unwrap_or(url);
    match location {
        absolute if absolute.split('/').next().is_some_and(|scheme| scheme.ends_with(':')) => absolute.to_owned(),
        host if host.starts_with("//") => format!("{scheme}:{host}"),
        path if path.starts_with('/') => format!("{}{path}", origin(url)),
        relative => format!("{}/{relative}", path.rsplit_once('/').map_or(path, |(folder, _)| folder)),
    }
}

/// A URL as it may be shown: without a user's name and password, and without a query, which may hold a signature.
pub(crate) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or(host);
    if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        let from = "https://hub.example/org/model/resolve/main/a.json?x=1";
        for (location, to) in [
            ("https://cdn.example/b?sig=2", "https://cdn.example/b?sig=2"),
            ("//cdn.example/b", "https://cdn.example/b"),
            ("/other/b", "https://hub.example/other/b"),
            ("b.json", "https://hub.example/org/model/resolve/main/b.json"),
        ] {
            assert_eq!(resolved(from, location), to);
        }
        for (url, own) in [(from, "https://hub.example"), ("http://a:80", "http://a:80"), ("http://a?b", "http://a")] {
            assert_eq!(origin(url), own);
        }
        assert_eq!(shown("https://me:secret@hub.example/a?sig=secret"), "https://hub.example/a");
        assert_eq!(cleaned("W/\"ab/c\""), "ab_c");
    }

    #[test]
    fn waits_are_the_hubs() {
        let answer = |name: &str, value: &str| {
            let response = Response::builder().status(429).header(name, value);
            asked(&response.body(Body::builder().data("")).unwrap())
        };
        assert_eq!(answer("Retry-After", "7"), Some(Duration::from_secs(7)));
        assert_eq!(answer("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(answer("RateLimit", "\"api\";r=0;t=55"), Some(Duration::from_secs(55)));
        assert_eq!(answer("Retry-After", "soon"), None);
        assert_eq!(answer("Server", "x"), None);
    }
}
