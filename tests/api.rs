//! Encoders behind APIs: every format, every fault, and nothing paid for twice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use safetensors::SafeTensors;
use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Place, Ran, floats, interrupt, repository};
use crate::server::{Fault, KEY, Server, WIDTH, Wire, vector};

/// A place with an encoder `api` behind `server`.
pub(crate) fn place(server: &Server, wire: Wire, options: &str) -> Place {
    let (provider, address, base) = (wire.provider(), &server.address, wire.base());
    let model = if wire == Wire::Gemini { "gemini-embedding-001" } else { "m" };
    let model = if matches!(wire, Wire::Tei | Wire::Own) { String::new() } else { format!("model = '{model}'\n") };
    let own = match wire {
        Wire::Azure => "api_version = '2024-10-21'\n",
        Wire::Infinity => "modality = 'image'\n",
        Wire::Cohere if !options.contains("input_type") => "input_type = 'search_document'\n",
        Wire::Own => {
            "path = '/vectors'\nkey_header = 'x-key'\nvectors = '/result/items/*/v'\ntokens = '/used'\n\
             body = { engine = 'x', documents = '{inputs}' }\n"
        }
        _ => "",
    };
    let backoff = if options.contains("backoff") { "" } else { "backoff = 0.01\n" };
    Place::new(&format!(
        "[[plugin]]\nname = 'api'\n[encoder.api]\nplugin = 'api'\nprovider = '{provider}'\n\
         base_url = '{address}{base}'\n\
         api_key_env = 'TEST_KEY'\nrequest_timeout = 1\n{backoff}{model}{own}{options}"
    ))
}

/// `count` different texts.
pub(crate) fn table(count: usize) -> String {
    (0..count).fold("text\n".to_owned(), |mut table, row| {
        writeln!(table, "caption \"{row}\" of something, no. {}", row * 7919 % 10_007).unwrap();
        table
    })
}

pub(crate) fn lines(table: &str) -> Vec<String> {
    table.lines().skip(1).map(str::to_owned).collect()
}

pub(crate) fn run(place: &Place, arguments: &str) -> Ran {
    Ran::from(place.command(arguments).env("TEST_KEY", KEY).output().unwrap())
}

/// Runs the program, which must exit with `code`, and parses the JSON that it prints.
pub(crate) fn json(place: &Place, arguments: &str, code: i32) -> serde_json::Value {
    run(place, &format!("{arguments} --json")).json_code(code)
}

/// Checks the cache's content against the server's expected answers.
pub(crate) fn stored_right(place: &Place, texts: &[String]) {
    json(place, "cache export --data data.tsv --encoder api --out out.safetensors", 0);
    let bytes = std::fs::read(place.path("out.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, tensor) = tensors.iter().next().unwrap();
    assert_eq!(tensor.shape(), [texts.len(), WIDTH]);
    let rows = tensor.data().chunks_exact(4 * WIDTH);
    for (text, row) in texts.iter().zip(rows) {
        assert_eq!(floats(row), vector(text), "the vector of {text:?}");
    }
}

#[test]
fn every_format_is_spoken_to_the_letter() {
    let wires = [
        Wire::OpenAi,
        Wire::Azure,
        Wire::Cohere,
        Wire::Voyage,
        Wire::Jina,
        Wire::Gemini,
        Wire::Tei,
        Wire::Ollama,
        Wire::Own,
    ];
    for wire in wires {
        for options in ["", "encoding = 'float'\nbatch = 7\ndimensions = 24\n"] {
            if wire == Wire::Tei && !options.is_empty() || wire == Wire::Own && !options.is_empty() {
                continue;
            }
            let server = Server::faultless(wire);
            let place = place(&server, wire, options);
            let text = table(40) + &table(3);
            place.write("data.tsv", text.replace("text\ncaption", "caption").replacen("caption", "text\ncaption", 1));
            let texts = lines(&place.read("data.tsv"));
            let summary = json(&place, "encode --data data.tsv --encoder api", 0);
            assert_eq!((&summary["encoded"], &summary["duplicates"]), (&40.into(), &3.into()), "{wire:?}");
            stored_right(&place, &texts);
            let requests = server.requests().len();
            assert_eq!(summary["usage"]["requests"], requests as f64, "{wire:?}");
            assert!(server.answered().values().all(|&times| times == 1), "{wire:?}");
            if !matches!(wire, Wire::Gemini | Wire::Tei) {
                let tokens: usize = server.answered().keys().map(|input| input.len().div_ceil(4)).sum();
                assert_eq!(summary["usage"]["tokens"], tokens as f64, "{wire:?}");
            }
            assert_eq!(json(&place, "encode --data data.tsv --encoder api", 0)["cached"], 43);
            assert_eq!(server.requests().len(), requests, "a second run asks for nothing");
        }
    }
}

#[test]
fn images_go_to_those_who_take_them() {
    let images =
        ["gradient", "disc", "checkers"].map(|name| (name, repository().join(format!("sdk/samples/{name}.png"))));
    for (wire, options) in [
        (Wire::Infinity, ""),
        (Wire::Cohere, "modality = 'image'\ninput_type = 'image'\n"),
        (Wire::VoyageMultimodal, "modality = 'image'\n"),
        (Wire::Jina, "modality = 'image'\n"),
    ] {
        let server = Server::faultless(wire);
        let place = place(&server, wire, options);
        let mut table = "file\n".to_owned();
        for (name, path) in &images {
            std::fs::copy(path, place.path(&format!("{name}.png"))).unwrap();
            writeln!(table, "{name}.png").unwrap();
        }
        place.write("broken.png", "no picture");
        place.write("data.tsv", table.clone() + "broken.png\n");
        let summary = json(&place, "encode --data data.tsv --encoder api", 4);
        assert_eq!((&summary["encoded"], &summary["failures"][0]["row"]), (&3.into(), &4.into()), "{wire:?}");
        place.write("data.tsv", table);
        stored_right(&place, &images.each_ref().map(|(_, path)| STANDARD.encode(std::fs::read(path).unwrap())));
    }
}

/// A recipe of two towers over the captions of `train.tsv`, and what a search finds, with both encoders behind APIs.
#[test]
fn both_towers_may_be_behind_apis() {
    let (one, two) = (Server::faultless(Wire::OpenAi), Server::faultless(Wire::Cohere));
    let place = place(&one, Wire::OpenAi, "");
    let second = self::place(&two, Wire::Cohere, "").read("plugins.toml");
    let second = second.split_once("[encoder.api]").unwrap().1.to_owned();
    place.write("plugins.toml", place.read("plugins.toml") + "[encoder.other]" + &second);
    let rows = |range: std::ops::Range<usize>| {
        range.fold("left\tright\n".to_owned(), |mut table, row| {
            writeln!(table, "a picture of {row}\tthe caption of {row}").unwrap();
            table
        })
    };
    place.write("train.tsv", rows(0..200));
    place.write("test.tsv", rows(0..50));
    place.write(
        "fusion.toml",
        "[tower.left]\nencoder = 'api'\n[tower.right]\nencoder = 'other'\n[[pairs]]\ntrain = 'train.tsv'\n\
         test = 'test.tsv'\nleft = 'left'\nright = 'right'\n[train]\nepochs = 60\nwidth = 32\n\
         dropout = 0.0\nlr = 0.003\n",
    );
    json(&place, "train fusion.toml --out run --device cpu", 0);
    let found = json(&place, "eval run --device cpu", 0);
    // These pairs were trained on: whatever the vectors are, adapters learn some of them by heart; chance is 2.
    assert!(found["retrieval"][0]["recall"]["1"].as_f64().unwrap() > 8.0, "{found}");
    let before = one.requests().len();
    for _ in 0..2 {
        let query = place
            .command("search run --from left --to right --data test.tsv --json --device cpu --cache-queries")
            .arg("a picture of 300")
            .env("TEST_KEY", KEY)
            .output()
            .unwrap();
        assert!(query.status.success(), "{}", String::from_utf8_lossy(&query.stderr));
    }
    assert_eq!(one.requests().len(), before + 1, "the query is in the cache the second time");
    assert!(one.answered().values().chain(two.answered().values()).all(|&times| times == 1));
}

#[test]
fn a_text_api_pairs_with_a_local_encoder() {
    let server = Server::faultless(Wire::Voyage);
    let place = place(&server, Wire::Voyage, "");
    let toml = place.read("plugins.toml") + "[[plugin]]\nname = 'mock'\n[encoder.local]\nplugin = 'mock'\nwidth = 40\n";
    place.write("plugins.toml", toml);
    let rows = (0..100).map(|row| format!("word{row} of{}\tcaption {row}\n", row % 7)).collect::<String>();
    place.write("train.tsv", format!("local\tremote\n{rows}"));
    place.write(
        "fusion.toml",
        "[tower.local]\nencoder = 'local'\n[tower.remote]\nencoder = 'api'\n[[pairs]]\ntrain = 'train.tsv'\n\
         test = 'train.tsv'\nlocal = 'local'\nremote = 'remote'\n[train]\nepochs = 60\nwidth = 32\n\
         dropout = 0.0\nlr = 0.003\n",
    );
    json(&place, "train fusion.toml --out run --device cpu", 0);
    let found = json(&place, "eval run --device cpu", 0);
    // Trained on; chance is 1.
    assert!(found["retrieval"][0]["recall"]["1"].as_f64().unwrap() > 10.0, "{found}");
}

#[test]
fn a_limit_to_the_rate_is_kept() {
    let server = Server::faultless(Wire::OpenAi);
    let place = place(&server, Wire::OpenAi, "batch = 1\nrequests_per_minute = 1200\n");
    place.write("data.tsv", table(60));
    json(&place, "encode --data data.tsv --encoder api", 0);
    let times: Vec<Instant> = server.requests().into_iter().map(|entry| entry.at).collect();
    let first = *times.iter().min().unwrap();
    // 20 a second: in any second no more than that, give or take the one at its edge.
    for window in (0..30).map(|tenth| first + Duration::from_millis(100 * tenth)) {
        let within = times.iter().filter(|&&at| at >= window && at < window + Duration::from_secs(1)).count();
        assert!(within <= 21, "{within} requests in a second");
    }
}

#[test]
fn two_processes_never_ask_for_the_same() {
    let server = Server::start(Wire::OpenAi, Duration::from_millis(30), |_| None);
    let place = place(&server, Wire::OpenAi, "batch = 5\nconcurrency = 1\n");
    place.write("data.tsv", table(1000));
    let start = || {
        let mut command = place.command("encode --data data.tsv --encoder api");
        command.env("TEST_KEY", KEY).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let ended = [start(), start()].map(|running| running.wait_with_output().unwrap());
    let refused: Vec<&std::process::Output> = ended.iter().filter(|output| !output.status.success()).collect();
    assert_eq!(refused.len(), 1, "one waits two seconds, and the other takes longer");
    let said = String::from_utf8_lossy(&refused[0].stderr);
    assert!(said.contains("in use by another fusemix process"), "{said}");
    assert!(server.answered().values().all(|&times| times == 1));
}

#[test]
fn a_dry_run_prices_what_then_comes() {
    let server = Server::faultless(Wire::OpenAi);
    let options = "batch = 10\nprice_per_million_tokens = 1000\nrequests_per_minute = 6000\nconcurrency = 2\n";
    let place = place(&server, Wire::OpenAi, options);
    place.write("data.tsv", table(95) + &lines(&table(2)).join("\n"));
    let forecast = json(&place, "encode --data data.tsv --encoder api --dry-run", 0);
    assert!(server.requests().is_empty());
    let wanted = [("rows", 97), ("distinct", 95), ("cached", 0), ("items", 95), ("requests", 10)];
    for (key, count) in wanted {
        assert_eq!(forecast[key], count, "{forecast}");
    }
    let (tokens, cost) = (forecast["tokens"].as_f64().unwrap(), forecast["cost"].as_f64().unwrap());
    assert!((cost - tokens / 1000.0).abs() < 1e-9 && (forecast["seconds"].as_f64().unwrap() - 0.1).abs() < 1e-9);

    let summary = json(&place, "encode --data data.tsv --encoder api --max-items 15", 6);
    assert_eq!((&summary["encoded"], &summary["bounded"]), (&15.into(), &true.into()));
    let summary = json(&place, &format!("encode --data data.tsv --encoder api --max-cost {}", cost / 2.0), 6);
    let spent = summary["cost"].as_f64().unwrap();
    assert!(spent > cost / 4.0 && spent <= cost / 2.0, "{spent} of {cost}");
    let summary = json(&place, "encode --data data.tsv --encoder api --max-cost 1000 --max-items 1000", 0);
    let counts = ["encoded", "cached", "duplicates"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), 97, "{summary}");
    assert!(server.answered().values().all(|&times| times == 1));
    run(&place, "encode --data data.tsv --encoder api --max-cost=-1").fails(2, "not an amount of money");
}

#[test]
fn money_for_less_than_a_batch_sends_a_part_of_one() {
    let server = Server::faultless(Wire::OpenAi);
    let place = place(&server, Wire::OpenAi, "batch = 64\nprice_per_item = 0.01\n");
    place.write("data.tsv", table(95));
    let ended = |most| {
        let summary = json(&place, &format!("encode --data data.tsv --encoder api --max-cost {most}"), 6);
        ["encoded", "cached"].map(|key| summary[key].as_u64().unwrap())
    };
    assert_eq!([ended(0.305), ended(0.005), ended(0.645)], [[30, 0], [0, 30], [64, 30]]);
    run(&place, "encode --data data.tsv --encoder api --dry-run --max-cost 0.001")
        .fails(0, "--max-cost stops the run before all of them are sent");
}

#[test]
fn mistakes_are_named_before_anything_is_sent() {
    let server = Server::faultless(Wire::OpenAi);
    let cases = [
        (
            "provider = 'openai'",
            "provider = 'opnai'",
            3,
            "`provider` of encoder `api` cannot be `opnai`; did you mean `openai`?",
        ),
        ("TEST_KEY", "NO_SUCH_KEY", 3, "the environment variable NO_SUCH_KEY is not set"),
        ("model = 'm'\n", "", 3, "provider `openai` needs a `model`"),
        ("model = 'm'", "model = 'm'\ndimensions = 0", 3, "`dimensions = 0` must be at least 1"),
        ("model = 'm'", "model = 'm'\nmodality = 'smell'", 3, "provider `openai` takes text or image or audio"),
        ("http://127.0.0.1", "http://example.com", 3, "without TLS; use https, or set `allow_http = true`"),
        ("http://127", "ftp://127", 3, "is not a URL"),
        ("model = 'm'", "model = 'm'\nca_file = 'none.pem'", 3, "none.pem"),
        ("model = 'm'", "model = 'm'\ntokenizer = 'none.json'", 3, "none.json"),
        ("model = 'm'", "model = 'm'\nrequests_per_minute = 0", 3, "must be above 0"),
    ];
    for (right, wrong, code, message) in cases {
        let place = place(&server, Wire::OpenAi, "");
        let toml = place.read("plugins.toml");
        assert!(toml.contains(right), "{right}");
        place.write("plugins.toml", toml.replacen(right, wrong, 1));
        place.write("data.tsv", table(3));
        let ran = run(&place, "encode --data data.tsv --encoder api");
        ran.fails(code, message);
        assert!(!ran.stderr.contains(KEY));
    }
    assert!(server.requests().is_empty());
}

#[test]
fn what_is_cached_needs_no_key() {
    let server = Server::faultless(Wire::OpenAi);
    let place = place(&server, Wire::OpenAi, "");
    place.write("data.tsv", table(9));
    json(&place, "encode --data data.tsv --encoder api", 0);
    for arguments in ["encode --data data.tsv --encoder api --dry-run", "encode --data data.tsv --encoder api"] {
        let ran = place.run(&format!("{arguments} --json"));
        assert_eq!((ran.code, &ran.json()["cached"]), (0, &9.into()), "{}", ran.stderr);
    }
    place.write("data.tsv", table(10));
    place.run("encode --data data.tsv --encoder api").fails(3, "the environment variable TEST_KEY is not set");
    let toml = place.read("plugins.toml").replace("'TEST_KEY'", "'sk-this-is-the-key'");
    place.write("plugins.toml", toml);
    let ran = place.run("encode --data data.tsv --encoder api");
    ran.fails(3, "`api_key_env` must be the name of an environment variable");
    assert!(!ran.stderr.contains("sk-this"), "{}", ran.stderr);
}

#[test]
fn ctrl_c_ends_a_wait_at_once() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |n| (n >= 3).then_some(Fault::LimitedSomehow));
    let place = place(&server, Wire::OpenAi, "batch = 5\nbackoff = 50\nconcurrency = 2\n");
    place.write("data.tsv", table(100));
    let mut command = place.command("encode --data data.tsv --encoder api");
    let running = command.env("TEST_KEY", KEY).stderr(Stdio::piped()).spawn().unwrap();
    while server.requests().len() < 4 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let asked = Instant::now();
    interrupt(&running);
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(10), "the wait was for 25 s and more");
    let stored = json(&place, "encode --data data.tsv --encoder api --dry-run", 0)["cached"].as_u64().unwrap();
    assert!(stored >= 10, "{stored} of those that were answered are there");
}
