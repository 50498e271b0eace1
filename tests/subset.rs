//! Parts of the training pairs: by a score, by a run, and the most different ones.

use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write;

use crate::common::Place;
use crate::train::{ENCODERS, place, table};

const PAIRS: &str = "\
[tower.left]
encoder = 'one'
[tower.right]
encoder = 'two'
[[pairs]]
train = 'scored.tsv'
test = 'test.tsv'
left = 'a'
right = 'b'
";

/// Of each four rows, the first has its own words on both sides and a high score; the others have others' and a low
/// one.
fn scored() -> String {
    let good = table(0, 300);
    let rows: Vec<&str> = good.lines().skip(1).map(|row| row.split('\t').next().unwrap()).collect();
    let mut lines = "a\tb\tscore\n".to_owned();
    for (at, words) in rows.iter().enumerate() {
        match at % 4 {
            0 => writeln!(lines, "{words}\t{words}\t{}", 1000 - at),
            _ => writeln!(lines, "{words}\t{}\t{}", rows[(at * 7 + 31) % rows.len()], 300 - at),
        }
        .unwrap();
    }
    lines
}

fn mean(place: &Place, run: &str) -> f64 {
    place.json(&format!("eval {run}"))["mean"]["mean"].as_f64().unwrap()
}

#[test]
fn the_best_pairs_by_a_score_or_a_run_train_better_than_all() {
    let place = place();
    place.write("scored.tsv", scored());
    let recipe = |pairs: &str| format!("{PAIRS}{pairs}[fit]\nmethod = 'ridge'\n");
    let fit = |name: &str, pairs: &str| {
        place.write(&format!("{name}.toml"), recipe(pairs));
        place.run(&format!("train {name}.toml --out {name}")).fails(0, "");
        mean(&place, name)
    };
    let all = fit("all", "");
    let best = fit("best", "quality = 75\nquality_by = 'score'\n");
    assert!(best > all, "{best} {all}");
    let pairs =
        |name: &str| serde_json::from_str::<Value>(&place.read(&format!("{name}/run.json"))).unwrap()["pairs"].clone();
    assert_eq!((pairs("all"), pairs("best")), (300.into(), 75.into()));
    // A run that was fitted to good pairs finds the bad ones.
    let judged = fit("judged", "quality = 75\nquality_run = 'best'\n");
    assert!(judged > all, "{judged} {all}");
    // What the run was made with, it says.
    assert!(place.read("judged/recipe.toml").contains("quality_run = \"/"), "{}", place.read("judged/recipe.toml"));
    // More than there are is all.
    assert_eq!(fit("more", "quality = 9999\nquality_by = 'score'\n"), all);

    let mistakes = [
        ("quality = 10\n", "fusion.toml:10: `quality` needs what tells it: `quality_by`"),
        ("quality_by = 'score'\n", "fusion.toml:10: `quality_by` is for `quality = N`"),
        ("quality = 0\nquality_by = 'score'\n", "fusion.toml:10: `quality = 0` of [[pairs]] must be a number of pairs"),
        ("quality = 5\nquality_by = 'scor'\n", "no column `scor`; did you mean `score`?"),
        ("quality = 5\nquality_by = 'a'\n", "fusion.toml:11: scored.tsv: column `a` has no numbers, such as"),
        ("quality = 5\nquality_run = 'nowhere'\n", "fusion.toml:11: nowhere is no run: there is no such folder"),
        (
            "diversity = 5\ndiversity_by = 'lef'\n",
            "fusion.toml:11: this [[pairs]] has no tower `lef`; did you mean `left`?",
        ),
        ("diversity = 5\nquality = 5\nquality_by = 'score'\n", "remove one of them"),
    ];
    for (pairs, message) in mistakes {
        place.write("fusion.toml", recipe(pairs));
        place.run("train fusion.toml --out wrong").fails(3, message);
        place.run("train fusion.toml --out wrong --dry-run").fails(3, message);
    }
}

#[test]
fn the_most_different_pairs_have_few_items_twice() {
    let place = Place::new(ENCODERS);
    // Thirty pairs, of which the first is there three hundred times.
    let rows = table(0, 30);
    let first = rows.lines().nth(1).unwrap();
    place.write("scored.tsv", (0..300).fold(rows.clone(), |all, _| format!("{all}{first}\n")));
    place.write("test.tsv", table(340, 40));
    place.write("fusion.toml", format!("{PAIRS}diversity = 30\n[fit]\nmethod = 'ridge'\n"));
    place.run("train fusion.toml --out diverse").fails(0, "");
    place.write("fusion.toml", format!("{PAIRS}limit = 30\n[fit]\nmethod = 'ridge'\n"));
    place.run("train fusion.toml --out first").fails(0, "");
    let adapters = |run: &str| std::fs::read(place.path(run).join("adapters.safetensors")).unwrap();
    assert!(adapters("diverse") == adapters("first"), "each of the thirty once");

    // Its sizes are nested, and vary in a sweep.
    place
        .write("sweep.toml", format!("{PAIRS}diversity = [10, 20]\ndiversity_by = 'right'\n[fit]\nmethod = 'ridge'\n"));
    let swept = place.json("sweep sweep.toml --out swept");
    let names: Vec<&str> = swept["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["diversity 10", "diversity 20"]);
    // The pairs of each by content, as the runs keep them: all of the fewer are among the more.
    let pairs = |row: usize| -> HashSet<[u8; 8]> {
        let run = place.path(swept["rows"][row]["runs"][0]["run"].as_str().unwrap());
        let seen = std::fs::read(run.join("seen.safetensors")).unwrap();
        let seen = SafeTensors::deserialize(&seen).unwrap();
        seen.tensor("pair left right").unwrap().data().as_chunks::<8>().0.iter().copied().collect()
    };
    assert_eq!((pairs(0).len(), pairs(1).len()), (10, 20));
    assert!(pairs(0).is_subset(&pairs(1)), "the same ones are taken first");
}

#[test]
fn of_items_with_several_captions_pairs_are_counted() {
    let place = place();
    let rows = table(0, 60);
    let row = |(at, words): (usize, &str)| {
        let words = words.split('\t').next().unwrap();
        let texts: Vec<String> = (0..5).map(|number| format!("{words} n{number}")).collect();
        serde_json::json!({"a": words, "b": texts, "score": at}).to_string()
    };
    place.write("scored.jsonl", rows.lines().skip(1).enumerate().map(row).collect::<Vec<_>>().join("\n"));
    let scored = PAIRS.replace("scored.tsv", "scored.jsonl");
    for (keys, pairs, warning) in [
        ("quality = 75", 75, None),
        ("quality = 75\nsample = 60", 75, None),
        ("quality = 75\nsample = 61", 75, Some("`sample` asks for 61, and there are 60 rows")),
        ("quality = 301", 300, Some("`quality` asks for 301, and there are 300 rows")),
    ] {
        place.write("fusion.toml", format!("{scored}{keys}\nquality_by = 'score'\n[fit]\nmethod = 'ridge'\n"));
        let ran = place.run("train fusion.toml --out run --overwrite --json");
        assert_eq!(ran.json_code(0)["pairs"], pairs, "{keys}");
        assert_eq!(ran.stderr.contains("asks for"), warning.is_some(), "{keys}: {}", ran.stderr);
        assert!(ran.stderr.contains(warning.unwrap_or("")), "{keys}: {}", ran.stderr);
    }
}
