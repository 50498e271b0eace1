//! A running server.

use serde_json::{Value, json};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use ureq::http::{Request, Response};

use super::numbers;
use crate::common::{Place, interrupt};

/// A running server.
pub(super) struct Served<'a> {
    place: &'a Place,
    pub(super) child: Child,
    pub(super) url: String,
    pub(super) key: Option<&'static str>,
}

impl<'a> Served<'a> {
    /// `fusemix serve run` with these arguments at a free port.
    pub(super) fn start(place: &'a Place, arguments: &str) -> Self {
        Self::with_keys(place, arguments, None)
    }

    pub(super) fn with_keys(place: &'a Place, arguments: &str, key: Option<&'static str>) -> Self {
        Self::logging(place, arguments, key, Stdio::inherit())
    }

    /// The same, with a place for its log.
    pub(super) fn logging(place: &'a Place, arguments: &str, key: Option<&'static str>, log: impl Into<Stdio>) -> Self {
        let mut command = place.command(&format!("serve run --port 0 --json {arguments}"));
        command.stdout(Stdio::piped()).stderr(log).env("FUSEMIX_SERVE_KEYS", key.unwrap_or_default());
        // Whatever fails from here on ends it.
        let mut served = Self { place, child: command.spawn().unwrap(), url: String::new(), key };
        let stdout = served.child.stdout.take().unwrap();
        let mut said = serde_json::Deserializer::from_reader(stdout).into_iter::<Value>();
        let said = said.next().and_then(Result::ok).expect("the server says where it is");
        served.url = said["url"].as_str().unwrap().to_owned();
        served
    }

    /// The answer to a request with these headers.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Response<ureq::Body> {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true).build().into();
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        agent.run(request.body(body.into()).unwrap()).unwrap()
    }

    /// The status and the answer.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map_or_else(String::new, Value::to_string);
        let mut answer = self.send(method, path, &[("content-type", "application/json")], body);
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(super) fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(&body));
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub(super) fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// The error of a request that is refused with this status.
    pub(super) fn refused(&self, status: u16, path: &str, body: Value) -> Value {
        let (got, answer) = self.ask("POST", path, Some(&body));
        assert_eq!(got, status, "{path}: {answer}");
        assert!(answer["error"]["message"].is_string(), "{answer}");
        answer["error"].clone()
    }

    /// An open connection, for what no client sends.
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub(super) fn embedding(&self, tower: &str, text: &str) -> Vec<f64> {
        let answer = self.post("/v1/embeddings", json!({"model": format!("run/{tower}"), "input": text}));
        numbers(&answer["data"][0]["embedding"])
    }

    /// Ends it as the system does.
    pub(super) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Ends it as Ctrl-C does; it must end well.
    pub(super) fn end(mut self) {
        interrupt(&self.child);
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.place.path("").display());
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
