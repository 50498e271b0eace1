//! Servers that refuse a key, or answer in a form of their own: what is wrong is said at once, and hardly paid for.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::api::{json, lines, place, run, stored_right, table};
use crate::common::{Place, Ran, interrupt};
use crate::server::{Fault, KEY, Refuses, Server, Wire};

const ENCODE: &str = "encode --data data.tsv --encoder api";

/// A server with this fault in every answer, and a place with a table of 200 texts for it.
fn faulty(wire: Wire, fault: Fault, options: &str) -> (Server, Place) {
    let server = Server::start(wire, Duration::ZERO, move |_| Some(fault));
    let place = self::place(&server, wire, options);
    place.write("data.tsv", table(200));
    (server, place)
}

#[test]
fn an_index_that_says_nothing_costs_nothing() {
    for (fault, encoding) in
        [(Fault::NoZero, "float"), (Fault::NoZero, "base64"), (Fault::AllZero, "float"), (Fault::Shuffled, "none")]
    {
        let (server, place) = faulty(Wire::OpenAi, fault, &format!("batch = 50\nencoding = '{encoding}'\n"));
        let summary = json(&place, ENCODE, 0);
        assert_eq!((&summary["encoded"], server.requests().len()), (&200.into(), 4), "{fault:?}");
        stored_right(&place, &lines(&table(200)));
    }
}

/// Each item alone is right, so all are encoded; what is paid for nothing is hardly more than the first batch.
#[test]
fn a_server_that_answers_one_item_at_once_is_not_asked_for_more_again_and_again() {
    let (server, place) = faulty(Wire::OpenAi, Fault::First, "batch = 64\n");
    let ran = run(&place, &format!("{ENCODE} --json"));
    let summary = ran.json_code(0);
    assert_eq!(summary["encoded"], 200);
    let requests = server.requests();
    let wasted: usize = requests.iter().filter(|entry| !entry.answered).map(|entry| entry.inputs.len()).sum();
    assert_eq!(summary["usage"]["unusable"], wasted as f64);
    // The first batch twice, and two items thrice or so.
    assert!(wasted <= 2 * 64 + 8 * 2 && requests.len() <= 212, "{wasted} items, {} requests", requests.len());
    assert!(
        ran.stderr.contains("an answer for 64 items cannot be used, and may have to be paid for"),
        "{}",
        ran.stderr
    );
    assert!(server.answered().values().all(|&times| times == 1));
}

#[test]
fn what_is_no_vector_stops_the_run_with_its_name() {
    for (wire, fault, words) in [
        (Wire::OpenAi, Fault::Tokens, "each vector is a list of 3 vectors, one for each token: pooling is off"),
        (Wire::Cohere, Fault::Tokens, "pooling is off at the server; turn it on there"),
        (Wire::Tei, Fault::Nested, "each vector is a list of vectors with one in it"),
        (Wire::OpenAi, Fault::Says(200, r#"{"embeddings": [[0.1, 0.2]]}"#), "missing field `data`"),
        (
            Wire::OpenAi,
            Fault::Says(200, r#"{"data": [{"index": 0, "embedding": {"values": [0.1, 0.2]}}]}"#),
            "each vector is an object (`values`), not a list of numbers",
        ),
        (
            Wire::OpenAi,
            Fault::Says(200, r#"{"data": [{"index": 0, "embedding": ["0.1", "0.2"]}]}"#),
            "each vector has numbers that are written as text, such as \"0.1\"",
        ),
    ] {
        let (server, place) = faulty(wire, fault, "batch = 64\nencoding = 'float'\n");
        run(&place, ENCODE).fails(20, words);
        assert_eq!(server.requests().len(), 1, "{wire:?}, {fault:?}");
    }
}

#[test]
fn an_answer_that_spoils_late_is_soon_no_longer_asked_for() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |n| (n >= 2).then_some(Fault::Nested));
    let place = place(&server, Wire::OpenAi, "batch = 10\nconcurrency = 2\nbackoff = 0.001\n");
    place.write("data.tsv", table(1000));
    run(&place, ENCODE).fails(20, "answers in a row cannot be used, and");
    assert!(server.requests().len() <= 24, "{}", server.requests().len());
    assert_eq!(json(&place, &format!("{ENCODE} --dry-run"), 0)["cached"], 20);
}

#[test]
fn an_error_that_is_called_a_success_is_said_in_the_servers_words() {
    for (body, words) in [
        (r#"{"error": "model not loaded"}"#, "model not loaded"),
        (r#"{"error": {"message": "no such deployment", "type": "x"}}"#, "no such deployment"),
        (r#"{"error": {"message": "no such page", "code": 404}}"#, "no such page"),
        (r#"{"detail": [{"loc": ["body", "input"], "msg": "not a list"}]}"#, "input: not a list"),
        (r#"{"success": false, "errors": [{"code": 7003, "message": "no route"}]}"#, "no route"),
        (r#"{"base_resp": {"status_code": 1004, "status_msg": "login fail"}, "data": null}"#, "login fail"),
        (r#"{"error_code": 110, "error_msg": "Access token invalid"}"#, "Access token invalid"),
        (r#"{"error": {"message": "wrong key sk-test-c0ffee", "code": "401"}}"#, "wrong key [key]"),
    ] {
        let (server, place) = faulty(Wire::OpenAi, Fault::Says(200, body), "batch = 5\n");
        let ran = run(&place, ENCODE);
        ran.fails(20, words);
        assert!(ran.stderr.contains("200 OK, but with an error") && !ran.stderr.contains(KEY), "{}", ran.stderr);
        assert_eq!(server.requests().len(), 1, "{body}");
    }
    // What passes is sent again.
    for body in [
        r#"{"error": {"message": "slow down", "code": 429}}"#,
        r#"{"error": {"message": "no backend", "code": "503"}}"#,
        r#"{"error": "model is overloaded, try again"}"#,
        r#"{"code": "Throttling.RateQuota", "message": "requests are limited"}"#,
    ] {
        let server =
            Server::start(Wire::OpenAi, Duration::ZERO, move |n| (n % 3 == 0).then_some(Fault::Says(200, body)));
        let place = place(&server, Wire::OpenAi, "batch = 5\n");
        place.write("data.tsv", table(40));
        assert_eq!(json(&place, ENCODE, 0)["encoded"], 40, "{body}");
        assert!(server.answered().values().all(|&times| times == 1));
    }
}

#[test]
fn a_key_that_the_server_refuses_is_named() {
    let any = |key, status, words| Refuses { key, value: None, status, words };
    let base64 = |key, status| Refuses { key, value: Some("base64"), status, words: "internal error" };
    for (wire, options, refuses, key, words) in [
        // At any value.
        (
            Wire::OpenAi,
            "",
            vec![any("encoding_format", 422, "Extra inputs are not permitted")],
            "encoding",
            "the server refuses the key `encoding_format`: set `encoding = \"none\"`",
        ),
        (
            Wire::OpenAi,
            "",
            vec![any("encoding_format", 500, "internal error")],
            "encoding",
            "the server refuses the key `encoding_format`: set `encoding = \"none\"`",
        ),
        (
            Wire::Jina,
            "",
            vec![any("embedding_type", 400, "unknown key")],
            "encoding",
            "the server refuses the key `embedding_type`: set `encoding = \"none\"`",
        ),
        // Base64 only.
        (Wire::OpenAi, "", vec![base64("encoding_format", 400)], "encoding", "set `encoding = \"float\"`"),
        (Wire::OpenAi, "", vec![base64("encoding_format", 500)], "encoding", "set `encoding = \"float\"`"),
        (Wire::Jina, "", vec![base64("embedding_type", 500)], "encoding", "set `encoding = \"float\"`"),
        // Others.
        (
            Wire::OpenAi,
            "dimensions = 24\n",
            vec![any("dimensions", 400, "this model does not support matryoshka")],
            "dimensions",
            "the server refuses `dimensions`: remove it from plugins.toml",
        ),
        (
            Wire::Voyage,
            "dimensions = 24\nencoding = 'float'\n",
            vec![any("output_dimension", 500, "internal error")],
            "dimensions",
            "the server refuses `dimensions` (sent as `output_dimension`)",
        ),
        (
            Wire::Voyage,
            "input_type = 'document'\n",
            vec![any("input_type", 422, "no")],
            "input_type",
            "the server refuses `input_type`: remove it",
        ),
        (
            Wire::Gemini,
            "input_type = 'SEMANTIC'\n",
            vec![any("taskType", 400, "invalid")],
            "input_type",
            "the server refuses `input_type` (sent as `taskType`)",
        ),
        (
            Wire::OpenAi,
            "dimensions = 24\n",
            vec![any("dimensions", 400, "no"), any("encoding_format", 400, "no")],
            "encoding",
            "the server answers only without `encoding` (sent as `encoding_format`), `dimensions`",
        ),
    ] {
        for batch in [1, 64] {
            let server = Server::refusing(wire, refuses.clone());
            let place = place(&server, wire, &format!("batch = {batch}\n{options}"));
            place.write("data.tsv", table(200));
            let ran = run(&place, ENCODE);
            ran.fails(3, words);
            let said = refuses[0].words;
            assert!(
                ran.stderr.contains(&format!("{}", refuses[0].status)) && ran.stderr.contains(said),
                "{}",
                ran.stderr
            );
            let line = place.read("plugins.toml").lines().position(|line| line.starts_with(&format!("{key} =")));
            if let Some(line) = line {
                assert!(ran.stderr.contains(&format!("plugins.toml:{}", line + 1)), "{}", ran.stderr);
            }
            let requests = server.requests().len();
            assert!(requests <= 8, "{requests} requests: {wire:?} {refuses:?}");
        }
    }
    // As it proposes.
    let server = Server::refusing(Wire::OpenAi, vec![any("encoding_format", 422, "Extra inputs are not permitted")]);
    let place = place(&server, Wire::OpenAi, "encoding = 'none'\nbatch = 50\n");
    place.write("data.tsv", table(200));
    assert_eq!(json(&place, ENCODE, 0)["encoded"], 200);
    assert_eq!(server.requests().len(), 4);
}

/// A server that is not ready, or an item that it refuses, is no key that it refuses.
#[test]
fn no_key_is_blamed_for_what_is_not_its_fault() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |n| (n < 2).then_some(Fault::Broken));
    let place = self::place(&server, Wire::OpenAi, "batch = 1\nconcurrency = 1\n");
    place.write("data.tsv", table(5));
    assert_eq!(json(&place, ENCODE, 0)["encoded"], 5);
    let server = Server::faultless(Wire::OpenAi);
    let place = self::place(&server, Wire::OpenAi, "batch = 8\ndimensions = 24\n");
    place.write("data.tsv", "text\npoison\n".to_owned() + &lines(&table(20)).join("\n"));
    let summary = json(&place, ENCODE, 4);
    assert_eq!((&summary["encoded"], &summary["failed"]), (&20.into(), &1.into()));
}

#[test]
fn a_wait_says_what_the_server_says_and_whose_wish_it_is() {
    for (body, words) in [
        (r#"{"error": {"message": "no payment method: 3 requests a minute"}}"#, "s before trying again: 429"),
        (r#"{"detail": "slow down"}"#, "s before trying again: 429"),
        (
            r#"{"error": {"message": "Limit reached. Please try again in 20s."}}"#,
            "waiting 20.0 s as the server asks: 429",
        ),
    ] {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| Some(Fault::Says(429, body)));
        let place = place(&server, Wire::OpenAi, "batch = 5\nbackoff = 20\n");
        place.write("data.tsv", table(20));
        let mut command = place.command(ENCODE);
        let running = command.env("TEST_KEY", KEY).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while server.requests().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(30), "it never came");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(500));
        interrupt(&running);
        let ran = Ran::from(running.wait_with_output().unwrap());
        let said = body.split('"').rev().nth(1).unwrap();
        assert!(ran.stderr.contains(words) && ran.stderr.contains(said), "{words}: {}", ran.stderr);
        assert_eq!(ran.code, 130);
        assert_eq!(server.requests().len(), 1, "the others wait for the first");
    }
}

/// A server that is away for longer than the plugin asks it again: the items are tried again by the host.
#[test]
fn items_that_the_plugin_gives_up_are_tried_again_in_the_same_run() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |n| (3..9).contains(&n).then_some(Fault::Reset));
    let place = place(&server, Wire::OpenAi, "batch = 2\nconcurrency = 1\nretries = 1\n");
    place.write("data.tsv", table(20));
    let summary = json(&place, ENCODE, 0);
    assert_eq!((&summary["encoded"], &summary["failed"]), (&20.into(), &0.into()));
    stored_right(&place, &lines(&table(20)));
    assert!(server.answered().values().all(|&times| times == 1));
}

#[test]
fn a_server_that_starts_again_in_the_middle_of_a_run_costs_no_item() {
    let server = Server::start(Wire::OpenAi, Duration::from_millis(2), |_| None);
    let place = place(&server, Wire::OpenAi, "batch = 2\nconcurrency = 2\nretries = 0\n");
    place.write("data.tsv", table(400));
    let mut command = place.command(&format!("{ENCODE} --json"));
    let running = command.env("TEST_KEY", KEY).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while server.requests().len() < 10 {
        assert!(start.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::sleep(Duration::from_millis(1));
    }
    let address = server.address.clone();
    drop(server);
    std::thread::sleep(Duration::from_millis(1200));
    let server = Server::again(&address, Wire::OpenAi);
    let ran = Ran::from(running.wait_with_output().unwrap());
    let summary = ran.json_code(0);
    assert_eq!((&summary["encoded"], &summary["failed"]), (&400.into(), &0.into()));
    assert!(!server.requests().is_empty(), "it was over before");
    assert!(ran.stderr.contains("this may pass: such items are tried again for 60 s"), "{}", ran.stderr);
    stored_right(&place, &lines(&table(400)));
}
