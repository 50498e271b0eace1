//! Items that fail for a passing reason: the host tries them again, whatever the plugin, and says so.

use serde_json::json;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Place, Ran, interrupt};
use crate::train;

/// A place with an encoder `mock`, with these keys of its own, and `table` in items.tsv.
fn place(plugin: &str, keys: &str, table: &str) -> Place {
    let place = Place::new(&format!(
        "[[plugin]]\nname = 'mock'\n{plugin}[encoder.mock]\nplugin = 'mock'\ncalls = 'calls'\n{keys}"
    ));
    place.write("items.tsv", table);
    place
}

/// So many texts, of which every tenth is flaky.
fn texts(count: usize) -> String {
    let text = |row: usize| format!("{} {row}\n", if row % 10 == 9 { "flaky" } else { "steady" });
    (0..count).fold("text\n".to_owned(), |table, row| table + &text(row))
}

/// The number of times that the plugin got a text.
fn tries(place: &Place, text: &str) -> usize {
    place.read("calls").lines().filter(|line| *line == text).count()
}

const ENCODE: &str = "encode --data items.tsv --encoder mock";

#[test]
fn an_item_whose_failure_passes_is_tried_again_in_the_same_run() {
    for plugin in ["", "isolated = true\n"] {
        for keys in ["flaky = 2\n", "flaky = 1\nretry_ms = 700\n", "flaky = 2\nconcurrency = 3\nbatch = 3\n"] {
            let place = place(plugin, keys, &(texts(50) + "flaky 9\n"));
            let ran = place.run(&format!("{ENCODE} --json"));
            let summary = ran.json_code(0);
            let counts = ["encoded", "duplicates", "failed", "passing"].map(|key| summary[key].as_u64().unwrap());
            assert_eq!(counts, [50, 1, 0, 0], "{summary}");
            let tried = if keys.contains("retry_ms") { 2 } else { 3 };
            assert_eq!([tries(&place, "flaky 9"), tries(&place, "steady 8")], [tried, 1], "{keys}");
            // The others went on meanwhile.
            let calls = place.read("calls");
            let last = |text: &str| calls.rfind(&format!("{text}\n")).unwrap();
            assert!(last("flaky 9") > last("steady 48"), "{keys}: {calls}");
            let said = "encoder `mock`: the server restarts; this may pass: such items are tried again for 60 s";
            assert_eq!(ran.stderr.matches(said).count(), 1, "{}", ran.stderr);
            place.run("cache verify").fails(0, "50 rows, all intact");
        }
    }
}

#[test]
fn what_does_not_pass_in_time_is_told_and_tried_again_by_the_next_run() {
    let keys = "flaky = 1000000\nretry_seconds = 4\n";
    let place = place("", keys, &texts(20));
    let ran = place.run(&format!("{ENCODE} --json"));
    let summary = ran.json_code(4);
    let counts = ["encoded", "failed", "passing", "remembered"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [18, 2, 2, 0], "{summary}");
    // At once, then after twice as long each time, and at the end: as often as a loaded machine comes to it.
    let first = tries(&place, "flaky 9");
    assert!((3..=5).contains(&first), "{first}");
    let failure = &summary["failures"][0];
    let reason = failure["reason"].as_str().unwrap();
    assert!(reason.starts_with(&format!("the server restarts (tried {first} times in ")), "{reason}");
    assert_eq!(*failure, json!({"row": 10, "item": "\"flaky 9\"", "reason": reason, "passing": true}));
    place.run(ENCODE).fails(4, "run this again for the 2 that failed for a passing reason");
    assert!((first + 3..=first + 5).contains(&tries(&place, "flaky 9")), "without --retry-failed");
    place.write("plugins.toml", place.read("plugins.toml").replace("flaky = 1000000", "flaky = 0"));
    assert_eq!(place.json(ENCODE)["encoded"], 2);

    // Never, if the user wants it so, or if the plugin asks for more time than that.
    for (keys, reason) in [
        ("flaky = 9\nretry_seconds = 0\n", "the server restarts"),
        (
            "flaky = 9\nretry_seconds = 5\nretry_ms = 60000\n",
            "the server restarts (not tried again: `retry_seconds` is shorter than the wait)",
        ),
    ] {
        let place = self::place("", keys, &texts(20));
        let summary = place.json_code(ENCODE, 4);
        assert_eq!((&summary["failures"][1]["reason"], tries(&place, "flaky 19")), (&json!(reason), 1));
    }
}

#[test]
fn a_plugin_with_which_nothing_works_ends_the_run_and_is_not_sent_everything() {
    let table = (0..200).fold("text\n".to_owned(), |table, row| table + &format!("flaky {row}\n"));
    let place = place("", "flaky = 1000000\nretry_seconds = 4\n", &table);
    let ran = place.run(&format!("{ENCODE} --json"));
    ran.fails(20, ": the server restarts; run this again later");
    let sent = (0..200).filter(|row| tries(&place, &format!("flaky {row}")) > 0).count();
    // Four calls wait, and two may be under way.
    assert!(sent <= 4 * 8 + 2 * 8, "{sent} of 200");
    assert_eq!(ran.json()["encoded"], 0);
    // Nobody is to blame for it the next time.
    place.write("plugins.toml", place.read("plugins.toml").replace("flaky = 1000000", "flaky = 1"));
    assert_eq!(place.json(ENCODE)["encoded"], 200);
}

#[test]
fn a_stop_ends_a_wait_at_once() {
    let place = place("", "flaky = 9\nretry_ms = 500000\nretry_seconds = 100000\n", &texts(20));
    let running = place.command(ENCODE).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while tries(&place, "flaky 19") == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    interrupt(&running);
    let ran = Ran::from(running.wait_with_output().unwrap());
    ran.fails(130, "stopped: run this again to continue");
    assert_eq!(place.json(&format!("{ENCODE} --dry-run"))["cached"], 18);
}

#[test]
fn a_query_is_tried_again_too() {
    let place = train::place();
    place.json("train fusion.toml --out run --device cpu");
    place.write("plugins.toml", place.read("plugins.toml").replace("salt = 'one'", "salt = 'one'\nflaky = 1"));
    let search = "search run --from left --to right --data test.tsv --column b --device cpu flaky";
    let found = place.json(search);
    assert!(!found["found"].as_array().unwrap().is_empty(), "{found}");
    assert_eq!(tries(&place, "flaky"), 2);
}

/// What a plugin sleeps through, nobody can cut short: the user is told what the program waits for.
#[test]
fn a_stop_that_waits_for_a_call_says_which() {
    for plugin in ["", "isolated = true\n"] {
        let place = place(plugin, "linger_ms = 2500\n", "text\none\n");
        let running = place.command(ENCODE).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while tries(&place, "one") == 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "it never came");
            std::thread::sleep(Duration::from_millis(5));
        }
        interrupt(&running);
        let ran = Ran::from(running.wait_with_output().unwrap());
        let said = "waiting for 1 call of encoder `mock` to end, so that the results are kept; a second Ctrl-C ends \
                    the program at once";
        assert!(ran.stderr.contains(said), "{plugin}: {}", ran.stderr);
        assert_eq!(place.json(ENCODE)["cached"], 1, "it was kept");
    }
}
