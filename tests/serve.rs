//! `fusemix serve`: embeddings, searches and changes of galleries over HTTP, in the forms of other servers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Place, floats, interrupt};
use crate::train::place;

/// A running server.
struct Served<'a> {
    place: &'a Place,
    child: Child,
    url: String,
    key: Option<&'static str>,
}

impl<'a> Served<'a> {
    /// `fusemix serve run` with these arguments at a free port.
    fn start(place: &'a Place, arguments: &str) -> Self {
        Self::with_keys(place, arguments, None)
    }

    fn with_keys(place: &'a Place, arguments: &str, key: Option<&'static str>) -> Self {
        let mut command = place.command(&format!("serve run --port 0 --json {arguments}"));
        command.stdout(Stdio::piped()).env("FUSEMIX_SERVE_KEYS", key.unwrap_or_default());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect("the server says where it is");
        Self { place, child, url: said["url"].as_str().unwrap().to_owned(), key }
    }

    /// The status and the answer.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        request = request.header("content-type", "application/json");
        let body = body.map_or_else(String::new, Value::to_string);
        let mut answer = agent.run(request.body(body).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(&body));
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// The error of a request that is refused with this status.
    fn refused(&self, status: u16, path: &str, body: Value) -> Value {
        let (got, answer) = self.ask("POST", path, Some(&body));
        assert_eq!(got, status, "{path}: {answer}");
        assert!(answer["error"]["message"].is_string(), "{answer}");
        answer["error"].clone()
    }

    /// An open connection, for what no client sends.
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn embedding(&self, tower: &str, text: &str) -> Vec<f64> {
        let answer = self.post("/v1/embeddings", json!({"model": format!("run/{tower}"), "input": text}));
        numbers(&answer["data"][0]["embedding"])
    }

    /// Ends it as Ctrl-C does; it must end well.
    fn end(mut self) {
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

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn close(one: &[f64], other: &[f64]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-5)
}

/// A trained place, with a gallery of the test pairs' right sides.
fn trained() -> Place {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    let rows = place.read("test.tsv");
    let rows = rows.lines().skip(1).enumerate().map(|(row, line)| format!("sku-{row}\t{line}\t{row}\n"));
    place.write("items.tsv", format!("sku\ta\tb\tprice\n{}", rows.collect::<String>()));
    place.json("gallery build run --tower right --data items.tsv --id sku --metadata price --out gallery");
    place
}

#[test]
fn embeddings_are_those_of_embed_in_every_form() {
    let place = trained();
    let served = Served::start(&place, "");
    place.write("texts.tsv", "a\nw1 v1\nw2 v3\n");
    place.json("embed run --tower left --data texts.tsv --column a --out rows.npy --without-hubness");
    let bytes = std::fs::read(place.path("rows.npy")).unwrap();
    let start = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let rows: Vec<f64> = floats(&bytes[start..]).into_iter().map(f64::from).collect();
    let (first, second) = rows.split_at(rows.len() / 2);

    let openai = served.post("/v1/embeddings", json!({"model": "run/left", "input": ["w1 v1", "w2 v3"]}));
    assert_eq!((&openai["object"], &openai["data"][1]["index"]), (&json!("list"), &json!(1)));
    assert!(close(&numbers(&openai["data"][0]["embedding"]), first));
    assert!(close(&numbers(&openai["data"][1]["embedding"]), second));
    let packed = json!({"model": "run/left", "input": "w1 v1", "encoding_format": "base64"});
    let packed = served.post("/v1/embeddings", packed)["data"][0]["embedding"].as_str().unwrap().to_owned();
    let packed: Vec<f64> = floats(&STANDARD.decode(packed).unwrap()).into_iter().map(f64::from).collect();
    assert!(close(&packed, first));
    for body in [
        json!({"model": "left", "input": [{"text": "w1 v1"}]}),
        json!({"model": "run/left", "input": "w1 v1", "modality": "text", "user": "somebody"}),
        json!({"model": "run/left", "messages": [{"role": "user", "content": "w1 v1"}]}),
        json!({"model": "run/left", "messages": [{"role": "user", "content": [{"type": "text", "text": "w1 v1"}]}]}),
    ] {
        assert!(close(&numbers(&served.post("/v1/embeddings", body)["data"][0]["embedding"]), first));
    }
    let cohere = json!({"model": "run/left", "texts": ["w2 v3"], "input_type": "search_query",
                        "embedding_types": ["float", "base64"]});
    let cohere = served.post("/v2/embed", cohere);
    assert!(close(&numbers(&cohere["embeddings"]["float"][0]), second));
    assert!(cohere["embeddings"]["base64"][0].is_string());
    served.end();
}

#[test]
fn mistakes_are_told_in_openais_form_and_a_bad_item_by_its_place() {
    let place = trained();
    let served = Served::start(&place, "--max-items 3 --max-body 1");
    for (status, body, param, says) in [
        (400, json!({"model": "run/left"}), json!("input"), "`input` is missing"),
        (400, json!({"model": "run/left", "input": []}), json!("input"), "has no items"),
        (400, json!({"model": "run/left", "input": ["w1", " "]}), json!("input[1]"), "empty text"),
        (400, json!({"model": "run/left", "input": ["w1", ""]}), json!("input[1]"), "is empty"),
        (400, json!({"model": "run/left", "input": [[1, 2]]}), json!("input[0]"), "send the text itself"),
        (400, json!({"model": "run/left", "input": "w1", "dimensions": 3}), json!("dimensions"), "does not order"),
        (400, json!({"model": "run/left", "input": "w1", "dimensions": 0}), json!("dimensions"), "1 to 32"),
        (400, json!({"input": "w1"}), json!("model"), "several towers take items of modality text"),
        (400, json!({"input": {"image": "AAAA"}}), json!("input"), "no tower of this run takes items of modality image"),
        (404, json!({"model": "text-embedding-3-small", "input": "w1"}), json!("model"), "no model"),
        (413, json!({"model": "run/left", "input": ["a", "b", "c", "d"]}), json!("input"), "4 items"),
        (413, json!({"model": "run/left", "input": "w".repeat(2 << 20)}), json!(null), "larger than 1"),
        (400, json!({"model": 3, "input": "w1"}), json!("model"), "`model`: invalid type"),
    ] {
        let error = served.refused(status, "/v1/embeddings", body.clone());
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(error["param"], param, "{error}");
    }
    let (status, answer) = served.ask("GET", "/v1/embeddings", None);
    assert_eq!((status, answer["error"]["code"].as_str()), (405, Some("method_not_allowed")));
    assert_eq!(served.ask("GET", "/nothing", None).0, 404);
    // The server is as good as before.
    assert_eq!(served.embedding("left", "w1 v1").len(), 32);
}

#[test]
fn searches_find_what_the_program_finds() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    let cli = place.json("search run --from left --gallery gallery -k 5 w3");
    let ids = |found: &Value| -> Vec<String> {
        found["found"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
    };
    let by_text = served.post("/search", json!({"text": "w3", "from": "left", "k": 5}))["results"][0].clone();
    assert_eq!(by_text["gallery"], "gallery");
    assert_eq!(ids(&by_text), ids(&cli));
    assert_eq!(by_text["found"][0]["score"], cli["found"][0]["score"]);
    assert_eq!(by_text["found"][0]["content"], Value::Null, "a text has no file");
    let vector = served.embedding("left", "w3");
    let by_vector = served.post("/search", json!({"vector": vector, "k": 5}))["results"][0].clone();
    assert_eq!(ids(&by_vector), ids(&cli));
    let cheap = json!({"text": "w3", "from": "left", "where": "price<10", "k": 40});
    assert_eq!(ids(&served.post("/search", cheap)["results"][0]).len(), 10);
    let like = served.post("/search", json!({"id": "sku-4", "gallery": "gallery", "k": 3}))["results"][0].clone();
    assert_eq!(ids(&like)[0], "sku-4");
    for (status, body, param, says) in [
        (400, json!({}), json!(null), "one query"),
        (400, json!({"text": "a", "vector": [1.0]}), json!(null), "this has 2"),
        (400, json!({"vector": [1.0]}), json!("vector"), "1"),
        (400, json!({"text": "a", "from": "left", "k": 0}), json!("k"), "`k` is 1 to 1000"),
        (400, json!({"text": "a", "from": "left", "where": "price<"}), json!("where"), "price<"),
        (400, json!({"text": "a", "from": "left", "where": "colour = red"}), json!("where"), "colour"),
        (404, json!({"text": "a", "from": "left", "to": ["none"]}), json!("to"), "galleries: gallery"),
        (404, json!({"id": "none", "gallery": "gallery"}), json!("id"), "has no item with id"),
        (400, json!({"texte": "a"}), json!("texte"), "unknown field"),
    ] {
        let error = served.refused(status, "/search", body);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(error["param"], param, "{error}");
    }
}

#[test]
fn items_come_and_go_and_other_programs_may_write_too() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    let items = json!({"items": [
        {"id": "new", "text": "w19 v19", "metadata": {"price": 3.5}},
        {"id": "sku-1", "text": "w18 v18"},
    ]});
    assert_eq!(served.post("/items", items), json!({"new": 1, "replaced": 1}));
    let found = served.post("/search", json!({"text": "w19 v19", "from": "left", "k": 1}));
    assert_eq!(found["results"][0]["found"][0]["id"], "new");
    assert_eq!(found["results"][0]["found"][0]["metadata"], json!({"price": 3.5}));
    let (status, answer) = served.ask("DELETE", "/items/new", None);
    assert_eq!((status, &answer["removed"]), (200, &json!(1)), "{answer}");
    assert_eq!(served.ask("DELETE", "/items/new", None).0, 404);
    for (body, param, says) in [
        (json!({"items": [{"id": "a", "text": "w1"}, {"id": "a", "text": "w2"}]}), "items[1]", "stands twice"),
        (json!({"items": [{"id": "", "text": "w1"}]}), "items[0]", "is empty"),
        (json!({"items": [{"id": "a"}]}), "items[0]", "one of `text`"),
        (json!({"items": [{"id": "a", "text": "w1", "metadata": {"colour": 1}}]}), "items[0]", "no column `colour`"),
        (json!({"items": [{"id": "a", "text": "w1", "url": "/etc/passwd"}]}), "items[0]", "http"),
    ] {
        let error = served.refused(400, "/items", body);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(error["param"], param, "{error}");
    }
    // Once the server has not written for a while.
    place.write("more.tsv", "sku\tb\tprice\nlate\tw17 v17\t1\n");
    std::thread::sleep(Duration::from_secs(4));
    place.json("gallery add gallery --data more.tsv");
    let found = served.post("/search", json!({"text": "w17 v17", "from": "left", "k": 1}));
    assert_eq!(found["results"][0]["found"][0]["id"], "late");
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let place = trained();
    let mut served = Served::start(&place, "--gallery gallery");
    let url = served.url.clone();
    let answered = std::thread::scope(|scope| {
        let add = |worker: usize| {
            let url = &url;
            move || {
                let mut answered = Vec::new();
                for number in 0.. {
                    let id = format!("{worker}-{number}");
                    let body = json!({"items": [{"id": id, "text": format!("w{worker} v{}", number % 20)}]});
                    match ureq::post(format!("{url}/items")).send(body.to_string()) {
                        Ok(answer) if answer.status() == 200 => answered.push(id),
                        _ => return answered,
                    }
                }
                answered
            }
        };
        let workers: Vec<_> = (0..4).map(|worker| scope.spawn(add(worker))).collect();
        std::thread::sleep(Duration::from_millis(1500));
        served.child.kill().unwrap();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(answered.len() > 10, "{}", answered.len());
    let there = place.json("gallery list gallery");
    let there: std::collections::BTreeSet<&str> =
        there["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert!(answered.iter().all(|id| there.contains(id.as_str())));
}

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
    // What a page of another site sends, and one that made its name point here.
    let served = Served::start(&place, "");
    for (header, status) in [
        ("Host: evil.example", "403"),
        ("Host: localhost\r\nOrigin: https://evil.example", "403"),
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
fn the_server_tells_what_it_is_and_what_it_does() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    let info = served.get("/info");
    assert_eq!((&info["width"], &info["method"]), (&json!(32), &json!("fusemix")));
    assert_eq!((&info["galleries"][0]["items"], &info["galleries"][0]["tower"]), (&json!(40), &json!("right")));
    assert_eq!(info["towers"][0]["fingerprints"][0]["salt"], "one");
    assert_eq!(served.get("/v1/models")["data"][1]["id"], "run/left");
    assert_eq!(served.get("/ready")["status"], "ready");
    let figures = served.get("/run/figures");
    assert_eq!(figures["retrieval"][0]["candidates"], 40);
    assert!(figures["curves"]["loss"].as_array().unwrap().len() >= 60);
    let map = served.get("/galleries/gallery/map?color=price");
    assert_eq!((map["x"].as_array().unwrap().len(), map["color"].as_array().unwrap().len()), (40, 40));
    assert_eq!(served.ask("GET", "/galleries/gallery/map?color=none", None).0, 400);
    assert_eq!(served.ask("GET", "/galleries/none/map", None).0, 404);
    served.embedding("left", "w1");
    let metrics = served.get("/metrics").as_str().unwrap().to_owned();
    assert!(metrics.contains("fusemix_requests_total{path=\"/v1/embeddings\",status=\"200\"} 1"), "{metrics}");
    let document = served.get("/openapi.json");
    assert_eq!(document["openapi"].as_str().unwrap().split('.').next(), Some("3"));
    for path in ["/v1/embeddings", "/v2/embed", "/search", "/items", "/items/{id}", "/info", "/metrics"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn requests_that_come_together_are_encoded_together_and_too_many_are_refused() {
    let place = trained();
    let slow = place.read("plugins.toml").replace("salt = 'one'", "salt = 'one'\ndelay_ms = 300");
    place.write("plugins.toml", slow);
    let served = Served::start(&place, "--max-waiting 8");
    let outcomes = std::thread::scope(|scope| {
        let ask = |number: usize| {
            let served = &served;
            move || {
                let body = json!({"model": "run/left", "input": format!("w{number} v0")});
                served.ask("POST", "/v1/embeddings", Some(&body)).0
            }
        };
        let all: Vec<_> = (0..20).map(|number| scope.spawn(ask(number))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    let good = outcomes.iter().filter(|&&status| status == 200).count();
    assert!(outcomes.iter().all(|status| [200, 429].contains(status)), "{outcomes:?}");
    assert!((8..20).contains(&good), "{outcomes:?}");
    // Again, one at a time would take 0.3 s each.
    let begin = Instant::now();
    let body = json!({"model": "run/left", "input": ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"]});
    served.post("/v1/embeddings", body);
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_stop_finishes_what_is_under_way() {
    let place = trained();
    let slow = place.read("plugins.toml").replace("salt = 'one'", "salt = 'one'\ndelay_ms = 1000");
    place.write("plugins.toml", slow);
    let mut served = Served::start(&place, "");
    std::thread::scope(|scope| {
        let url = served.url.clone();
        let asked = scope.spawn(move || {
            let body = json!({"model": "run/left", "input": "w1 v1"});
            ureq::post(format!("{url}/v1/embeddings")).send(body.to_string()).unwrap().status()
        });
        std::thread::sleep(Duration::from_millis(400));
        interrupt(&served.child);
        assert_eq!(asked.join().unwrap(), 200);
        assert_eq!(served.child.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn hostile_requests_hurt_nobody_else() {
    let place = trained();
    let served = Served::start(&place, "--max-body 1");
    // Those that say much and send nothing, or end in the middle.
    let mut open: Vec<TcpStream> = (0..50).map(|_| served.connect()).collect();
    for (at, stream) in open.iter_mut().enumerate() {
        let start = ["", "POST /v1/emb", "POST /v1/embeddings HTTP/1.1\r\nContent-Length: 900000\r\n\r\n{\"inp"][at % 3];
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
