//! Encoders behind APIs that fail in every way: transient failures are retried, others reported, and nothing is lost or
//! paid twice.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use crate::api::{json, lines, place, run, stored_right, table};
use crate::server::{Fault, KEY, SAMPLE, Server, Wire};

/// Faults that disappear if the request is sent again, or in parts.
pub(crate) const PASSING: [Fault; 18] = [
    Fault::Limited,
    Fault::LimitedUntil,
    Fault::LimitedSomehow,
    Fault::Broken,
    Fault::Busy,
    Fault::Reset,
    Fault::Stalled,
    Fault::Cut,
    Fault::Html,
    Fault::Few,
    Fault::Shuffled,
    Fault::Twice,
    Fault::Narrow,
    Fault::NotANumber,
    Fault::Empty,
    Fault::TooLarge,
    Fault::Unprocessable,
    Fault::Huge,
];

#[test]
fn every_fault_passes_or_is_said() {
    crate::server::bomb();
    std::thread::scope(|scope| {
        for fault in PASSING {
            scope.spawn(move || {
                for (wire, first) in [(Wire::OpenAi, true), (Wire::Cohere, false)] {
                    // The fault is in the first or second answer, and in every fourth from there on; a narrow one
                    // occurs only once, since two at the beginning would pass for the encoder's width.
                    let period = if fault == Fault::Narrow { usize::MAX } else { 4 };
                    let server = Server::start(wire, Duration::ZERO, move |n| {
                        (n % period == usize::from(!first)).then_some(fault)
                    });
                    let place = place(&server, wire, "batch = 5\nencoding = 'float'\n");
                    place.write("data.tsv", table(40));
                    let ran = run(&place, "encode --data data.tsv --encoder api");
                    if ran.code == 17 && fault == Fault::Narrow {
                        // The very first answer was the narrow one.
                        ran.fails(
                            17,
                            "returned latents of 8 values at first, but only of 24 since; latents removed \
                             from the cache: 5;",
                        );
                    }
                    // Two bad answers in a row to one item are its own fault, as far as anybody can tell.
                    json(&place, "encode --data data.tsv --encoder api --retry-failed", 0);
                    stored_right(&place, &lines(&table(40)));
                    assert!(server.answered().values().all(|&times| times <= 2), "{fault:?}");
                }
            });
        }
    });
}

#[test]
fn what_was_sent_again_is_told() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |n| match n {
        2 => Some(Fault::Busy),
        5 => Some(Fault::Limited),
        _ => None,
    });
    let place = place(&server, Wire::OpenAi, "batch = 5\nconcurrency = 1\n");
    place.write("data.tsv", table(40));
    let usage = &json(&place, "encode --data data.tsv --encoder api", 0)["usage"];
    assert_eq!(["requests", "repeats"].map(|unit| usage[unit].as_f64()), [Some(10.0), Some(2.0)]);
}

#[test]
fn what_no_other_try_will_mend_stops_at_once_in_the_servers_own_words() {
    for (fault, words) in
        [(Fault::Unauthorized, "Incorrect API key provided: [key]"), (Fault::UsedUp, "You exceeded your quota")]
    {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| Some(fault));
        let place = place(&server, Wire::OpenAi, "batch = 5\n");
        place.write("data.tsv", table(100));
        let ran = run(&place, "encode --data data.tsv --encoder api -vvv");
        ran.fails(20, words);
        assert!(ran.stdout.contains("stopped by an error: the next run continues from here"), "{}", ran.stdout);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(KEY));
        // Those that were under way.
        assert!(server.requests().len() <= 8, "{}", server.requests().len());
    }
}

#[test]
fn an_item_at_fault_fails_alone() {
    let server = Server::faultless(Wire::Voyage);
    let place = place(&server, Wire::Voyage, "");
    let texts = table(60).replace("no. 7919\n", "poison\n") + "a second poison\n";
    place.write("data.tsv", &texts);
    let summary = json(&place, "encode --data data.tsv --encoder api", 4);
    assert_eq!((&summary["encoded"], &summary["failed"]), (&59.into(), &2.into()));
    assert_eq!(summary["failures"][0]["row"], 2);
    assert!(summary["failures"][0]["reason"].as_str().unwrap().contains("an input is not allowed"));
    let requests = server.requests().len();
    assert!(requests < 30, "{requests} requests");
    json(&place, "encode --data data.tsv --encoder api", 4);
    assert_eq!(server.requests().len(), requests, "what failed for good is not sent again");
}

#[test]
fn through_faults_and_kills_each_item_is_stored_once_and_never_asked_for_again() {
    // The same for all runs: 30 % of the requests.
    let script = move |n: usize| {
        let random = u64::from_le_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap());
        (random % 10 < 3).then(|| PASSING[(random / 10) as usize % PASSING.len()])
    };
    let server = Server::start(Wire::OpenAi, Duration::from_millis(2), script);
    let place = place(&server, Wire::OpenAi, "batch = 20\nretries = 12\nencoding = 'float'\n");
    let count = 5000;
    place.write("data.tsv", table(count));
    let mut stored = BTreeMap::new();
    for kill in 0..10 {
        let goal = server.requests().len() + 25;
        let mut command = place.command("encode --data data.tsv --encoder api");
        let mut running = command.env("TEST_KEY", KEY).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        while server.requests().len() < goal && running.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1 + kill % 3));
        }
        running.kill().unwrap();
        running.wait().unwrap();
        // What is stored now may not be asked for later.
        let known = json(&place, "encode --data data.tsv --encoder api --dry-run", 0)["cached"].as_u64().unwrap();
        stored.insert(server.requests().len(), known);
    }
    // An item that got bad answers each time that it was asked for fails, and is told: of a server that spoils a tenth
    // of its answers that is one in some thousand.
    let ran = run(&place, "encode --data data.tsv --encoder api --json");
    let failed = ran.json_code(ran.code)["failed"].as_u64().unwrap();
    assert!(failed <= 10, "{failed} failed");
    json(&place, "encode --data data.tsv --encoder api --retry-failed", 0);
    stored_right(&place, &lines(&table(count)));
    // After each kill, what was asked for is what was not stored then.
    let log = server.requests();
    for (requests, known) in stored {
        let later = log[requests..].iter().flat_map(|entry| &entry.inputs).filter(|input| *input != SAMPLE);
        let later: BTreeSet<&String> = later.collect();
        assert_eq!(later.len() as u64, count as u64 - known, "after request {requests}");
    }
}

#[test]
fn a_bad_vector_costs_the_others_of_its_answer_nothing() {
    for (wire, options) in [(Wire::OpenAi, "encoding = 'float'\n"), (Wire::OpenAi, ""), (Wire::Ollama, "")] {
        let server = Server::faultless(wire);
        let place = place(&server, wire, &format!("batch = 20\nbackoff = 0.01\n{options}"));
        place.write("data.tsv", table(60).replace("no. 7919\n", "hollow\n").replace("no. 5831\n", "hollow\n"));
        let summary = json(&place, "encode --data data.tsv --encoder api", 4);
        assert_eq!((&summary["encoded"], &summary["failed"]), (&58.into(), &2.into()));
        let reason = summary["failures"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("its vector has no finite value at position 3"), "{reason}");
        let mut asked = BTreeMap::new();
        server
            .requests()
            .into_iter()
            .flat_map(|entry| entry.inputs)
            .for_each(|input| *asked.entry(input).or_insert(0) += 1);
        assert!(
            asked.iter().all(|(input, &times)| times == if input.ends_with("hollow") { 3 } else { 1 }),
            "{asked:?}"
        );
        json(&place, "encode --data data.tsv --encoder api", 4);
        assert_eq!(server.requests().len(), 3 + 2 * 2, "once with the others, twice alone, and no more");
    }
}

#[test]
fn the_last_item_of_a_batch_costs_no_more_requests_than_the_first() {
    for row in [0, 63] {
        let server = Server::faultless(Wire::OpenAi);
        let place = place(&server, Wire::OpenAi, "batch = 64\nconcurrency = 1\nbackoff = 0.001\n");
        let texts = (0..64).map(|at| if at == row { "kryptonite\n".to_owned() } else { format!("stone {at}\n") });
        place.write("data.tsv", "text\n".to_owned() + &texts.collect::<String>());
        let summary = json(&place, "encode --data data.tsv --encoder api", 4);
        assert_eq!((&summary["encoded"], &summary["failed"]), (&63.into(), &1.into()));
        // Thrice whole; the first item alone; the rest, in each half with it and each without; five times alone.
        let requests = server.requests().len();
        assert!(requests <= 3 + 1 + 1 + 5 + 6 + 5, "row {row}: {requests}");
    }
}

#[test]
fn many_items_at_fault_in_a_row_do_not_end_a_run() {
    let server = Server::faultless(Wire::Cohere);
    let place = place(&server, Wire::Cohere, "batch = 20\nconcurrency = 1\n");
    let texts = (0..40).fold(table(20), |texts, row| texts + &format!("poison {row}\n")) + "a last one\n";
    place.write("data.tsv", texts);
    let summary = json(&place, "encode --data data.tsv --encoder api", 4);
    assert_eq!((&summary["encoded"], &summary["failed"]), (&21.into(), &40.into()));
}

#[test]
fn a_server_that_refuses_everything_is_soon_left_alone() {
    let never = Fault::Says(400, r#"{"error": {"message": "nothing is allowed"}}"#);
    for (fault, most, message) in [
        (Some(never), 60, "16 items in a row have failed, the last with: 400 Bad Request: nothing is allowed"),
        (Some(Fault::Few), 30, "4 items in a row have failed, the last with: wrong number of vectors: 0 instead of 1"),
        (Some(Fault::Broken), 20, "500 Internal Server Error: internal error"),
    ] {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| fault);
        let place = place(&server, Wire::OpenAi, "batch = 1\nconcurrency = 1\nbackoff = 0.001\nretries = 4\n");
        place.write("data.tsv", table(100));
        run(&place, "encode --data data.tsv --encoder api").fails(20, message);
        assert!(server.requests().len() <= most, "{fault:?}: {}", server.requests().len());
        let known = json(&place, "encode --data data.tsv --encoder api --dry-run", 0);
        assert_eq!((&known["cached"], &known["remembered"]), (&0.into(), &0.into()), "{fault:?}");
    }
}

#[test]
fn dimensions_that_the_model_does_not_know_are_named() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |_| Some(Fault::Narrow));
    let place = place(&server, Wire::OpenAi, "batch = 5\nconcurrency = 1\ndimensions = 24\nbackoff = 0.01\n");
    place.write("data.tsv", table(40));
    let ran = run(&place, "encode --data data.tsv --encoder api");
    ran.fails(3, "the vectors have 8 values, not the 24 of `dimensions`");
    assert_eq!(server.requests().len(), 1, "no other answer would be another");
}

#[test]
fn another_width_than_that_of_the_cache_stops_with_both_numbers() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |n| (n >= 2).then_some(Fault::Narrow));
    let place = place(&server, Wire::OpenAi, "batch = 5\nconcurrency = 1\nencoding = 'float'\n");
    place.write("data.tsv", table(40));
    let ran = run(&place, "encode --data data.tsv --encoder api");
    ran.fails(17, "encoder `api` returned latents of 8 values, not 24: its model is not the one that made the latents");
    assert_eq!(json(&place, "encode --data data.tsv --encoder api --dry-run", 0)["cached"], 10);
    assert!(server.requests().len() < 8, "{}", server.requests().len());
}

/// The most memory of a program that ends with `code`, in bytes.
#[cfg(target_os = "linux")]
fn peak(mut command: std::process::Command, code: i32) -> (u64, String) {
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", running.id());
    let mut most = 0;
    while running.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(2));
    }
    let ran = crate::common::Ran::from(running.wait_with_output().unwrap());
    assert_eq!(ran.code, code, "{}", ran.stderr);
    (most, ran.stderr)
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_without_end_takes_no_more_memory_than_a_good_one() {
    crate::server::bomb();
    let encode = |fault: Option<Fault>, code| {
        let server = Server::start(Wire::OpenAi, Duration::ZERO, move |_| fault);
        let place = place(&server, Wire::OpenAi, "batch = 16\nretries = 1\nencoding = 'float'\n");
        place.write("data.tsv", table(400));
        let mut command = place.command("encode --data data.tsv --encoder api");
        command.env("TEST_KEY", KEY);
        let (most, said) = peak(command, code);
        (most, said, server.requests().len())
    };
    let (good, ..) = encode(None, 0);
    for (fault, words) in
        [(Fault::Endless, "is longer than"), (Fault::EndlessWords, "400 Bad Request"), (Fault::Bomb, "is longer than")]
    {
        let (most, said, requests) = encode(Some(fault), 20);
        assert!(said.contains(words), "{fault:?}: {said}");
        assert!(most < good + (100 << 20), "{fault:?}: {most} bytes, but {good} for a good server");
        assert!(requests <= 160, "{fault:?}: {requests} requests");
    }
}

#[test]
fn a_usage_below_zero_buys_nothing() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |_| Some(Fault::Refund));
    let place = place(&server, Wire::OpenAi, "batch = 5\nconcurrency = 1\nprice_per_million_tokens = 1000000\n");
    place.write("data.tsv", table(100));
    let summary = json(&place, "encode --data data.tsv --encoder api --max-cost 100", 6);
    assert!(summary["cost"].as_f64().unwrap() > 50.0 && summary["encoded"].as_u64().unwrap() < 20, "{summary}");
}

#[test]
fn a_key_that_the_server_repeats_is_hidden_however_it_is_written() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |_| Some(Fault::Unauthorized));
    let place = place(&server, Wire::OpenAi, "");
    place.write("data.tsv", table(5));
    let ran = run(&place, "encode --data data.tsv --encoder api -vvv");
    ran.fails(20, "Incorrect API key provided: [key]");
    assert!(!ran.stderr.contains(KEY), "{}", ran.stderr);
    // A password in a URL that is none.
    place.write(
        "plugins.toml",
        "[[plugin]]\nname = 'api'\n[encoder.api]\nplugin = 'api'\nprovider = 'openai'\n\
        model = 'm'\nbase_url = 'user:hunter2@host/v1'\n",
    );
    let ran = run(&place, "encode --data data.tsv --encoder api");
    ran.fails(3, "`base_url` is not a URL");
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}
