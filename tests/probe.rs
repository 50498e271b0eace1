//! `fusemix probe`: encoders beside one another before many pairs are paid for.

use serde_json::Value;

use crate::sweep::{SWEEP, place};
use crate::train::table;

#[test]
fn a_probe_ranks_encoders_on_some_pairs() {
    let place = place();
    // An encoder that knows nothing of the others: each of its items is another word.
    place.write(
        "train.tsv",
        table(0, 400).lines().enumerate().fold(String::new(), |all, (row, line)| match row {
            0 => format!("{line}\tc\n"),
            row => format!("{all}{line}\titem number {row}\n"),
        }),
    );
    let sweep = SWEEP.replace("right = 'b'", "right = 'b'\n[[pairs]]\ntrain = 'train.tsv'\nleft = 'a'\nright = 'c'");
    place.write("sweep.toml", sweep.replace(", sample = [100, 200]", ""));
    let planned = place.json("probe sweep.toml --pairs 200 --dry-run");
    assert!(planned["columns"].as_array().unwrap().iter().all(|of| of["rows"] == 200), "{planned}");
    assert!(!place.path("calls").exists(), "nothing is sent");
    let probed = place.json("probe sweep.toml --pairs 200");
    let rows = probed["probed"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    let mean = |row: &Value| row["recall"]["mean"].as_f64().unwrap();
    // Words beside the same words come first, beside numbers last: near chance.
    let chance = rows[0]["chance"].as_f64().unwrap();
    assert!(mean(&rows[1]) > mean(&rows[2]) + 20.0, "{probed}");
    assert!(rows[2..].iter().all(|row| row["recall"]["low"].as_f64().unwrap() < chance + 10.0), "{probed}");
    let neighbours = |row: &Value| row["alignment"]["neighbours"]["mean"].as_f64().unwrap();
    assert!(neighbours(&rows[0]) > 2.0 * neighbours(&rows[3]), "{probed}");
    place.run("probe sweep.toml --pairs 200").fails(0, "left one (48), right two (40)");
    place.run("probe sweep.toml --pairs 20").fails(2, "20 is not in 60..=20000");
}

#[test]
fn a_probe_judges_all_encoders_on_the_pairs_that_they_share() {
    let place = place();
    place.write(
        "plugins.toml",
        place.read("plugins.toml") + "[encoder.picky]\nplugin = 'mock'\nsalt = 'one'\nwidth = 48\nrefuses = 'w3'\n",
    );
    place.write(
        "sweep.toml",
        SWEEP.replace("['one', 'three']", "['one', 'picky']").replace(", sample = [100, 200]", ""),
    );
    let probed = place.json_code("probe sweep.toml --pairs 200", 4);
    let rows = probed["probed"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{probed}");
    let lost = rows.iter().map(|row| row["left_out"].as_u64().unwrap()).max().unwrap();
    assert!(lost > 0 && rows.iter().all(|row| row["pairs"].as_u64().unwrap() == 200 - lost), "{probed}");
    // Of the same latents on the same pairs, nothing tells one from the other.
    assert_eq!(rows[0]["recall"], rows[1]["recall"]);
    assert_eq!((&rows[1]["apart"]["mean"], &rows[1]["among_best"]), (&serde_json::json!(0.0), &true.into()));
    let said = place.run("probe sweep.toml --pairs 200");
    said.fails(4, "not told apart from it: ");
    said.fails(4, "all are judged on the same ");
    // At the fewest pairs, others take the place of those that fail.
    let fewest = place.json_code("probe sweep.toml --pairs 60", 4);
    assert!(fewest["probed"][0]["pairs"].as_u64().unwrap() >= 60 && fewest["probed"][0]["recall"].is_object());
    // Of several limits, the largest is probed.
    let limits = place.read("sweep.toml").replace("file = 'train.tsv'", "file = 'train.tsv', limit = [50, 200]");
    place.write("limits.toml", limits.replace("'picky'", "'three'"));
    assert_eq!(place.json("probe limits.toml --pairs 150")["probed"][0]["pairs"], 150);
    // Too few are refused before anything is sent.
    place.write("few.toml", place.read("sweep.toml").replace("train.tsv", "few.tsv"));
    place.write("few.tsv", table(0, 40));
    std::fs::remove_file(place.path("calls")).unwrap();
    std::fs::remove_dir_all(place.path(".fusemix")).unwrap();
    place.run("probe few.toml --pairs 60").fails(3, "a probe needs at least 60 pairs of different items");
    assert!(!place.path("calls").exists(), "nothing is sent");
}

#[test]
fn a_probe_draws_pairs_and_not_items_with_all_their_captions() {
    let place = place();
    let lines: Vec<String> = table(0, 300).lines().skip(1).map(str::to_owned).collect();
    // Each item with five captions, as in COCO's list.
    let row = |line: &String| {
        let (left, right) = line.split_once('\t').unwrap();
        (0..5).map(|caption| format!("{left}\t{right} c{caption}\n")).collect::<String>()
    };
    place.write("train.tsv", format!("a\tb\n{}", lines.iter().map(row).collect::<String>()));
    place.write("sweep.toml", SWEEP.replace("['one', 'three']", "'one'").replace(", sample = [100, 200]", ""));
    let planned = place.json("probe sweep.toml --pairs 100 --dry-run");
    assert!(planned["columns"].as_array().unwrap().iter().all(|of| of["rows"] == 100), "{planned}");
    let probed = place.json("probe sweep.toml --pairs 100");
    assert_eq!(probed["probed"][0]["pairs"], 100);
    assert!(probed["probed"][0]["recall"].is_object());
}
