//! `fusemix gallery export`: what other software is given, and a server that is sent points.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use crate::common::{Place, Ran};
use crate::gallery::trained;
use crate::server::Request;
use crate::server::http::{answer, read};

/// The key that the server requires.
const KEY: &str = "qd-test-c0ffee";

/// A server that keeps points as Qdrant's REST interface has them.
struct Qdrant {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The parameters of the one collection, and its points by number.
    vectors: Option<Value>,
    points: BTreeMap<String, Value>,
    /// Points that came in.
    received: usize,
    /// Requests that write points, of which the second is answered with 503, and the third breaks off.
    writes: usize,
    /// The writes after which the server refuses all others.
    most_writes: usize,
}

impl Qdrant {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { most_writes: usize::MAX, ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, state) = (stream.unwrap(), shared.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(request) = read(&mut reader) {
                        if state.lock().unwrap().exchange(&request, &mut stream).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, state }
    }

    fn export(&self, place: &Place, key: &str, arguments: &str) -> Ran {
        let url = &self.address;
        let line = format!("gallery export gallery --to qdrant --url {url} --collection cats --json {arguments}");
        Ran::from(place.command(&line).env("QDRANT_API_KEY", key).output().unwrap())
    }
}

impl State {
    /// An `Err` ends the connection.
    fn exchange(&mut self, request: &Request, stream: &mut TcpStream) -> std::io::Result<()> {
        if request.headers.get("api-key").map(String::as_str) != Some(KEY) {
            return answer(stream, 403, "", b"Must provide an API key or an Authorization bearer token");
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let (status, result) = match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/collections/cats") => match &self.vectors {
                Some(vectors) => (200, json!({"config": {"params": {"vectors": vectors}}})),
                None => (404, Value::Null),
            },
            ("PUT", "/collections/cats") => {
                self.vectors = Some(body["vectors"].clone());
                (200, json!(true))
            }
            ("POST", "/collections/cats/points") => {
                let ids = body["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
                (200, ids.filter_map(|id| self.points.get(id)).cloned().collect())
            }
            ("PUT", "/collections/cats/points?wait=true") => {
                self.writes += 1;
                match self.writes {
                    2 => return answer(stream, 503, "retry-after: 0\r\n", b"busy"),
                    3 => return Err(std::io::ErrorKind::ConnectionReset.into()),
                    write if write > self.most_writes => {
                        let error = json!({"status": {"error": "Wrong input: the disk is full"}});
                        return answer(stream, 400, "", error.to_string().as_bytes());
                    }
                    _ => {}
                }
                let width = self.vectors.as_ref().unwrap()["size"].as_u64().unwrap() as usize;
                for point in body["points"].as_array().unwrap() {
                    assert_eq!(point["vector"].as_array().unwrap().len(), width);
                    self.points.insert(point["id"].as_str().unwrap().to_owned(), point.clone());
                    self.received += 1;
                }
                (200, json!({"operation_id": 0, "status": "completed"}))
            }
            other => panic!("{other:?} is no request that Qdrant knows"),
        };
        answer(stream, status, "", json!({"result": result, "status": "ok"}).to_string().as_bytes())
    }
}

/// The vector of each item by its id, as the JSON lines of an export have it.
fn vectors(place: &Place) -> BTreeMap<String, Value> {
    place.json("gallery export gallery --to jsonl --out out.jsonl");
    let lines = place.read("out.jsonl");
    let items = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    items.map(|item| (item["id"].as_str().unwrap().to_owned(), item["vector"].clone())).collect()
}

#[test]
fn qdrant_is_sent_what_it_lacks_and_no_more() {
    let (place, server) = (trained(), Qdrant::start());
    let items = place.json("gallery list gallery")["count"].as_u64().unwrap();
    let first = server.export(&place, KEY, "").json();
    assert_eq!((&first["items"], &first["unchanged"]), (&json!(items), &json!(0)));
    {
        let state = server.state.lock().unwrap();
        assert_eq!(state.vectors.as_ref().unwrap()["distance"], "Dot");
        let wanted = vectors(&place);
        assert_eq!(state.points.len(), wanted.len());
        for point in state.points.values() {
            let payload = &point["payload"];
            assert_eq!(point["vector"], wanted[payload["id"].as_str().unwrap()]);
            assert!(["even", "odd"].contains(&payload["kind"].as_str().unwrap()), "{payload}");
        }
    }
    // The second time there is nothing to send, and of a changed item only that one.
    let again = server.export(&place, KEY, "").json();
    assert_eq!((&again["items"], &again["unchanged"]), (&json!(0), &json!(items)));
    place.write("new.tsv", "sku\tb\tprice\tkind\nsku-3\tw1 w2\t9\tnew\n");
    place.json("gallery add run gallery --data new.tsv --column b --id sku");
    let changed = server.export(&place, KEY, "").json();
    assert_eq!((&changed["items"], &changed["unchanged"]), (&json!(1), &json!(items - 1)));
    assert_eq!(server.state.lock().unwrap().points.len() as u64, items);
}

#[test]
fn an_export_that_ends_early_goes_on_where_it_was() {
    let (place, server) = (trained(), Qdrant::start());
    let rows: String = (0..1500).map(|row| format!("more-{row}\tw{} w{}\t1\tmore\n", row % 7, row % 11)).collect();
    place.write("more.tsv", format!("sku\tb\tprice\tkind\n{rows}"));
    place.json("gallery add run gallery --data more.tsv --column b --id sku");
    server.state.lock().unwrap().most_writes = 5;
    let failed = server.export(&place, KEY, "");
    failed.fails(1, "Wrong input: the disk is full");
    let there = server.state.lock().unwrap().received;
    assert!(there >= 256, "{there}");
    server.state.lock().unwrap().most_writes = usize::MAX;
    let rest = server.export(&place, KEY, "").json();
    assert_eq!(rest["unchanged"], there);
    let state = server.state.lock().unwrap();
    assert_eq!(state.received, state.points.len(), "each point was stored once");
    assert_eq!(rest["items"].as_u64().unwrap() as usize + there, state.points.len());
}

#[test]
fn a_key_is_asked_for_by_its_name_and_shown_nowhere() {
    let (place, server) = (trained(), Qdrant::start());
    let refused = server.export(&place, "wrong-secret", "");
    refused.fails(1, "set QDRANT_API_KEY to a key that may write");
    assert!(!refused.stderr.contains("wrong-secret"));
    let line = "gallery export gallery --to qdrant --collection cats --url";
    place.run(&format!("{line} http://me:secret@localhost:1")).fails(1, "put it into the environment variable");
    let open = place.command(&format!("{line} http://db.example:6333")).env("QDRANT_API_KEY", KEY).output().unwrap();
    Ran::from(open).fails(1, "would go over an open line");
    place.run(&format!("{line} http://127.0.0.1:1")).fails(1, "no server listens there");
}

#[test]
fn options_go_with_their_forms() {
    let place = trained();
    let export = |arguments: &str| place.run(&format!("gallery export gallery {arguments}"));
    export("--to parquette --out a").fails(2, "did you mean `parquet`");
    export("--to parquet").fails(2, "name it with --out PATH");
    export("--to parquet --out a.csv").fails(2, "must end in .parquet");
    export("--to npy --out -").fails(2, "--out - goes with --to jsonl and pgvector");
    export("--to faiss --out a.index --table t").fails(2, "--table goes with --to pgvector");
    export("--to qdrant --out a").fails(2, "--out does not go with --to qdrant");
    export("--to qdrant").fails(2, "name it with --collection NAME");
    export("--to jsonl --out gallery/items.jsonl").fails(2, "lies in a gallery, whose files are its own");
    export("--to clip-retrieval --modality text --out gallery").fails(2, "lies in a gallery");
    export("--to clip-retrieval --out clip").fails(2, "tower `right` does not tell what its items are");
    export("--to parquet --out a.parquet --vector-column kind").fails(3, "a metadata column `kind` already");
}

#[test]
fn text_goes_through_a_pipe_and_files_are_whole_or_not_there() {
    let place = trained();
    let piped = place.command("gallery export gallery --to pgvector --out -").stdout(Stdio::piped()).output().unwrap();
    place.run("gallery export gallery --to pgvector --out items.sql");
    let sql = String::from_utf8(piped.stdout).unwrap();
    assert_eq!(sql, place.read("items.sql"));
    assert!(sql.starts_with("\\set ON_ERROR_STOP on") && sql.ends_with("COMMIT;\n"), "{sql}");
    for (form, out) in [("parquet", "a.parquet"), ("lancedb", "b.parquet"), ("npy", "c.npy"), ("faiss", "d.index")] {
        let told = place.json(&format!("gallery export gallery --to {form} --out {out} --where kind='even'"));
        assert_eq!(told["items"].as_u64().unwrap(), sql.matches("\teven\t").count() as u64, "{form}");
        assert!(std::fs::metadata(place.path(out)).unwrap().len() > 0);
    }
    assert_eq!(std::fs::read(place.path("a.parquet")).unwrap(), std::fs::read(place.path("b.parquet")).unwrap());
    place.json("gallery export gallery --to clip-retrieval --modality image --out clip");
    for file in ["img_emb/img_emb_0.npy", "metadata/metadata_0.parquet"] {
        assert!(place.path("clip").join(file).is_file(), "{file}");
    }
    assert!(!place.path("clip.exporting").exists());
    place
        .run("gallery export gallery --to clip-retrieval --modality image --out clip")
        .fails(3, "is not an empty folder");
}
