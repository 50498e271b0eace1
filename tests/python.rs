//! The encoder in Python of the guide, over HTTP.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::common::{Place, floats, repository};

#[test]
fn an_encoder_in_python_answers_over_http() {
    let server = repository().join("examples/python-encoder/server.py");
    let mut server = Command::new("python3").arg(server).arg("0").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let guide = std::fs::read_to_string(repository().join("docs/guides/python-encoder.md")).unwrap();
    let plugins = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let place = Place::new(&plugins.replace("localhost:9000", &format!("127.0.0.1:{port}")));
    place.write("texts.tsv", "text\na red flower\nA red flower\nflowers are red\n");
    place.json("encode --data texts.tsv --encoder mine");
    place.json("cache export --data texts.tsv --encoder mine --out texts.npy");
    let bytes = std::fs::read(place.path("texts.npy")).unwrap();
    let rows = floats(&bytes[bytes.len() - 3 * 64 * 4..]);
    assert_eq!(rows[..64], rows[64..128]);
    assert_ne!(rows[..64], rows[128..]);
    assert_eq!(rows[..64].iter().sum::<f32>(), 10.0);
    // Files come as their content.
    place.write("plugins.toml", place.read("plugins.toml").replace("modality = \"text\" ", "modality = \"image\""));
    place.write("a.png", b"\x89PNG\r\n\x1a\n, as far as anybody looks");
    place.write("files.tsv", "file\na.png\n");
    assert_eq!(place.json("encode --data files.tsv --encoder mine --column file")["encoded"], 1);
    server.kill().unwrap();
    server.wait().unwrap();
}
