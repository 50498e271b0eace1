//! `fusemix sweep`: many fits, one table.

mod fits;

use serde_json::Value;
use std::path::Path;
use std::time::Duration;

use crate::common::{Place, copy_folder};
use crate::precomputed::precomputed;
use crate::train::{ENCODERS, table};

pub(crate) const SWEEP: &str = "\
seeds = 2
[tower.left]
encoder = ['one', 'three']
[tower.right]
encoder = 'two'
[[pairs]]
train = { file = 'train.tsv', sample = [100, 200] }
test = 'test.tsv'
left = 'a'
right = 'b'
[train]
epochs = 40
width = 32
";

pub(crate) fn place() -> Place {
    let place = Place::new(&format!(
        "{ENCODERS}[encoder.three]\nplugin = 'mock'\nsalt = 'three'\nwidth = 24\ncalls = 'calls'\n"
    ));
    place.write("sweep.toml", SWEEP);
    place.write("train.tsv", table(0, 300));
    place.write("test.tsv", table(340, 40));
    place
}

#[test]
fn a_sweep_is_what_its_trainings_are_by_hand() {
    let place = place();
    let planned = place.json("sweep sweep.toml --out swept --dry-run");
    assert_eq!([&planned["variations"], &planned["fits"], &planned["done"]], [4, 8, 0]);
    assert!(planned["seconds"].as_f64().unwrap() > 0.0);
    // Each encoder once for each of its columns: two of the left tower at two sizes, one of the right.
    let columns = planned["columns"].as_array().unwrap();
    assert_eq!(columns.len(), 9, "{planned}");
    // What a larger sample of the same seed holds is counted once.
    let sent = |rows: u64| {
        let of = columns.iter().filter(|of| of["rows"] == rows);
        of.map(|of| of["items"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert!(sent(100).iter().all(|items| *items == 0) && sent(200).iter().all(|items| *items > 0), "{planned}");
    assert!(!place.path("swept").exists());

    let swept = place.json("sweep sweep.toml --out swept");
    let rows = swept["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let runs = row["runs"].as_array().unwrap();
        let means: Vec<f64> = runs.iter().map(|run| run["recall"].as_f64().unwrap()).collect();
        assert!((row["recall"]["mean"].as_f64().unwrap() - (means[0] + means[1]) / 2.0).abs() < 1e-9);
        assert!((row["deviation"].as_f64().unwrap() - (means[0] - means[1]).abs() / 2.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!(row["apart"].is_null(), row["name"] == swept["baseline"]);
    }
    // No item was encoded twice.
    let calls = place.read("calls");
    let mut seen: Vec<&str> = calls.lines().collect();
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert!(all <= 3 * seen.len(), "{all} of {}", seen.len());

    let by_hand = SWEEP.replace("seeds = 2\n", "").replace("['one', 'three']", "'three'").replace("[100, 200]", "200");
    place.write("fusion.toml", by_hand);
    place.run("train fusion.toml --out run --seed 1").fails(0, "");
    let run = &rows.iter().find(|row| row["name"] == "left three, sample 200").unwrap()["runs"][1];
    let swept_run = place.path(run["run"].as_str().unwrap());
    let adapters = |folder: std::path::PathBuf| std::fs::read(folder.join("adapters.safetensors")).unwrap();
    assert!(adapters(swept_run) == adapters(place.path("run")), "bit for bit");
    let alone = place.json("eval run")["mean"]["mean"].as_f64().unwrap();
    assert!((run["recall"].as_f64().unwrap() - alone).abs() < 1e-9);

    // The best is told from the others by what its queries find, and each key by itself.
    let best = swept["best"].as_str().unwrap();
    for row in rows {
        assert_eq!(row["behind"].is_null(), row["name"] == best, "{row}");
        let holds_zero =
            || row["behind"]["low"].as_f64().unwrap() <= 0.0 && row["behind"]["high"].as_f64().unwrap() >= 0.0;
        assert_eq!(row["among_best"], row["name"] == best || holds_zero(), "{row}");
    }
    let effects = swept["effects"].as_array().unwrap();
    assert_eq!([&effects[0]["axis"], &effects[1]["axis"]], ["left", "sample"]);
    for (effect, values) in effects.iter().zip([["left one", "left three"], ["sample 100", "sample 200"]]) {
        assert_eq!(effect["over"], 2);
        for (of, name) in effect["values"].as_array().unwrap().iter().zip(values) {
            let its = rows.iter().filter(|row| row["name"].as_str().unwrap().contains(name));
            let mean = its.map(|row| row["recall"]["mean"].as_f64().unwrap()).sum::<f64>() / 2.0;
            assert!((of["recall"]["mean"].as_f64().unwrap() - mean).abs() < 1e-9, "{effect}");
        }
    }

    // A run that lost a part of its space is not done.
    let adapters_of_run = place.path(run["run"].as_str().unwrap()).join("adapters.safetensors");
    let whole = std::fs::read(&adapters_of_run).unwrap();
    std::fs::write(&adapters_of_run, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(place.json("sweep sweep.toml --out swept --dry-run")["done"], 7);
    std::fs::write(&adapters_of_run, &whole).unwrap();

    // What is done is not done again, and the page and the table are there.
    assert!(place.read("swept/times.jsonl").lines().count() == 8, "{}", place.read("swept/times.jsonl"));
    let again = place.run("sweep sweep.toml --out swept");
    again.fails(0, "4 variations: 8 fits, 8 of them done");
    again.fails(0, &format!("best: {best}"));
    again.fails(0, "left, averaged over 2 variations: one ");
    again.fails(0, "less the baseline's (95 %)");
    assert_eq!(calls, place.read("calls"));
    let lines = place.read("swept/sweep.csv");
    assert!(lines.starts_with("variation,left,sample,methods,seeds,mean_recall,low,high,deviation,"), "{lines}");
    assert_eq!(lines.lines().count(), 5);
    let page = place.read("swept/index.html");
    assert!(page.contains("Recall over sample") && page.contains("left three, sample 200"));
    assert!(page.contains(&format!("Best: {best}")) && page.contains("left, averaged over 2 variations"));
    assert_eq!(serde_json::from_str::<Value>(&place.read("swept/sweep.json")).unwrap(), swept);
}

#[test]
fn variants_methods_and_failures_stand_in_one_table() {
    let place = place();
    let base = SWEEP.replace("['one', 'three']", "'one'").replace(", sample = [100, 200]", "");
    let variants = "\
[[variant]]
name = 'plain'
train = { mixup_alpha = 0.0, epochs = 20 }
[[variant]]
name = 'mixed'
[[variant]]
name = 'diverges'
train = { lr = 1e30 }
";
    place.write("sweep.toml", format!("baseline = 'mixed'\n{base}{variants}"));
    let swept = place.json_code("sweep sweep.toml --out swept", 4);
    let rows = swept["rows"].as_array().unwrap();
    assert_eq!(swept["baseline"], rows[1]["name"]);
    assert!(rows[2]["error"].is_string() && rows[2]["recall"].is_null() && rows[0]["error"].is_null(), "{swept}");

    // A closed form needs no seed.
    let closed = base.replace("[train]\nepochs = 40\nwidth = 32\n", "[fit]\nmethod = ['ridge', 'procrustes']\n");
    place.write("closed.toml", closed);
    let closed = place.json("sweep closed.toml --out closed");
    let runs: Vec<usize> =
        closed["rows"].as_array().unwrap().iter().map(|row| row["runs"].as_array().unwrap().len()).collect();
    assert_eq!(runs, [1, 1]);

    // A run that is damaged is fitted again.
    let run = rows[0]["runs"][0]["run"].as_str().unwrap();
    place.write(&format!("{run}/run.json"), "{");
    place.run("sweep sweep.toml --out swept").fails(4, "run.json: EOF while parsing an object at line 1 column 1; the");
    assert_eq!(place.json_code("sweep sweep.toml --out swept", 4), swept);

    // So is one whose recipe was cut, or is that of other towers: once, and the table is the same.
    let recipe = format!("{run}/recipe.toml");
    let whole = place.read(&recipe);
    let cut = whole[..whole.find("encoder").unwrap() + 3].to_owned();
    for damaged in [cut, whole.replace("left", "lift")] {
        place.write(&recipe, damaged);
        assert_eq!(place.json("sweep sweep.toml --out swept --dry-run")["done"], 3);
        place.run("sweep sweep.toml --out swept").fails(4, "; the sweep fits it again");
        assert_eq!(place.read(&recipe), whole);
        assert_eq!(place.json_code("sweep sweep.toml --out swept", 4), swept);
    }

    // Mistakes come before any work.
    place.write("wrong.toml", base.replace("epochs = 40", "epochs = [40, 'many']"));
    place.run("sweep wrong.toml --out wrong").fails(3, "wrong.toml:12: `epochs` of [train]: wrong type");
    place.write("wrong.toml", base.replace("test = 'test.tsv'\n", ""));
    place.run("sweep wrong.toml --out wrong").fails(3, "names no `test` file to judge by");
    place.write("wrong.toml", base.replace("encoder = 'one'", "encoder = ['one', 'ten']"));
    place.run("sweep wrong.toml --out wrong").fails(3, "no encoder is called `ten`");
    assert!(!place.path("wrong").exists());
    // Each at its own line: in a variant, and in what a sweep changes of an encoder.
    place.write("wrong.toml", format!("{base}[[variant]]\nname = 'x'\n[variant.train]\nmixup_alfa = 1\n"));
    place
        .run("sweep wrong.toml --out wrong")
        .fails(3, "wrong.toml:17: unknown key `mixup_alfa`; did you mean `mixup_alpha`?");
    place.write("wrong.toml", format!("{base}[encoder.one]\nwidth = [16, 'wide']\n"));
    place.run("sweep wrong.toml --out wrong").fails(3, "wrong.toml:15: `width = \"wide\"` of encoder `one width=wide`");
    place.write("wrong.toml", format!("seed = [1, 2]\n{base}"));
    place
        .run("sweep wrong.toml --out wrong")
        .fails(3, "wrong.toml:1: unknown key `seed` of a sweep; did you mean `seeds`?");
}

#[test]
fn an_encoder_that_does_not_work_costs_its_own_rows_alone() {
    let place = place();
    let bad = |name: &str, fault: &str| format!("[encoder.{name}]\nplugin = 'broken'\nfault = '{fault}'\n");
    let broken = format!("[[plugin]]\nname = 'broken'\n{}{}", bad("opens", "open"), bad("fails", "fail"));
    place.write("plugins.toml", place.read("plugins.toml") + &broken);
    place.write(
        "sweep.toml",
        SWEEP.replace("['one', 'three']", "['opens', 'fails', 'one']").replace("[100, 200]", "100"),
    );
    let planned = place.json("sweep sweep.toml --out swept --dry-run");
    assert_eq!(planned["failing"].as_array().unwrap().len(), 1, "{planned}");
    place.run("sweep sweep.toml --out swept --dry-run").fails(0, "cannot be fitted: left opens");
    let swept = place.json_code("sweep sweep.toml --out swept", 4);
    let rows = swept["rows"].as_array().unwrap();
    assert!(rows[0]["error"].is_string() && rows[1]["error"].is_string(), "{swept}");
    assert!(rows[2]["error"].is_null() && rows[2]["recall"]["mean"].is_number(), "{swept}");
    // Alone, it is an error.
    place.write("sweep.toml", SWEEP.replace("['one', 'three']", "['opens']"));
    place.run("sweep sweep.toml --out none").fails(3, "cannot open encoder `opens`");
}

#[test]
fn what_is_fitted_has_its_own_options_beside_what_is_not() {
    let place = place();
    let same =
        SWEEP.replace(", sample = [100, 200]", "").replace("['one', 'three']", "'one'").replace("'two'", "'one'");
    let variants = "\
[[variant]]
name = 'clip'
tower.left.adapter = 'identity'
tower.right.adapter = 'identity'
fit.method = 'identity'
[[variant]]
name = 'fusion'
";
    place.write("sweep.toml", format!("{same}{variants}"));
    let swept = place.json("sweep sweep.toml --out swept");
    let methods: Vec<&Value> = swept["rows"].as_array().unwrap().iter().map(|row| &row["methods"][0]).collect();
    assert_eq!(methods, ["identity", "fusemix"]);
}

#[test]
fn methods_of_a_sweep_have_their_own_options_alone() {
    let place = place();
    let sweep = SWEEP.replace("['one', 'three']", "'one'").replace("[100, 200]", "100");
    let fit = "[fit]\nmethod = ['fusemix', 'ridge', 'kernel-cca']\nlandmarks = 50\n[train]\nlr = [0.001, 0.002]\n";
    place.write("sweep.toml", sweep.replace("[train]\n", fit));
    let swept = place.json("sweep sweep.toml --out swept");
    let names: Vec<&str> = swept["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fusemix, lr 0.001", "fusemix, lr 0.002", "method ridge", "kernel-cca"]);
    assert!(place.read("swept/sweep.csv").contains("\nmethod ridge,ridge,,"), "{}", place.read("swept/sweep.csv"));
}

#[test]
fn a_run_of_a_sweep_is_used_as_any_other() {
    let place = place();
    let sweep = SWEEP.replace("['one', 'three']", "'one'").replace("[100, 200]", "100").replace("seeds = 2\n", "");
    place.write("sweep.toml", format!("{sweep}[encoder.one]\nsalt = ['x', 'y']\n"));
    let swept = place.json("sweep sweep.toml --out swept");
    let rows = swept["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let runs: Vec<&str> = rows.iter().map(|row| row["runs"][0]["run"].as_str().unwrap()).collect();
    for (row, run) in rows.iter().zip(&runs) {
        let alone = place.json(&format!("eval {run}"));
        assert!((alone["mean"]["mean"].as_f64().unwrap() - row["recall"]["mean"].as_f64().unwrap()).abs() < 1e-9);
        let found = place.json(&format!("search {run} --from left --to right --data test.tsv w1"));
        assert_eq!(found["found"].as_array().unwrap().len(), 10);
    }
    let compared = place.json(&format!("compare {} {}", runs[0], runs[1]));
    let apart = &compared["runs"][1]["apart"]["mean"];
    assert_eq!(apart, &rows[1]["apart"]["mean"]);
    // Without the encoder that it differs from, the run says where one is to be had.
    let encoder = place.read("plugins.toml");
    place.write("plugins.toml", encoder.replace("[encoder.one]", "[encoder.other]"));
    place.run(&format!("eval {}", runs[0])).fails(3, "no encoder is called `one salt=x`");
    place.run(&format!("plugins init --run {} --plugins of-run.toml", runs[0])).fails(0, "");
    place.run(&format!("eval {} --plugins of-run.toml", runs[0])).fails(0, "mean of R@1");
}

#[test]
fn what_is_aligned_already_encodes_no_training_pairs() {
    let place = place();
    let same = SWEEP.replace(", sample = [100, 200]", "").replace("[train]\nepochs = 40\nwidth = 32\n", "");
    let identity = "'one'\nadapter = 'identity'";
    place.write("sweep.toml", same.replace("['one', 'three']", identity).replace("'two'", identity));
    let planned = place.json("sweep sweep.toml --out swept --dry-run");
    let columns = planned["columns"].as_array().unwrap();
    assert!(columns.iter().all(|of| of["file"].as_str().unwrap().ends_with("test.tsv")), "{planned}");
    assert_eq!(columns.len(), 2);
    let swept = place.json("sweep sweep.toml --out swept");
    assert!(swept["rows"][0]["recall"]["mean"].is_number(), "{swept}");
}

#[test]
fn a_sweep_judges_all_variations_on_the_pairs_that_they_share() {
    let place = place();
    place.write(
        "plugins.toml",
        place.read("plugins.toml") + "[encoder.picky]\nplugin = 'mock'\nsalt = 'one'\nwidth = 48\nrefuses = 'w3'\n",
    );
    let sweep = SWEEP.replace("['one', 'three']", "['one', 'picky']").replace("[100, 200]", "100");
    place.write("sweep.toml", sweep.replace("[train]\nepochs = 40\nwidth = 32\n", "[fit]\nmethod = 'ridge'\n"));
    let refused = table(340, 40).lines().filter(|line| line.starts_with("w3 ")).count();
    assert!(refused > 0);
    for _ in 0..2 {
        let swept = place.json_code("sweep sweep.toml --out swept", 4);
        assert_eq!((&swept["pairs"], &swept["left_out"]), (&(40 - refused).into(), &refused.into()), "{swept}");
        let lacking: Vec<u64> =
            swept["rows"].as_array().unwrap().iter().map(|row| row["lacking"].as_u64().unwrap()).collect();
        assert_eq!(lacking, [0, refused as u64]);
        assert!(swept["rows"][1]["apart"].is_object(), "what is judged on the same pairs is compared: {swept}");
    }
    place.run("sweep sweep.toml --out swept").fails(4, "left out of all, of which an item has no latent");
    // So are two of its runs by themselves.
    let table: Value = serde_json::from_str(&place.read("swept/sweep.json")).unwrap();
    let run = |row: usize| table["rows"][row]["runs"][0]["run"].as_str().unwrap().to_owned();
    let compare = format!("compare {} {}", run(0), run(1));
    let compared = place.json_code(&compare, 4);
    assert_eq!((&compared["pairs"], &compared["left_out"]), (&(40 - refused).into(), &refused.into()), "{compared}");
    assert_eq!(compared["runs"][1]["apart"]["mean"], table["rows"][1]["apart"]["mean"]);
    let words = format!("{refused} pairs left out for all, of which an item has no latent");
    place.run(&compare).fails(4, &words);
}
