//! Hubs and mirrors that do not answer as the first hub does.

use fusemix_sdk::{Error, Host, Options};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

use super::Source;
use crate::hub::Hub;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secret";
/// Longer than what one packet holds, so that it can break off.
const SIZE: usize = 300_000;

/// A request: its path, its headers by name in lower case, and how often this path was asked for before.
struct Request {
    path: String,
    headers: HashMap<String, String>,
    before: usize,
}

type Log = Arc<Mutex<Vec<(String, HashMap<String, String>)>>>;

/// A server of one thread, whose every answer `answer` gives: the head of it, and the body.
fn serve(answer: impl Fn(&Request) -> (String, Vec<u8>) + Send + 'static) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let log = Log::default();
    let requests = log.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Some(mut request) = read(&mut stream) else { continue };
            let mut requests = requests.lock().unwrap();
            request.before = requests.iter().filter(|(path, _)| *path == request.path).count();
            requests.push((request.path.clone(), request.headers.clone()));
            drop(requests);
            let (head, body) = answer(&request);
            let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
            let _ = stream.write_all(&body);
        }
    });
    (endpoint, log)
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).ok()?;
    let path = text.split(' ').nth(1)?.to_owned();
    let headers = text.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Some(Request { path, headers, before: 0 })
}

fn weights() -> Vec<u8> {
    (0..SIZE).map(|at| (at * 7 % 251) as u8).collect()
}

fn listing() -> (String, Vec<u8>) {
    let text = format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "model.safetensors"}}]}}"#);
    (format!("200 OK\r\nContent-Length: {}", text.len()), text.into_bytes())
}

fn is_listing(request: &Request) -> bool {
    request.path.starts_with("/api/")
}

/// The whole file, or the part that the request asks for.
fn file(request: &Request, parts: bool) -> (String, Vec<u8>) {
    let all = weights();
    let range = request.headers.get("range").filter(|_| parts).and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return (format!("200 OK\r\nETag: \"name\"\r\nContent-Length: {SIZE}"), all);
    };
    let (first, end) = (first.parse().unwrap(), last.parse().map_or(SIZE, |last: usize| last + 1));
    let head = format!(
        "206 Partial Content\r\nETag: \"name\"\r\nContent-Range: bytes {first}-{}/{SIZE}\r\nContent-Length: {}",
        end - 1,
        end - first
    );
    (head, all[first..end].to_vec())
}

fn locate(endpoint: &str, cache: &Path) -> Result<Source, Error> {
    let hub = Hub { endpoint: endpoint.into(), cache: cache.into(), token: Some(TOKEN.into()), offline: false };
    let options = Options::default().with("model", "org/model");
    Source::locate_with(&options, &Host::detached(), || Ok(hub))
}

/// The weights through the hub, and the cache that they are in.
fn fetched(endpoint: &str) -> (Result<Vec<u8>, String>, TempDir) {
    let cache = tempfile::tempdir().unwrap();
    let path = locate(endpoint, cache.path()).and_then(|source| source.file("model.safetensors"));
    (path.map(|path| std::fs::read(path).unwrap()).map_err(|error| error.message), cache)
}

#[test]
fn a_redirect_to_another_host_is_followed_without_the_token() {
    // One sends no etag, one sends it with the redirect, one only at its end.
    for (etag, end) in [("", true), ("\r\nX-Linked-Etag: \"linked\"", true), ("", false)] {
        let (store, stored) = serve(move |request| {
            let (head, body) = file(request, true);
            (if end { head } else { head.replace("ETag", "X-Other") }, body)
        });
        let location = format!("{store}/blobs/x?signature=1");
        let (hub, asked) = serve(move |request| match request.path.as_str() {
            _ if is_listing(request) => listing(),
            // First to another path of the same host.
            path if path.contains("/resolve/") => ("307 Temporary Redirect\r\nLocation: /moved".into(), Vec::new()),
            _ => (format!("302 Found\r\nLocation: {location}{etag}"), Vec::new()),
        });
        let (found, cache) = fetched(&hub);
        assert!(found == Ok(weights()), "{etag}, {end}");
        let with_token = |log: &Log| {
            log.lock().unwrap().iter().map(|(_, headers)| headers.contains_key("authorization")).collect::<Vec<_>>()
        };
        assert!(with_token(&asked).iter().all(|token| *token) && !with_token(&stored).contains(&true));
        if !etag.is_empty() {
            assert!(cache.path().join("models--org--model/blobs/linked").is_file());
        }
    }
}

#[test]
fn redirects_without_an_end_are_refused() {
    let (hub, _) = serve(|request| match is_listing(request) {
        true => listing(),
        false => (format!("302 Found\r\nLocation: {}x", request.path), Vec::new()),
    });
    let message = fetched(&hub).0.unwrap_err();
    assert!(message.contains("more than 10 redirects") && !message.contains(TOKEN), "{message}");
}

#[test]
fn a_busy_hub_is_asked_again_when_it_says() {
    for busy in [
        "429 Too Many Requests\r\nRetry-After: 0",
        "503 Service Unavailable\r\nRetry-After: 0.05",
        "429 Too Many Requests\r\nRateLimit: \"resolvers\";r=0;t=0",
        "502 Bad Gateway\r\nRetry-After: 0",
    ] {
        let (hub, asked) = serve(move |request| match request.before {
            0 | 1 => (format!("{busy}\r\nContent-Length: 0"), Vec::new()),
            _ if is_listing(request) => listing(),
            _ => file(request, true),
        });
        assert!(fetched(&hub).0 == Ok(weights()), "{busy}");
        assert!(asked.lock().unwrap().len() >= 6, "{busy}");
    }
}

#[test]
fn a_hub_that_stays_busy_and_one_that_asks_for_too_long_are_named() {
    for (busy, says, requests) in [
        ("429 Too Many Requests\r\nRetry-After: 0", "it answers 429 (too many requests), 6 times", 6),
        ("429 Too Many Requests\r\nRetry-After: 3600", "and asks to wait 3600 s; try again then", 1),
        ("403 Forbidden", "it answers 403 (the token does not allow it)", 1),
        ("401 Unauthorized", "it answers 401 (the token is missing or wrong", 1),
    ] {
        let (hub, asked) = serve(move |_| (format!("{busy}\r\nContent-Length: 0"), Vec::new()));
        let message = fetched(&hub).0.unwrap_err();
        assert!(message.contains(says) && message.contains("org/model") && !message.contains(TOKEN), "{message}");
        assert_eq!(asked.lock().unwrap().len(), requests, "{busy}");
    }
}

#[test]
fn a_mirror_that_sends_no_parts_sends_it_whole() {
    let (hub, _) = serve(|request| if is_listing(request) { listing() } else { file(request, false) });
    let (found, cache) = fetched(&hub);
    assert!(found == Ok(weights()));
    // Over what was begun before.
    let model = cache.path().join("models--org--model");
    std::fs::remove_dir_all(model.join("snapshots")).unwrap();
    std::fs::rename(model.join("blobs/name"), model.join("blobs/name.part")).unwrap();
    std::fs::write(model.join("blobs/name.part"), "other").unwrap();
    let path = locate(&hub, cache.path()).unwrap().file("model.safetensors").unwrap();
    assert!(std::fs::read(path).unwrap() == weights());
}

#[test]
fn a_download_that_breaks_off_goes_on() {
    for parts in [true, false] {
        let (hub, asked) = serve(move |request| {
            if is_listing(request) {
                return listing();
            }
            let (head, body) = file(request, parts);
            // The second answer, after that about the first byte, ends too early.
            let end = if request.before == 1 { body.len() / 2 } else { body.len() };
            (head, body[..end].to_vec())
        });
        assert!(fetched(&hub).0 == Ok(weights()), "{parts}");
        let asked = asked.lock().unwrap();
        let last = asked.last().unwrap().1.get("range").cloned();
        assert!(!parts || last.as_deref() == Some("bytes=150000-"), "{last:?}");
    }
}

/// A part that is longer than the file, or that the hub does not know, is begun again.
#[test]
fn a_part_of_another_file_is_begun_again() {
    for (size, refuses) in [(SIZE + 9, false), (9, true)] {
        let (hub, _) = serve(move |request| match request.headers.get("range").map(String::as_str) {
            _ if is_listing(request) => listing(),
            Some("bytes=9-") if refuses => ("416 Range Not Satisfiable\r\nContent-Length: 0".into(), Vec::new()),
            _ => file(request, true),
        });
        let cache = tempfile::tempdir().unwrap();
        let blobs = cache.path().join("models--org--model/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join("name.part"), vec![1; size]).unwrap();
        let path = locate(&hub, cache.path()).unwrap().file("model.safetensors").unwrap();
        assert!(std::fs::read(path).unwrap() == weights(), "{size}");
    }
}
