//! One exchange over HTTP: the places where the key may go, and the meaning of each failure.

use fusemix_sdk::Error;
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url, redirect};
use serde_json::Value;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::body::{self, FACTS, Most, chain};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::said::{Allowance, PATIENCE, Refusal, asked, is_used_up, refusal, words};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::tls;
use crate::unknown_model::is_of_model;

/// The response.
pub(crate) struct Reply {
    pub(crate) body: Vec<u8>,
    pub(crate) allowance: Allowance,
}

pub(crate) struct Client {
    http: reqwest::blocking::Client,
    base: Url,
    key: Option<Secret>,
    key_env: Option<String>,
    retries: u32,
}

impl Client {
    pub(crate) fn open(settings: &Settings, default_base: Option<&str>) -> Result<Self, Error> {
        let base = settings.base_url.as_deref().or(default_base).ok_or_else(|| {
            Error::config(format!("provider `{}` needs a `base_url`; add it in plugins.toml", settings.provider))
                .key("base_url")
        })?;
        let url = Url::parse(base.trim_end_matches('/')).ok().filter(|url| url.has_host());
        let base = url.filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
            // What is before an @ may be a password.
            let shown = if base.contains('@') { String::new() } else { format!(" = {base:?}") };
            Error::config(format!("`base_url`{shown} is not a URL such as https://host/v1; change it in plugins.toml"))
                .key("base_url")
        })?;
        if !base.username().is_empty()
            || base.password().is_some()
            || base.query().is_some()
            || base.fragment().is_some()
        {
            return Err(Error::config(
                "`base_url` must not contain a password or a query; the key is sent in a header",
            )
            .key("base_url"));
        }
        if settings.key.is_some() && base.scheme() == "http" && !is_loopback(&base) && !settings.allow_http {
            return Err(Error::config(format!(
                "the key would be sent to {base} without TLS; use https, or set `allow_http = true` in plugins.toml"
            ))
            .key("base_url"));
        }
        // An `Err` means that another encoder of this library has installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::blocking::Client::builder()
            .user_agent(concat!("fusemix/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.request_timeout)
            .connect_timeout(settings.connect_timeout)
            // No other host gets to see the key.
            .redirect(redirect::Policy::none());
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        if let Some(path) = &settings.ca_file {
            let wrong = |error: String| Error::config(format!("ca_file {}: {error}", path.display())).key("ca_file");
            builder = builder.tls_backend_preconfigured(tls::trusting(path).map_err(wrong)?);
        }
        let http = builder.build().map_err(|error| Error::new(format!("cannot create an HTTP client: {error}")))?;
        let (key, key_env) = (settings.key.clone(), settings.key_env.clone());
        Ok(Self { http, base, key, key_env, retries: settings.retries })
    }

    /// `text` without the key, in case the server repeated it.
    fn redact(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }

    /// An answer without the key, in case the server repeated it.
    fn clean(&self, body: Vec<u8>) -> Vec<u8> {
        match &self.key {
            Some(key) => key.clean(body),
            None => body,
        }
    }

    /// The address of the server, for messages.
    pub(crate) fn address(&self) -> String {
        self.base.host_str().unwrap_or_default().to_owned()
    }

    /// Checks that there is a key before anything is sent; cached items need none.
    pub(crate) fn need_key(&self) -> Result<(), Error> {
        match (&self.key, &self.key_env) {
            (None, Some(name)) => Err(Error::config(format!(
                "the environment variable {name} is not set: set it to the API key, or name another variable with \
                 `api_key_env`"
            ))
            .key("api_key_env")),
            _ => Ok(()),
        }
    }

    /// Sends a request.
    pub(crate) fn post(
        &self,
        endpoint: &Endpoint,
        body: &Value,
        most: impl FnOnce(usize) -> Most,
    ) -> Result<Reply, Failure> {
        let body = body.to_string();
        let most = most(body.len());
        let request = self.http.post(self.url(&endpoint.path)).header("content-type", "application/json").body(body);
        self.exchange(request, endpoint, most)
    }

    /// Requests something from the server, retrying as long as it may help.
    pub(crate) fn get(&self, endpoint: &Endpoint) -> Result<Vec<u8>, String> {
        self.need_key().map_err(|error| error.message)?;
        let mut left = self.retries;
        loop {
            let most = Most { bytes: FACTS, guessed: false };
            match self.exchange(self.http.get(self.url(&endpoint.path)), endpoint, most) {
                Ok(reply) => return Ok(reply.body),
                Err(Failure::Broken(_) | Failure::Cut(_)) if left > 0 => {
                    left -= 1;
                    std::thread::sleep(Duration::from_millis(500));
                }
                Err(Failure::Again { after, .. } | Failure::Later { after, .. }) if left > 0 => {
                    left -= 1;
                    std::thread::sleep(after.unwrap_or(Duration::from_millis(500)).min(Duration::from_secs(5)));
                }
                Err(failure) => return Err(failure.to_string()),
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    fn exchange(&self, request: RequestBuilder, endpoint: &Endpoint, most: Most) -> Result<Reply, Failure> {
        let request = match &self.key {
            Some(key) => {
                let (name, prefix) = &endpoint.key;
                let name = HeaderName::from_bytes(name.as_bytes());
                let value = HeaderValue::from_str(&format!("{prefix}{}", key.expose()));
                let (Ok(name), Ok(mut value)) = (name, value) else {
                    return Err(Failure::Fatal(
                        "the API key, or the name of its header, is not valid in HTTP".to_owned(),
                    ));
                };
                value.set_sensitive(true);
                request.header(name, value)
            }
            None => request,
        };
        let again = |error: reqwest::Error| match (error.is_connect(), error.is_timeout()) {
            (true, _) => {
                let reason = chain(&error.without_url());
                Failure::Unreachable(match reason.contains("InvalidContentType") {
                    true => format!(
                        "{} did not answer over TLS; should `base_url` begin with `http://`? ({reason})",
                        self.base
                    ),
                    false => format!("{reason}; is the server at {} running?", self.base),
                })
            }
            (false, true) => Failure::Slow(self.address()),
            (false, false) => Failure::Again { reason: chain(&error.without_url()), after: None },
        };
        let response = request.send().map_err(again)?;
        let status = response.status();
        if status.is_success() {
            let allowance = Allowance::of(response.headers());
            let encoding = response.headers().get(CONTENT_ENCODING).and_then(|encoding| encoding.to_str().ok());
            let encoding = encoding.map(str::to_owned);
            let body = body::read(response, most, &self.address())?;
            if let Some(packing) = body::packing(&body, encoding.as_deref()) {
                return Err(Failure::Fatal(format!(
                    "the answer of {} is packed with {packing}, which was not asked for or is not said in its header: \
                     the server, or what is between, must send plain JSON or say that it is gzip",
                    self.address()
                )));
            }
            let body = self.clean(body);
            return Ok(Reply { body, allowance });
        }
        Err(self.failure(status, response))
    }

    fn failure(&self, status: StatusCode, response: Response) -> Failure {
        let elsewhere = response.headers().get("location").and_then(|to| to.to_str().ok()).map(str::to_owned);
        let (headers, body) = (response.headers().clone(), self.clean(body::beginning(response)));
        let said = format!("{status}: {}", words(&body));
        if status.is_redirection() {
            return Failure::Fatal(format!(
                "{status}: the server redirects to {}; if you trust it, set it as `base_url`",
                elsewhere.map_or("somewhere else".to_owned(), |place| self.redact(&place))
            ));
        }
        let after = asked(&headers, &body, SystemTime::now());
        self.meaning(status.as_u16(), said, &body, after)
    }

    /// The failure that an answer without vectors states, though HTTP calls it a success.
    pub(crate) fn stated(&self, body: &[u8]) -> Option<Failure> {
        let Refusal { words, status, passes, .. } = refusal(body)?;
        let said = format!("200 OK, but with an error: {words}");
        let after = asked(&HeaderMap::new(), body, SystemTime::now());
        Some(match status {
            Some(status @ (400 | 413 | 422)) if !is_of_model(body) => Failure::Stated(format!("{said} ({status})")),
            Some(status) => self.meaning(status, format!("{said} ({status})"), body, after),
            None if is_used_up(body, after) => Failure::Fatal(format!("{said}; the quota is used up")),
            None if after.is_some_and(|after| after <= PATIENCE) => Failure::Later { reason: said, after },
            None if passes => Failure::Again { reason: said, after: None },
            None => Failure::Stated(said),
        })
    }

    /// The meaning of a status other than of success or redirection.
    fn meaning(&self, status: u16, said: String, body: &[u8], after: Option<Duration>) -> Failure {
        match status {
            code @ (401 | 403) => {
                let said = match &self.key_env {
                    Some(name) => format!("{said}; the key came from {name}"),
                    None => format!("{said}; name the environment variable with the key in `api_key_env`"),
                };
                if code == 401 { Failure::Fatal(said) } else { Failure::Forbidden(said) }
            }
            400 | 404 | 422 if is_of_model(body) => {
                Failure::Key("model", format!("{said}; change `model` in plugins.toml"))
            }
            404 | 405 => Failure::Fatal(format!("{said}; are `base_url` ({}) and `model` right?", self.base)),
            402 | 407 => Failure::Fatal(said),
            // Google says so of a key that is wrong.
            400 if body.windows(15).any(|part| part == b"API_KEY_INVALID") => Failure::Fatal(said),
            429 if is_used_up(body, after) => Failure::Fatal(format!("{said}; the quota is used up")),
            429 | 503 | 529 if after.is_some_and(|after| after > PATIENCE) => {
                Failure::Fatal(format!("{said}; the server asks to wait for more than an hour"))
            }
            // More than a minute may hold will not be taken in any minute.
            429 if said.to_lowercase().contains("too large") => Failure::Refused(said),
            429 => Failure::Later { reason: said, after },
            503 | 529 if after.is_some() => Failure::Later { reason: said, after },
            500 => Failure::Broken(said),
            408 | 424 | 425 | 498 | 499 | 501..=599 => Failure::Again { reason: said, after },
            _ => Failure::Refused(said),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
