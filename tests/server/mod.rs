//! A local server with a strict embedding API, which logs requests and fails on demand.

mod answer;
pub mod http;
mod wire;

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

pub use http::Request;
use http::{answer, read};
pub use wire::Wire;

/// The key that every server requires.
pub const KEY: &str = "sk-test-c0ffee";
/// The text whose vector proves that a server works.
pub const SAMPLE: &str = "a red flower";
/// Values of a vector.
pub const WIDTH: usize = 24;

/// The expected vector of an input.
pub fn vector(input: &str) -> Vec<f32> {
    let mut random = blake3::Hasher::new().update(input.as_bytes()).finalize_xof();
    let mut bytes = [0; 4 * WIDTH];
    random.fill(&mut bytes);
    bytes.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes) as f32 / i32::MAX as f32).collect()
}

/// A fault of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429 with `Retry-After` in seconds, as a date, and without.
    Limited,
    LimitedUntil,
    LimitedSomehow,
    /// 500 and 503.
    Broken,
    Busy,
    /// The connection ends in the middle of the answer.
    Reset,
    /// The answer never ends.
    Stalled,
    /// 200, and half of the JSON.
    Cut,
    /// 200, and a page in HTML.
    Html,
    /// A vector too few.
    Few,
    /// The right vectors in another order, with their indices where the format has them.
    Shuffled,
    /// An index twice.
    Twice,
    /// Vectors of another width.
    Narrow,
    /// A NaN, and an empty vector.
    NotANumber,
    Empty,
    /// 413 and 422.
    TooLarge,
    Unprocessable,
    /// 401, and a quota that is used up.
    Unauthorized,
    UsedUp,
    /// 200 and 400 with an answer that never ends.
    Endless,
    EndlessWords,
    /// 200, and 512 MiB of blanks in half a megabyte.
    Bomb,
    /// 200 with a number that f64 cannot hold, and with a usage below 0.
    Huge,
    Refund,
    /// The right vectors without the index 0, and all with the index 0.
    NoZero,
    AllZero,
    /// In place of each vector one for each token, and the vector nested once more.
    Tokens,
    Nested,
    /// Only the vector of the first item.
    First,
    /// Base64 in the other alphabet without padding, that is none, of f64, f16, int8 and big-endian f32; and hexadecimal
    /// digits.
    UrlSafe,
    NoBase64,
    Doubles,
    Halves,
    Bytes,
    BigEndian,
    Hex,
    /// In place of the vector of each item that ends with "later", an error that asks for a second.
    Postponed,
    /// A vector too many.
    Many,
    /// The right answer packed with deflate, which nobody asked for.
    Deflated,
    /// A byte-order mark before the JSON, and a usage in words.
    Marked,
    Worded,
    /// Indices from this number, and on from one request to the next.
    From(i64),
    On,
    /// 400 in these words if there are more inputs than that.
    AtMost(usize, &'static str),
    /// This status with this body.
    Says(u16, &'static str),
}

/// A key that the server refuses with a status and these words: with any value, or with one.
#[derive(Clone, Copy, Debug)]
pub struct Refuses {
    pub key: &'static str,
    pub value: Option<&'static str>,
    pub status: u16,
    pub words: &'static str,
}

/// The fault of request `n`, from 0.
pub type Script = Box<dyn Fn(usize) -> Option<Fault> + Send + Sync>;

/// A received request, and the answer to it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Instant,
    pub inputs: Vec<String>,
    /// True if it was answered with the right vectors.
    pub answered: bool,
}

pub struct Server {
    pub address: String,
    pub log: Arc<Mutex<Vec<Entry>>>,
    ends: Arc<AtomicBool>,
}

struct Served {
    ends: Arc<AtomicBool>,
    wire: Wire,
    refuses: Vec<Refuses>,
    script: Script,
    latency: Duration,
    requests: AtomicUsize,
    log: Arc<Mutex<Vec<Entry>>>,
}

impl Server {
    /// Serves one format until it is dropped.
    pub fn start(
        wire: Wire,
        latency: Duration,
        script: impl Fn(usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::of("127.0.0.1:0", wire, latency, Box::new(script), Vec::new())
    }

    /// A server without faults in the place of one that is gone.
    pub fn again(address: &str, wire: Wire) -> Self {
        Self::of(address.trim_start_matches("http://"), wire, Duration::ZERO, Box::new(|_| None), Vec::new())
    }

    /// A server that refuses some keys.
    pub fn refusing(wire: Wire, refuses: Vec<Refuses>) -> Self {
        Self::of("127.0.0.1:0", wire, Duration::ZERO, Box::new(|_| None), refuses)
    }

    fn of(address: &str, wire: Wire, latency: Duration, script: Script, refuses: Vec<Refuses>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (log, ends) = (Arc::<Mutex<Vec<Entry>>>::default(), Arc::<AtomicBool>::default());
        let requests = AtomicUsize::new(0);
        let served =
            Arc::new(Served { ends: ends.clone(), wire, refuses, script, latency, requests, log: log.clone() });
        let ended = ends.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream.unwrap()));
            }
        });
        Self { address, log, ends }
    }

    /// A server without faults.
    pub fn faultless(wire: Wire) -> Self {
        Self::start(wire, Duration::ZERO, |_| None)
    }

    pub fn requests(&self) -> Vec<Entry> {
        self.log.lock().unwrap().clone()
    }

    /// The number of times that each input was answered with its vector.
    pub fn answered(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.requests().into_iter().filter(|entry| entry.answered) {
            entry.inputs.into_iter().for_each(|input| *counts.entry(input).or_default() += 1);
        }
        counts
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
    }
}

/// Blanks, packed by gzip: once, which takes seconds on a busy machine.
pub fn bomb() -> &'static [u8] {
    static PACKED: OnceLock<Vec<u8>> = OnceLock::new();
    PACKED.get_or_init(|| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let blanks = vec![b' '; 1 << 20];
        (0..512).for_each(|_| packed.write_all(&blanks).unwrap());
        packed.finish().unwrap()
    })
}

impl Served {
    fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read(&mut reader) {
            if self.ends.load(Ordering::Relaxed) || self.exchange(&request, &mut stream).is_err() {
                return;
            }
        }
    }

    /// An `Err` ends the connection.
    fn exchange(&self, request: &Request, stream: &mut TcpStream) -> std::io::Result<()> {
        let at = Instant::now();
        if request.method == "GET" {
            return match self.wire.info(request) {
                Some(body) => answer(stream, 200, "", body.to_string().as_bytes()),
                None => answer(stream, 404, "", b"{\"error\": \"no such route\"}"),
            };
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let log = |inputs: &[String], answered| {
            self.log.lock().unwrap().push(Entry { at, inputs: inputs.to_vec(), answered });
        };
        std::thread::sleep(self.latency);
        let asked = match self.wire.read(request) {
            Ok(asked) => asked,
            Err((status, reason)) => {
                log(&[], false);
                return answer(stream, status, "", self.wire.complaint(&reason).to_string().as_bytes());
            }
        };
        let inputs = &asked.inputs;
        let refused = self.refuses.iter().find(|refuses| {
            let found =
                asked.body.get(refuses.key).or_else(|| asked.body.pointer(&format!("/requests/0/{}", refuses.key)));
            found.is_some_and(|found| refuses.value.is_none_or(|value| found == value))
        });
        if let Some(Refuses { status, words, .. }) = refused {
            log(inputs, false);
            return answer(stream, *status, "", self.wire.complaint(words).to_string().as_bytes());
        }
        if inputs.iter().any(|input| input.contains("poison")) {
            log(inputs, false);
            return answer(stream, 400, "", self.wire.complaint("an input is not allowed").to_string().as_bytes());
        }
        if inputs.iter().any(|input| input.contains("kryptonite")) {
            log(inputs, false);
            return answer(stream, 500, "", self.wire.complaint("internal error").to_string().as_bytes());
        }
        let whole = |fault| {
            let fault = if fault == Some(Fault::On) { Some(Fault::From(100 * number as i64)) } else { fault };
            self.wire.answer(&asked, fault)
        };
        let say = |reason: &str| self.wire.complaint(reason).to_string().into_bytes();
        // One item is never too many.
        let many = |fault: &Fault| inputs.len() > 1 || !matches!(fault, Fault::TooLarge | Fault::Unprocessable);
        let fault = (self.script)(number).filter(many);
        if let Some(Fault::AtMost(most, words)) = fault
            && inputs.len() > most
        {
            log(inputs, false);
            return answer(stream, 400, "", &say(words));
        }
        let few = |fault: &Option<Fault>| fault == &Some(Fault::First) && inputs.len() == 1;
        let right = few(&fault)
            || matches!(fault, None | Some(Fault::Shuffled | Fault::Refund | Fault::NoZero | Fault::AllZero))
            || matches!(fault, Some(Fault::UrlSafe | Fault::Marked | Fault::Worded | Fault::From(_) | Fault::On))
            || matches!(fault, Some(Fault::AtMost(..)));
        let (status, headers, body) = match fault {
            None => (200, String::new(), whole(None)),
            Some(Fault::Says(status, body)) => (status, String::new(), body.as_bytes().to_vec()),
            Some(Fault::Limited) => (429, "retry-after: 0\r\n".to_owned(), say("too many requests")),
            Some(Fault::LimitedUntil) => {
                (429, "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned(), say("too many requests"))
            }
            Some(Fault::LimitedSomehow) => (429, String::new(), say("too many requests")),
            Some(Fault::Broken) => (500, String::new(), say("internal error")),
            Some(Fault::Busy) => (503, "retry-after: 0\r\n".to_owned(), b"<html>503</html>".to_vec()),
            Some(Fault::Html) => (200, String::new(), b"<html><body>Bad gateway</body></html>".to_vec()),
            Some(Fault::TooLarge) => (413, String::new(), say("the request is too large")),
            Some(Fault::Unprocessable) => (422, String::new(), say("batch size > maximum allowed batch size")),
            Some(Fault::Unauthorized) => (401, String::new(), say(&format!("Incorrect API key provided: {KEY}"))),
            Some(Fault::UsedUp) => {
                let error =
                    serde_json::json!({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}});
                (429, String::new(), error.to_string().into_bytes())
            }
            Some(Fault::Cut) => {
                let body = whole(None);
                (200, String::new(), body[..body.len() / 2].to_vec())
            }
            Some(fault @ (Fault::Endless | Fault::EndlessWords)) => {
                log(inputs, false);
                let status = if fault == Fault::Endless { 200 } else { 400 };
                let head = format!("HTTP/1.1 {status} Status\r\nconnection: close\r\n\r\n{{\"data\":[");
                stream.write_all(head.as_bytes())?;
                let more = b"0.125,".repeat(1 << 14);
                loop {
                    stream.write_all(&more)?;
                }
            }
            Some(Fault::Deflated) => {
                let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                packed.write_all(&whole(None)).unwrap();
                (200, "content-encoding: deflate\r\n".to_owned(), packed.finish().unwrap())
            }
            Some(Fault::Bomb) => (200, "content-encoding: gzip\r\n".to_owned(), bomb().to_vec()),
            Some(Fault::Reset | Fault::Stalled) => {
                log(inputs, false);
                let body = whole(None);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat())?;
                if fault == Some(Fault::Stalled) {
                    std::thread::sleep(Duration::from_secs(5));
                }
                stream.shutdown(Shutdown::Both)?;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            other => (200, String::new(), whole(other)),
        };
        // Logged first: what the other side has stored is in the log by then.
        log(inputs, right);
        answer(stream, status, &headers, &body)
    }
}

/// The content of a request.
pub struct Asked {
    pub inputs: Vec<String>,
    pub base64: bool,
    pub body: Value,
}
