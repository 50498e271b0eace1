//! Requests to a Qdrant server. A server that is busy, or away for a moment, is asked again.

use serde::Serialize;
use serde_json::Value;
use std::io::ErrorKind;
use std::thread::sleep;
use std::time::{Duration, SystemTime};
use ureq::Agent;
use ureq::http::{Method, Request, Uri};

use super::{Collection, KEY};
use crate::gallery::export::ExportError;
use crate::stop::Stop;

/// Requests after the first one.
const RETRIES: u32 = 5;
/// The first wait where a server says nothing; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const CONNECTING: Duration = Duration::from_secs(10);
const ANSWERING: Duration = Duration::from_secs(120);
/// The most bytes of an answer.
const ANSWER: u64 = 64 << 20;
/// The most characters of a server's words in an error.
const WORDS: usize = 300;

pub(super) struct Client {
    agent: Agent,
    /// That of the collection, without a slash at its end.
    url: String,
    key: Option<String>,
    stop: Stop,
}

impl Client {
    pub(super) fn new(collection: &Collection, key: Option<String>, stop: &Stop) -> Result<Self, ExportError> {
        let base = collection.url.trim_end_matches('/');
        let refuse = |url: &str, what: &str| Err(ExportError::Server { url: url.to_owned(), what: what.to_owned() });
        let Ok(uri) = base.parse::<Uri>() else { return refuse(base, "this is no URL; give http://HOST:6333") };
        let host = uri.host().unwrap_or_default();
        match (uri.scheme_str(), host) {
            (Some("http" | "https"), host) if !host.is_empty() => {}
            _ => return refuse(base, "this is no URL; give http://HOST:6333 or https://HOST:6333"),
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || uri.query().is_some() {
            return refuse(host, &format!("a URL must not hold a key; put it into the environment variable {KEY}"));
        }
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if key.is_some() && uri.scheme_str() == Some("http") && !is_here {
            return refuse(base, &format!("the key in {KEY} would go over an open line; give an https:// URL"));
        }
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECTING))
            .timeout_send_body(Some(ANSWERING))
            .timeout_recv_response(Some(ANSWERING))
            .timeout_recv_body(Some(ANSWERING))
            .user_agent(concat!("fusemix/", env!("CARGO_PKG_VERSION")));
        let url = format!("{base}/collections/{}", encoded(&collection.name));
        Ok(Self { agent: config.build().into(), url, key, stop: stop.clone() })
    }

    /// The answer to GET; none if there is no such thing.
    pub(super) fn get(&self, path: &str) -> Result<Option<Value>, ExportError> {
        self.ask(Method::GET, path, None)
    }

    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, ExportError> {
        self.sent(Method::POST, path, body)
    }

    pub(super) fn put(&self, path: &str, body: &impl Serialize) -> Result<Value, ExportError> {
        self.sent(Method::PUT, path, body)
    }

    fn sent(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Value, ExportError> {
        let answer = self.ask(method, path, Some(serde_json::to_vec(body).expect("all keys are text")))?;
        answer.ok_or_else(|| self.error("there is no such collection any more; run this again".to_owned()))
    }

    /// An error of this collection.
    pub(super) fn error(&self, what: String) -> ExportError {
        ExportError::Server { url: self.url.clone(), what }
    }

    fn ask(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Option<Value>, ExportError> {
        let mut tries = 0;
        loop {
            let (problem, wait) = match self.once(&method, path, body.as_deref()) {
                Ok(Answer { status: 200, text, .. }) => match serde_json::from_str(&text) {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(_) => {
                        return Err(self.error(format!("the answer is no JSON; is this Qdrant? {}", words(&text))));
                    }
                },
                Ok(Answer { status: 404, .. }) => return Ok(None),
                Ok(Answer { status: status @ (408 | 429 | 500 | 502 | 503 | 504), text, wait }) => {
                    (format!("the server answers {status}: {}", words(&text)), wait)
                }
                Ok(Answer { status: status @ (401 | 403), .. }) => {
                    let what = format!("the server answers {status}: set {KEY} to a key that may write");
                    return Err(self.error(what));
                }
                Ok(Answer { status, text, .. }) => {
                    return Err(self.error(format!("the server answers {status}: {}", words(&text))));
                }
                Err(ureq::Error::Io(error))
                    if method == Method::GET && error.kind() == ErrorKind::ConnectionRefused =>
                {
                    return Err(
                        self.error("no server listens there; start Qdrant, or name its URL with --url".to_owned())
                    );
                }
                Err(error) => (error.to_string(), None),
            };
            let wait = wait.unwrap_or(FIRST_WAIT * 2u32.pow(tries)).min(LONGEST_WAIT);
            if tries == RETRIES || self.stop.is_asked() {
                let what = format!("{problem}; what was sent is kept: run this again to send the rest");
                return Err(self.error(what));
            }
            tries += 1;
            tracing::info!("{}: {problem}; asking again in {:.1} s", self.url, wait.as_secs_f64());
            self.wait(wait);
        }
    }

    fn once(&self, method: &Method, path: &str, body: Option<&[u8]>) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("api-key", key);
        }
        let mut response = match body {
            Some(body) => self.agent.run(request.header("content-type", "application/json").body(body)?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let wait = after.and_then(|after| retry_after::wait(after, SystemTime::now()));
        let mut text = response.body_mut().with_config().limit(ANSWER).read_to_string()?;
        if let Some(key) = &self.key {
            // Some servers repeat what they were sent.
            text = text.replace(key.as_str(), "***");
        }
        Ok(Answer { status: response.status().as_u16(), text, wait })
    }

    /// Waits, but not on when the run is to stop.
    fn wait(&self, mut left: Duration) {
        while !left.is_zero() && !self.stop.is_asked() {
            let step = left.min(Duration::from_millis(100));
            sleep(step);
            left -= step;
        }
    }
}

struct Answer {
    status: u16,
    text: String,
    /// The wait that the server asks for.
    wait: Option<Duration>,
}

/// A server's words: Qdrant's `status.error`, or the beginning of whatever else it says.
fn words(text: &str) -> String {
    let json: Option<Value> = serde_json::from_str(text).ok();
    let error = json.as_ref().and_then(|json| json["status"]["error"].as_str());
    error.unwrap_or(text).chars().take(WORDS).collect()
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
