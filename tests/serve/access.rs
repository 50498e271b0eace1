//! Who may ask, and what nobody may.

use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::served::Served;
use super::trained;

#[test]
fn keys_and_hosts_are_checked() {
    let place = trained();
    let mut served = Served::with_keys(&place, "", Some("first, second"));
    served.key = Some("second");
    assert_eq!(served.get("/info")["run"], "run");
    for key in [None, Some("third"), Some("secon")] {
        served.key = key;
        let (status, answer) = served.ask("GET", "/info", None);
        assert_eq!((status, &answer["error"]["type"]), (401, &json!("authentication_error")), "{answer}");
        assert_eq!(served.ask("GET", "/health", None).0, 200);
    }
    drop(served);
    place.run("serve run --host 0.0.0.0 --port 0").fails(2, "put keys for its clients into FUSEMIX_SERVE_KEYS");
    for (keys, says) in [("kéy", "beyond ASCII"), (" ,", "there is no key in it")] {
        let mut command = place.command("serve run --port 0");
        let ran = command.env("FUSEMIX_SERVE_KEYS", keys).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.code() == Some(2) && said.contains("FUSEMIX_SERVE_KEYS: ") && said.contains(says), "{said}");
    }
    // What a page of another site sends, and one that made its name point here.
    let served = Served::start(&place, "");
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(served.ask(method, "/", None).0, 405, "{method}");
    }
    for (header, status) in [
        ("Host: evil.example", "403"),
        ("Host: 127.evil.example", "403"),
        ("Host: 127.0.0.1.evil.example:7700", "403"),
        ("Host: 127.0.0.1:7700", "200"),
        ("Host: [::1]", "200"),
        ("Host: localhost\r\nOrigin: https://evil.example", "403"),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image", "403"),
        (
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document",
            "200",
        ),
        ("Host: localhost", "200"),
    ] {
        let mut stream = served.connect();
        write!(stream, "GET /info HTTP/1.1\r\n{header}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{header}: {answer}");
    }
}

#[test]
fn hostile_requests_hurt_nobody_else() {
    let place = trained();
    let served = Served::start(&place, "--max-body 1");
    // Those that say much and send nothing, or end in the middle.
    let mut open: Vec<TcpStream> = (0..50).map(|_| served.connect()).collect();
    for (at, stream) in open.iter_mut().enumerate() {
        let start =
            ["", "POST /v1/emb", "POST /v1/embeddings HTTP/1.1\r\nContent-Length: 900000\r\n\r\n{\"inp"][at % 3];
        stream.write_all(start.as_bytes()).unwrap();
    }
    for raw in [
        "GARBAGE\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000)),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "y".repeat(200_000)),
        "POST /search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        format!("POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n{}", "[".repeat(200_000)),
    ] {
        let mut stream = served.connect();
        let _ = stream.write_all(raw.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(served.embedding("left", "w1 v1").len(), 32);
    drop(open);
    served.end();
}

#[test]
fn what_is_announced_and_not_sent_takes_no_memory_from_others() {
    let place = trained();
    let served = Served::start(&place, "");
    // Of the largest bodies that are allowed, eight would fill the memory.
    let open: Vec<TcpStream> = (0..40)
        .map(|at| {
            let mut stream = served.connect();
            let start = match at % 2 {
                0 => "Content-Length: 33554432\r\n\r\n{\"inp".to_owned(),
                _ => "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n".to_owned(),
            };
            write!(stream, "POST /search HTTP/1.1\r\nHost: localhost\r\n{start}").unwrap();
            stream
        })
        .collect();
    let begin = Instant::now();
    assert_eq!(served.embedding("left", "w1 v1").len(), 32);
    // One that is large has its memory, too.
    let long = json!({"model": "run/left", "input": "w1 v1", "user": "u".repeat(20 << 20)});
    assert_eq!(served.post("/v1/embeddings", long)["data"].as_array().unwrap().len(), 1);
    assert!(begin.elapsed() < Duration::from_secs(9), "{:?}: those who wait for memory are refused", begin.elapsed());
    drop(open);
}

#[test]
fn pages_of_named_sites_may_ask() {
    let place = trained();
    let site = "https://app.example.org";
    let ask = |served: &Served<'_>, method: &str, origin: &str, more: &[(&str, &str)]| {
        let headers = [&[("origin", origin), ("content-type", "application/json")], more].concat();
        let body =
            if method == "POST" { json!({"model": "run/left", "input": "w1"}).to_string() } else { String::new() };
        let answer = served.send(method, "/v1/embeddings", &headers, body);
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), header("access-control-allow-origin"), header("access-control-allow-headers"))
    };
    let preflight =
        [("access-control-request-method", "POST"), ("access-control-request-headers", "authorization, x-own")];
    let served = Served::start(&place, "");
    assert_eq!(ask(&served, "POST", site, &[]), (403, None, None));
    assert_eq!(ask(&served, "OPTIONS", site, &preflight), (403, None, None));
    drop(served);
    let mut served = Served::with_keys(&place, &format!("--origin {site} --origin http://localhost:5173"), Some("key"));
    served.key = Some("key");
    for site in [site, "http://localhost:5173"] {
        assert_eq!(ask(&served, "POST", site, &[]), (200, Some(site.to_owned()), None));
    }
    assert_eq!(ask(&served, "POST", "https://evil.example", &[]), (403, None, None));
    // A browser asks first, without the key.
    served.key = None;
    let (status, origin, headers) = ask(&served, "OPTIONS", site, &preflight);
    assert_eq!((status, origin.as_deref(), headers.as_deref()), (200, Some(site), Some("authorization, x-own")));
    assert_eq!(ask(&served, "OPTIONS", "https://evil.example", &preflight).1, None);
    assert_eq!(ask(&served, "POST", site, &[]).0, 401);
    for (arguments, says) in [
        ("--origin example.org", "--origin: \"example.org\" is no site"),
        ("--allow-fetch=https://example.org", "--allow-fetch: \"https://example.org\" is no host"),
    ] {
        place.run(&format!("serve run --port 0 {arguments}")).fails(2, says);
    }
}
