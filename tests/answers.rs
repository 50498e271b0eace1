//! Answers in odd forms, which are read or refused by name, and items whose answers are bad: these are paid for once.

use std::time::Duration;

use crate::api::{json, lines, place, run, stored_right, table};
use crate::common::Place;
use crate::server::{Fault, KEY, Server, Wire};

const ENCODE: &str = "encode --data data.tsv --encoder api";

/// So many texts that end with this word.
fn ending(word: &str, count: usize) -> String {
    (0..count).map(|row| format!("text {row} {word}\n")).collect()
}

/// A place whose cache has the latents of 40 good texts, and whose table has these `bad` ones too.
fn after_good_ones(server: &Server, options: &str, bad: &str) -> Place {
    let place = place(server, Wire::OpenAi, &format!("batch = 8\nbackoff = 0.001\n{options}"));
    place.write("data.tsv", table(40));
    json(&place, ENCODE, 0);
    place.write("data.tsv", table(40) + bad);
    place
}

#[test]
fn odd_forms_of_right_answers_are_read() {
    for fault in
        [Fault::UrlSafe, Fault::Marked, Fault::Worded, Fault::From(1), Fault::From(-1), Fault::From(96), Fault::On]
    {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| Some(fault));
        let place = place(&server, Wire::OpenAi, "batch = 50\nprice_per_million_tokens = 1\n");
        place.write("data.tsv", table(200));
        let summary = json(&place, ENCODE, 0);
        assert_eq!((&summary["encoded"], server.requests().len()), (&200.into(), 4), "{fault:?}");
        assert!(summary["cost"].as_f64().unwrap() > 0.0, "what is not told was measured: {summary}");
        stored_right(&place, &lines(&table(200)));
    }
}

#[test]
fn what_is_no_base64_of_f32_stops_the_run_with_the_key_to_change() {
    for (fault, words, items) in [
        (Fault::NoBase64, "each vector is no base64", 50),
        (Fault::Hex, "each vector is in hexadecimal digits, not in base64", 50),
        (Fault::Doubles, "each vector has f64 values in base64", 50),
        (Fault::Halves, "each vector has f16 values in base64", 50),
        (Fault::BigEndian, "each vector has big-endian f32 values in base64", 50),
        // One of them once more, in numbers, whose width says it.
        (Fault::Bytes, "has 24 bytes in base64, but the same item has 24 values in numbers: one byte each", 51),
    ] {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| Some(fault));
        let place = place(&server, Wire::OpenAi, "batch = 50\n");
        place.write("data.tsv", table(200));
        let ran = run(&place, ENCODE);
        ran.fails(3, words);
        ran.fails(3, "`encoding = \"float\"` in plugins.toml asks for numbers instead");
        assert_eq!(server.requests().iter().map(|request| request.inputs.len()).sum::<usize>(), items, "{fault:?}");
        assert_eq!(json(&place, &format!("{ENCODE} --dry-run"), 0)["cached"], 0, "{fault:?}");
    }
}

/// Should one of several machines behind an address pack otherwise, its answers are asked for again.
#[test]
fn an_answer_of_other_numbers_among_good_ones_is_not_stored() {
    for fault in [Fault::Halves, Fault::Doubles, Fault::BigEndian, Fault::Hex] {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |n| (n % 3 == 1).then_some(fault));
        let place = place(&server, Wire::OpenAi, "batch = 10\nconcurrency = 1\n");
        place.write("data.tsv", table(40));
        assert_eq!(json(&place, ENCODE, 0)["encoded"], 40, "{fault:?}");
        stored_right(&place, &lines(&table(40)));
    }
}

#[test]
fn what_can_never_be_right_is_not_asked_for_again_and_again() {
    for (fault, words, most) in [
        (Fault::Many, "2 vectors for one item, where there must be one", 17),
        (Fault::Deflated, "is packed with deflate, which was not asked for", 8),
        (Fault::Reset, "the answer broke off 3 times", 24),
    ] {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| Some(fault));
        let place = place(&server, Wire::OpenAi, "batch = 8\n");
        place.write("data.tsv", table(200));
        run(&place, ENCODE).fails(20, words);
        let items: usize = server.requests().iter().map(|request| request.inputs.len()).sum();
        assert!(items <= most, "{fault:?}: {items}");
    }
}

/// Whether the first of a batch is left out, or the last of one that is counted from 1, a sample says.
#[test]
fn the_first_of_a_batch_that_is_left_out_costs_the_others_nothing() {
    let server = Server::faultless(Wire::OpenAi);
    let place = place(&server, Wire::OpenAi, "batch = 20\nconcurrency = 1\n");
    let mut texts = lines(&table(38));
    texts.insert(0, "one absent".to_owned());
    texts.insert(20, "another absent".to_owned());
    place.write("data.tsv", format!("text\n{}\n", texts.join("\n")));
    let summary = json(&place, ENCODE, 4);
    assert_eq!((&summary["encoded"], &summary["failed"]), (&38.into(), &2.into()));
    assert_eq!((&summary["failures"][0]["row"], &summary["failures"][1]["row"]), (&1.into(), &21.into()));
    // Two batches, a sample, and each of the two alone.
    let sent: Vec<usize> = server.requests().iter().map(|request| request.inputs.len()).collect();
    assert_eq!(sent, [20, 1, 1, 20, 1]);
    place.write("data.tsv", table(38));
    stored_right(&place, &lines(&table(38)));
}

#[test]
fn an_item_that_the_server_postpones_comes_when_it_says() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |n| (n == 0).then_some(Fault::Postponed));
    let place = place(&server, Wire::OpenAi, "batch = 20\nconcurrency = 1\n");
    place.write("data.tsv", table(18) + "one later\nanother later\n");
    let start = std::time::Instant::now();
    let summary = json(&place, ENCODE, 0);
    assert_eq!((&summary["encoded"], server.requests().len()), (&20.into(), 2), "both together: {summary}");
    assert!(start.elapsed() >= Duration::from_secs(1));
    stored_right(&place, &lines(&place.read("data.tsv")));
}

/// Batches of nothing but items of another width are not the end while others come right.
#[test]
fn items_of_another_width_than_the_cache_fail_by_name_while_others_come_right() {
    for concurrency in [1, 8] {
        let server = Server::faultless(Wire::OpenAi);
        let others = ending("narrow", 8) + &ending("fine", 16);
        let place = after_good_ones(&server, &format!("concurrency = {concurrency}\n"), &others);
        let summary = json(&place, ENCODE, 4);
        let counts = ["cached", "encoded", "failed", "passing"].map(|key| summary[key].as_u64().unwrap());
        assert_eq!(counts, [40, 16, 8, 0], "{summary}");
        let told = summary["failures"][0]["reason"].as_str().unwrap();
        assert!(told.contains(" has 8 values, but others have 24"), "{told}");
        assert_eq!(json(&place, ENCODE, 4)["remembered"], 8);
    }
    // Nothing shows whether these are to blame, or the model.
    let server = Server::faultless(Wire::OpenAi);
    let place = after_good_ones(&server, "concurrency = 1\n", &ending("narrow", 8));
    let summary = json(&place, ENCODE, 4);
    assert_eq!((&summary["failed"], &summary["passing"]), (&8.into(), &8.into()), "{summary}");
    place.write("data.tsv", table(40) + &ending("narrow", 40));
    run(&place, ENCODE).fails(17, "its model is not the one that made the latents in the cache");
}

/// Only bad items are left, and nothing has worked in this run: a sample shows that the server works.
#[test]
fn items_whose_answers_are_bad_are_paid_for_once() {
    for (word, options, reason) in [
        ("void", "", "its vector is null"),
        ("vacant", "", "its vector is null"),
        ("hollow", "encoding = 'float'\n", "its vector has no finite value at position 3"),
        ("absent", "", "200 OK, but with an error: a text was refused"),
        ("stated", "", "too long for the model"),
        ("poison", "", "400 Bad Request: an input is not allowed"),
    ] {
        for concurrency in [1, 8] {
            let server = Server::faultless(Wire::OpenAi);
            let options = format!("concurrency = {concurrency}\n{options}");
            let place = after_good_ones(&server, &options, &ending(word, 40));
            let summary = json(&place, ENCODE, 4);
            let counts = ["cached", "failed", "passing"].map(|key| summary[key].as_u64().unwrap());
            assert_eq!(counts, [40, 40, 0], "{word}: {summary}");
            let told = summary["failures"][39]["reason"].as_str().unwrap();
            assert!(told.starts_with(reason), "{word}: {told}");
            let requests = server.requests().len();
            assert_eq!(json(&place, ENCODE, 4)["remembered"], 40, "{word}");
            assert_eq!(server.requests().len(), requests, "{word}");
            json(&place, &format!("{ENCODE} --retry-failed"), 4);
            assert!(server.requests().len() > requests, "{word}");
        }
    }
}

/// A server that answers nothing well any more is to blame, and not the items.
#[test]
fn no_item_is_blamed_where_a_sample_fails_too() {
    let nulls = r#"{"data": [{"index": 0, "embedding": null}]}"#;
    for body in [nulls, r#"{"data": []}"#, r#"{"data": [], "errors": ["no room"]}"#] {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |n| (n >= 5).then_some(Fault::Says(200, body)));
        let place = after_good_ones(&server, "concurrency = 2\n", "");
        place.write("plugins.toml", place.read("plugins.toml").replace("batch = 8", "batch = 1"));
        place.write("data.tsv", table(140));
        let ran = run(&place, ENCODE);
        ran.fails(20, " items in a row have failed, the last with: ");
        assert!(server.requests().len() < 5 + 140, "{body}: {}", server.requests().len());
        let known = json(&place, &format!("{ENCODE} --dry-run"), 0);
        assert_eq!((&known["cached"], &known["remembered"]), (&40.into(), &0.into()), "{body}");
    }
}

#[test]
fn an_item_of_another_width_fails_alone() {
    let server = Server::faultless(Wire::OpenAi);
    let place = place(&server, Wire::OpenAi, "batch = 8\nbackoff = 0.001\n");
    place.write("data.tsv", table(40) + &ending("narrow", 3));
    let summary = json(&place, ENCODE, 4);
    assert_eq!((&summary["encoded"], &summary["failed"]), (&40.into(), &3.into()));
    assert_eq!(summary["failures"][0]["reason"], "its vector has 8 values, but others have 24");
    assert_eq!(json(&place, ENCODE, 4)["remembered"], 3);
}

#[test]
fn what_an_answer_says_of_one_item_costs_the_others_nothing() {
    for (word, reason, requests) in [
        ("stated", "too long for the model", 2),
        ("nameless", "too short for the model", 2),
        // Asked for once more, alone.
        ("absent", "200 OK, but with an error: a text was refused", 4),
    ] {
        let server = Server::faultless(Wire::OpenAi);
        let place = place(&server, Wire::OpenAi, "batch = 20\nconcurrency = 1\n");
        let mut texts = lines(&table(38));
        texts.insert(7, format!("one {word}"));
        texts.insert(30, format!("another {word}"));
        place.write("data.tsv", format!("text\n{}\n", texts.join("\n")));
        let summary = json(&place, ENCODE, 4);
        assert_eq!((&summary["encoded"], &summary["failed"]), (&38.into(), &2.into()), "{word}");
        assert_eq!((&summary["failures"][0]["row"], &summary["failures"][0]["reason"]), (&8.into(), &reason.into()));
        assert_eq!(server.requests().len(), requests, "{word}");
        assert_eq!(json(&place, ENCODE, 4)["remembered"], 2, "{word}");
        place.write("data.tsv", table(38));
        stored_right(&place, &lines(&table(38)));
    }
}

#[test]
fn errors_beside_no_data_are_told_in_the_servers_words() {
    for (body, words) in [
        (r#"{"data": [], "errors": [{"message": "the pool is empty"}]}"#, "the pool is empty"),
        (r#"{"data": [], "error": "the pool is empty, sk-test-c0ffee"}"#, "the pool is empty, [key]"),
        (r#"{"object": "list", "data": [], "detail": "no worker"}"#, "no worker"),
    ] {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| Some(Fault::Says(200, body)));
        let place = place(&server, Wire::OpenAi, "batch = 1\n");
        place.write("data.tsv", table(40));
        let ran = run(&place, ENCODE);
        ran.fails(20, words);
        assert!(!ran.stderr.contains(KEY), "{}", ran.stderr);
    }
}

#[test]
fn a_limit_to_the_inputs_is_learned_from_the_servers_words() {
    for (most, words) in
        [(5, "Maximum is 5 inputs"), (32, "batch size must be at most 32"), (50, "too many inputs, max 50")]
    {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| Some(Fault::AtMost(most, words)));
        let place = place(&server, Wire::OpenAi, "batch = 64\nconcurrency = 1\n");
        place.write("data.tsv", table(320));
        let ran = run(&place, &format!("{ENCODE} --json"));
        assert_eq!(ran.json_code(0)["encoded"], 320);
        assert!(ran.stderr.contains(&format!("`batch = {most}` saves such a request: 400 Bad Request: {words}")));
        assert_eq!(server.requests().len(), 1 + 5 * 64usize.div_ceil(most), "{words}");
        stored_right(&place, &lines(&table(320)));
    }
}

#[test]
fn a_model_that_the_server_does_not_have_ends_the_run_with_its_key() {
    for (status, body) in [
        (400, r#"{"error": {"message": "Unknown model: m", "code": 400}}"#),
        (404, r#"{"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}"#),
        (422, r#"{"detail": "model m not found"}"#),
        (200, r#"{"error": {"message": "no such model", "code": 404}}"#),
    ] {
        for batch in [1, 64] {
            let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| Some(Fault::Says(status, body)));
            let place = place(&server, Wire::OpenAi, &format!("batch = {batch}\n"));
            place.write("data.tsv", table(200));
            let ran = run(&place, ENCODE);
            ran.fails(3, "change `model` in plugins.toml");
            let line = place.read("plugins.toml").lines().position(|line| line.starts_with("model =")).unwrap() + 1;
            assert!(ran.stderr.contains(&format!("plugins.toml:{line}")), "{}", ran.stderr);
            assert!(server.requests().len() <= 2, "{status}: {}", server.requests().len());
        }
    }
}
