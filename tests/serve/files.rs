//! Pictures and sounds, in what a client sends and at the addresses that it names.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::OnceLock;
use std::thread;

use super::served::Served;
use super::{Files, close, copy, numbers};
use crate::common::Place;
use crate::train::{ENCODERS, RECIPE, table};

/// A trained place whose left tower takes pictures: files of words, to this encoder.
fn pictured() -> Place {
    static PICTURED: OnceLock<Files> = OnceLock::new();
    copy(&PICTURED, make)
}

fn make() -> Place {
    let place = Place::new(&ENCODERS.replace("salt = 'one'", "salt = 'one'\nmodality = 'image'"));
    place.write("fusion.toml", RECIPE);
    for (name, first, rows) in [("train", 0, 300), ("validation", 300, 40), ("test", 340, 40)] {
        let rows = table(first, rows);
        let mut out = "a\tb\n".to_owned();
        for (row, line) in rows.lines().skip(1).enumerate() {
            let words = line.split('\t').next().unwrap();
            place.write(&format!("pictures/{name}-{row}.png"), words);
            out += &format!("pictures/{name}-{row}.png\t{words}\n");
        }
        place.write(&format!("{name}.tsv"), out);
    }
    place.json("train fusion.toml --out run --device cpu");
    place.json("gallery build run --tower left --data test.tsv --column a --id b --out gallery");
    place
}

/// The embedding in an answer of `/v1/embeddings`.
fn embedded(answer: &Value) -> Vec<f64> {
    numbers(&answer["data"][0]["embedding"])
}

/// A server of files, at the address that is returned; it answers for as long as the tests run.
fn file_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let (status, body) = match head.split(' ').nth(1).unwrap_or_default() {
                "/a.png" => ("200 OK", b"w1 v1".to_vec()),
                "/large.png" => ("200 OK", vec![b'x'; 17 << 20]),
                "/moved.png" => ("302 Found\r\nLocation: http://169.254.169.254/latest", Vec::new()),
                _ => ("404 Not Found", Vec::new()),
            };
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(&body);
        }
    });
    address
}

#[test]
fn pictures_come_in_the_forms_that_clients_send() {
    let place = pictured();
    let served = Served::start(&place, "--gallery gallery");
    let uri = format!("data:image/png;base64,{}", STANDARD.encode("w1 v1"));
    let plain = embedded(&served.post("/v1/embeddings", json!({"input": [{"image": uri}]})));
    for body in [
        json!({"input": uri, "modality": "image", "model": "run"}),
        json!({"model": "run/left", "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": uri}},
        ]}]}),
    ] {
        assert!(close(&embedded(&served.post("/v1/embeddings", body)), &plain));
    }
    let cohere = served.post("/v2/embed", json!({"images": [uri], "input_type": "image"}));
    assert!(close(&numbers(&cohere["embeddings"]["float"][0]), &plain));
    let form = |name: &str, more: &str| {
        format!(
            "--limit\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\n\
             Content-Type: image/png\r\n\r\nw1 v1\r\n{more}--limit--\r\n"
        )
    };
    let multipart = [("content-type", "multipart/form-data; boundary=limit")];
    let mut answer = served.send("POST", "/v1/embeddings", &multipart, form("file", ""));
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert!(close(&embedded(&answer), &plain), "{answer}");
    let format = "--limit\r\nContent-Disposition: form-data; name=\"encoding_format\"\r\n\r\nint8\r\n";
    let mut answer = served.send("POST", "/v1/embeddings", &multipart, form("file", format));
    let error: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!((answer.status().as_u16(), &error["error"]["param"]), (400, &json!("encoding_format")), "{error}");
    // A form may be as large as any body.
    let large = format!("--limit\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\n{}\r\n", "x".repeat(3 << 20));
    let mut answer = served.send("POST", "/v1/embeddings", &multipart, form("file", &large));
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert!(close(&embedded(&answer), &plain), "{answer}");
    // A text in a form is read as in JSON.
    let field = |name: &str, value: &str| {
        format!("--limit\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let sent = |path: &str, fields: &[String]| -> (u16, Value) {
        let mut answer = served.send("POST", path, &multipart, fields.concat() + "--limit--\r\n");
        let answer_body = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer_body).unwrap())
    };
    for modality in ["", "image"] {
        let (status, answer) = sent("/v1/embeddings", &[field("input", &uri), field("modality", modality)]);
        assert!(status == 200 && close(&embedded(&answer), &plain), "{answer}");
    }
    for (path, fields, param, says) in [
        ("/v1/embeddings", [field("image", "w1"), field("model", "run")], "input", "(its fields: image, model)"),
        ("/v1/embeddings", [field("model", "run"), field("model", "run")], "model", "twice"),
        ("/v1/embeddings", [field("input", &uri), field("input", "data:image/png;base64,?")], "input[1]", "base64"),
        ("/search", [field("text", "w1"), field("text", "w2")], "text", "twice"),
        ("/search", [field("text", "w1"), field("vector", "1")], "vector", "no field `vector`"),
    ] {
        let (status, answer) = sent(path, &fields);
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{answer}");
    }
    // Texts and pictures in one request, each through its tower.
    let both = served.post("/v1/embeddings", json!({"input": [{"text": "w1 v1"}, {"image": uri}]}));
    assert!(close(&numbers(&both["data"][1]["embedding"]), &plain));
    let k = "--limit\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n3\r\n";
    let mut answer = served.send("POST", "/search", &multipart, form("image", k));
    let by_form: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(by_form, served.post("/search", json!({"image": uri, "k": 3})));
    assert_eq!(by_form["results"][0]["found"].as_array().unwrap().len(), 3);
    let content = by_form["results"][0]["found"][0]["content"].as_str().unwrap();
    assert_eq!(served.ask("GET", content, None).0, 404, "words are no picture that a page shows");
}

#[test]
fn items_that_came_without_a_file_are_left_out_of_a_migration() {
    // Where the gallery's paths are those of its files.
    let place = make();
    let served = Served::start(&place, "--gallery gallery");
    let uri = format!("data:image/png;base64,{}", STANDARD.encode("w1 v1"));
    let items = json!([{"id": "posted", "image": uri}, {"id": "away", "image": uri, "url": "https://a.example/a.png"}]);
    served.post("/items", json!({"items": items}));
    served.end();
    let ran = place.run("gallery migrate gallery run --tower left --out again");
    ran.fails(4, "gallery: 2 items left out that came without a text, or a file that is here, such as \"posted\"");
    assert_eq!(place.json("gallery verify again")["items"], 40);
}

#[test]
fn a_browser_asks_whether_a_picture_is_still_the_same() {
    let place = pictured();
    // One whose items are in this place.
    place.json("gallery build run --tower left --data test.tsv --column a --id b --out own");
    let served = Served::start(&place, "--gallery own");
    let uri = format!("data:image/png;base64,{}", STANDARD.encode("w1 v1"));
    let found = served.post("/search", json!({"image": uri, "k": 1}))["results"][0]["found"][0].clone();
    let (content, file) = (found["content"].as_str().unwrap(), found["item"].as_str().unwrap());
    let get = |known: Option<&str>| {
        let headers: Vec<(&str, &str)> = known.map(|tag| ("if-none-match", tag)).into_iter().collect();
        let mut answer = served.send("GET", content, &headers, "");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let (control, tag) = (header("cache-control"), header("etag"));
        assert_eq!(control, "private, no-cache");
        (answer.status().as_u16(), tag, answer.body_mut().read_to_vec().unwrap().len())
    };
    std::fs::write(file, b"\x89PNG\r\n\x1a\none").unwrap();
    let (status, tag, length) = get(None);
    assert_eq!((status, length), (200, 11));
    assert_eq!(get(Some(&tag)), (304, tag.clone(), 0));
    std::fs::write(file, b"\x89PNG\r\n\x1a\nanother").unwrap();
    let (status, other, length) = get(Some(&tag));
    assert_eq!((status, length), (200, 15));
    assert_ne!(other, tag);
}

#[test]
fn what_is_too_large_to_look_at_is_refused() {
    let place = pictured();
    let served = Served::start(&place, "--max-seconds 1");
    // A GIF of 65535 x 65535 pixels, and 2 s of silence.
    let bomb = [&b"GIF89a\xff\xff\xff\xff\0\0\0"[..], b"\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\0;"].concat();
    let mut wave = b"RIFF\xa4\x3e\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data".to_vec();
    wave.extend(16000u32.to_le_bytes());
    wave.resize(44 + 16000, 0x80);
    for (file, says) in [(bomb, "65535 x 65535 pixels"), (wave, "a sound of more than 1 s")] {
        let error = served.refused(413, "/v1/embeddings", json!({"input": [{"image": STANDARD.encode(file)}]}));
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(error["param"], "input[0]");
    }
}

#[test]
fn addresses_are_fetched_where_that_is_allowed() {
    let place = pictured();
    let files = file_server();
    let url = |name: &str| format!("{files}/{name}");
    let message = |served: &Served<'_>, status: u16, url: &str| {
        let error = served.refused(status, "/v1/embeddings", json!({"input": [{"text": "w1"}, {"image": url}]}));
        assert_eq!(error["param"], "input[1]", "{error}");
        error["message"].as_str().unwrap().to_owned()
    };
    let served = Served::start(&place, "");
    assert!(message(&served, 400, &url("a.png")).contains("--allow-fetch"));
    drop(served);
    let served = Served::start(&place, "--allow-fetch=example.org");
    assert!(message(&served, 400, &url("a.png")).contains("--allow-fetch=127.0.0.1"));
    drop(served);
    let served = Served::start(&place, "--allow-fetch");
    let port = files.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let said = message(&served, 400, &format!("http://{host}:{port}/a.png"));
        assert!(said.contains("--allow-fetch=private"), "{said}");
    }
    drop(served);

    let served = Served::start(&place, "--allow-fetch=private --gallery gallery");
    let uri = format!("data:image/png;base64,{}", STANDARD.encode("w1 v1"));
    let plain = embedded(&served.post("/v1/embeddings", json!({"input": [{"image": uri}]})));
    let fetched = served.post("/v1/embeddings", json!({"input": [{"image": url("a.png")}, {"image": url("a.png")}]}));
    assert!(close(&embedded(&fetched), &plain) && close(&numbers(&fetched["data"][1]["embedding"]), &plain));
    let said = message(&served, 400, &url("moved.png"));
    assert!(said.contains("http://169.254.169.254/latest") && said.contains("nothing is followed"), "{said}");
    assert!(message(&served, 400, &url("none.png")).contains("404"));
    assert!(message(&served, 413, &url("large.png")).contains("larger than"));
    assert!(message(&served, 400, "http://127.0.0.1:1/a.png").contains("cannot be fetched"));
    // What is fetched for a gallery is shown where it came from.
    served.post("/items", json!({"items": [{"id": "new", "image": url("a.png")}]}));
    let found = served.post("/search", json!({"id": "new", "gallery": "gallery", "k": 1, "where": "id = 'new'"}));
    assert_eq!(found["results"][0]["found"][0]["item"], url("a.png"), "{found}");
}
