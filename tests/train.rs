//! `fusemix train` and what follows it: eval, search, embed, report.

use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::fmt::Write;

use crate::common::{Place, floats};

/// Two encoders of text whose latents are linear maps of each other.
pub(crate) const ENCODERS: &str = "\
[[plugin]]
name = 'mock'
[encoder.one]
plugin = 'mock'
salt = 'one'
width = 48
calls = 'calls'
[encoder.two]
plugin = 'mock'
salt = 'two'
width = 40
calls = 'calls'
";

pub(crate) const RECIPE: &str = "\
[tower.left]
encoder = 'one'
[tower.right]
encoder = 'two'
[[pairs]]
train = 'train.tsv'
validation = 'validation.tsv'
test = 'test.tsv'
left = 'a'
right = 'b'
[train]
epochs = 60
width = 32
dropout = 0.2
lr = 0.003
";

/// Two of 40 words, in both columns the same; no two of the first 400 rows share both.
pub(crate) fn table(first: usize, rows: usize) -> String {
    (first..first + rows).fold("a\tb\n".into(), |mut table, row| {
        let mixed = row * 171 % 400;
        let words = format!("w{} v{}", mixed % 20, mixed / 20);
        writeln!(table, "{words}\t{words}").unwrap();
        table
    })
}

pub(crate) fn place() -> Place {
    let place = Place::new(ENCODERS);
    place.write("fusion.toml", RECIPE);
    place.write("train.tsv", table(0, 300));
    place.write("validation.tsv", table(300, 40));
    place.write("test.tsv", table(340, 40));
    place
}

fn losses(place: &Place, run: &str) -> Vec<Value> {
    let metrics = place.read(&format!("{run}/metrics.jsonl"));
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line.get("loss").cloned()).collect()
}

pub(crate) fn recall_at_1(found: &Value) -> f64 {
    found["recall"]["1"].as_f64().unwrap()
}

#[test]
fn from_items_to_a_shared_space() {
    let place = place();
    let trained = place.json("train fusion.toml --out run --device cpu");
    assert_eq!((&trained["pairs"], &trained["dropped"], &trained["steps"]), (&json!(300), &json!(0), &json!(60)));
    let calls = place.read("calls").lines().count();
    assert_eq!(losses(&place, "run").len(), 60);
    for file in ["adapters.safetensors", "recipe.toml", "run.json"] {
        assert!(place.path("run").join(file).is_file(), "{file}");
    }

    let found = place.json("eval run")["retrieval"].clone();
    assert_eq!((&found[0]["from"], &found[0]["to"]), (&json!("left"), &json!("right")));
    assert_eq!((&found[1]["queries"], &found[1]["gallery"]), (&json!(40), &json!(40)));
    assert!(recall_at_1(&found[0]) > 60.0 && recall_at_1(&found[1]) > 60.0, "{found}");
    assert!(place.run("eval run").stdout.contains("chance"));

    let query = place.read("test.tsv").lines().nth(7).unwrap().split('\t').next().unwrap().to_owned();
    let mut search = place.command("search run --from left --to right --data test.tsv -k 3 --json --cache-queries");
    let found: Value = serde_json::from_slice(&search.arg(&query).output().unwrap().stdout).unwrap();
    let found = found["found"].as_array().unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().any(|hit| hit["row"] == 7 && hit["item"] == query), "{found:?}");

    // The test file's items are new to the encoders, nothing else was.
    assert_eq!(place.read("calls").lines().count(), calls + 80);
    place.run("report run --out page.html");
    let page = place.read("page.html");
    assert!(page.contains("<svg") && page.contains("hit right") && page.contains(&query));
    assert_eq!(place.read("calls").lines().count(), calls + 80);
}

#[test]
fn the_same_seed_gives_the_same_losses_bit_for_bit() {
    let place = place();
    place.json("train fusion.toml --out first --device cpu --seed 5");
    let calls = place.read("calls").lines().count();
    place.json("train fusion.toml --out second --device cpu --seed 5");
    place.json("train fusion.toml --out third --device cpu --seed 6");
    assert_eq!(place.read("calls").lines().count(), calls, "a second run calls no encoder");
    let first = losses(&place, "first");
    assert_eq!(first, losses(&place, "second"));
    assert_ne!(first, losses(&place, "third"));
    // The recipe as resolved says all there is to say.
    place.json("train first/recipe.toml --out fourth --device cpu --seed 5");
    assert_eq!(first, losses(&place, "fourth"));
}

#[test]
fn an_encoder_other_than_the_trained_one_is_refused() {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    place.write("plugins.toml", ENCODERS.replace("'two'\nwidth", "'other'\nwidth"));
    let message = "trained with salt = two; now salt = other";
    place.run("eval run").fails(5, message);
    place.run("search run --from right --to left --data test.tsv w1").fails(5, message);
    place.run("embed run --tower right --data test.tsv --out out.npy").fails(5, message);
    let ran = place.run("eval run");
    assert!(ran.stdout.is_empty() && ran.stderr.contains("encoder `two`"), "{}", ran.stderr);
    // What counts is the fingerprint, whatever the encoder is called.
    place.write("plugins.toml", ENCODERS.replace("encoder.two", "encoder.deux"));
    let recipe = place.read("run/recipe.toml");
    place.write("run/recipe.toml", recipe.replace("\"two\"", "\"deux\""));
    place.json("eval run");
    place.write("run/recipe.toml", recipe.replace("\"two\"", "\"one\""));
    place.run("eval run").fails(5, "trained with salt = two; now salt = one");
    // A tower whose encoder is the same still works.
    assert_eq!(place.run("embed run --tower left --data test.tsv --out out.npy").code, 0);
}

#[test]
fn a_row_with_a_failed_item_leaves_its_pair_out() {
    let place = place();
    let table = place.read("train.tsv").replacen('\n', "\n \tw1 v2\n", 1);
    place.write("train.tsv", table + "w1 v2\t \n");
    let ran = place.run("train fusion.toml --out run --device cpu --json");
    ran.fails(0, "train.tsv: skipped 2 of 302 pairs");
    assert_eq!((&ran.json()["pairs"], &ran.json()["dropped"]), (&json!(300), &json!(2)));

    place.write("some.tsv", "a\tb\nw1 w2\tx\n \ty\nw3 w4\tz\n");
    let ran = place.run("embed run --tower left --data some.tsv --out out.safetensors --json");
    ran.fails(4, "row 2");
    assert_eq!(ran.json()["failed_rows"], json!([2]));
    let bytes = std::fs::read(place.path("out.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("embeddings").unwrap();
    assert_eq!(tensor.shape(), [3, 32]);
    let values = floats(tensor.data());
    let norm = |row: usize| values[32 * row..32 * (row + 1)].iter().map(|x| x * x).sum::<f32>();
    assert!((norm(0) - 1.0).abs() < 1e-5 && norm(1).is_nan() && (norm(2) - 1.0).abs() < 1e-5);
}

#[test]
fn of_several_captions_an_epoch_takes_all_or_one() {
    let place = place();
    let captions = (0..180).fold("a\tb\n".to_owned(), |table, row| {
        let item = row / 3;
        table + &format!("w{} v{}\tw{} v{} number {}\n", item % 20, item / 20, item % 20, item / 20, row % 3)
    });
    place.write("train.tsv", captions);
    let train = |options: &str| {
        place.write("fusion.toml", RECIPE.replace("epochs = 60", &format!("epochs = 2\nbatch = 15\n{options}")));
        place.json("train fusion.toml --out run --overwrite --device cpu")["steps"].clone()
    };
    assert_eq!((train(""), train("captions = 'one'")), (json!(12), json!(4)));
    let masked = losses(&place, "run");
    train("captions = 'all'\nmask_items = false");
    let all = losses(&place, "run");
    train("captions = 'all'");
    assert!(all.len() == 2 && masked.len() == 2 && all != losses(&place, "run"), "items are masked");
    place.write("train.tsv", "a\tb\n".to_owned() + &"w1 v1\tw1\nw1 v1\tv1\nw1 v1\tw1 v1\n".repeat(4));
    let recipe = RECIPE.replace("epochs = 60", "epochs = 2\ncaptions = 'one'");
    place.write("fusion.toml", recipe);
    let message = "`captions = \"one\"` in [train]: a pair set has 1 different items, and needs at least 4";
    place.run("train fusion.toml --out other --device cpu").fails(3, message);
}

#[test]
fn towers_may_be_several_and_have_several_encoders() {
    let place = place();
    let third = "\
[tower.left]
encoders = ['one', 'two']
[tower.middle]
encoder = 'two'
[tower.right]
encoder = 'one'
[[pairs]]
train = 'train.tsv'
test = 'test.tsv'
left = 'a'
middle = 'b'
[[pairs]]
train = 'validation.tsv'
test = 'test.tsv'
middle = 'a'
right = 'b'
weight = 3
[train]
epochs = 30
batch = 20
lr = 0.003
";
    place.write("fusion.toml", third);
    let trained = place.json("train fusion.toml --out run --device cpu");
    // 7 steps over 300 pairs and 3 times 1 over 40, 30 times.
    assert_eq!((&trained["pairs"], &trained["steps"]), (&json!(340), &json!(300)));
    let found = place.json("eval run")["retrieval"].clone();
    let ways: Vec<&str> = found.as_array().unwrap().iter().map(|way| way["from"].as_str().unwrap()).collect();
    // Left and right were never trained together, and still share the space.
    assert_eq!(ways, ["left", "middle", "middle", "right", "left", "right"]);
    assert!(recall_at_1(&found[4]) > 20.0 && recall_at_1(&found[5]) > 20.0, "{found}");
    place.json("search run --from left --to right --data test.tsv --column a w1");
    place
        .run("search run --from lft --to right --data test.tsv w1")
        .fails(3, "no tower is called `lft`; did you mean `left`?");
}

#[test]
fn a_file_without_latents_is_an_error_and_no_result() {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    place.write("empty.tsv", "a\tb\n");
    place.write("failing.tsv", "a\tb\n \t \n");
    place.write("apart.tsv", format!("a\tb\n{}", "w1\t \n \tw1\n".repeat(4)));
    for file in ["empty", "failing"] {
        // With a cache that knows the encoders and with one that does not.
        for cache in ["", " --cache other"] {
            let message = format!("no item in column `a` of {file}.tsv has a latent");
            let build = format!("gallery build run --tower left --data {file}.tsv --out gallery{cache}");
            place.run(&build).fails(3, &message);
            place.run(&format!("eval run --data {file}.tsv{cache}")).fails(3, &message);
            place.run(&format!("report run --data {file}.tsv --out page.html{cache}")).fails(3, &message);
            place.run(&format!("embed run --tower left --data {file}.tsv --out out.npy{cache}")).fails(3, &message);
            let search = format!("search run --from right --to left --data {file}.tsv w1{cache}");
            place.run(&search).fails(3, &message);
        }
    }
    place.run("eval run --data apart.tsv").fails(3, "apart.tsv: no pair has a latent on both sides");
    place.write("fusion.toml", RECIPE.replace("'validation.tsv'", "'apart.tsv'"));
    place.run("train fusion.toml --out other --device cpu").fails(3, "apart.tsv: no pair has a latent on both sides");
    place.write("fusion.toml", RECIPE.replace("'train.tsv'", "'apart.tsv'"));
    place.run("train fusion.toml --out other --device cpu").fails(3, "apart.tsv: no pair is left to train on");
    place.write("fusion.toml", RECIPE.replace("'train.tsv'", "'empty.tsv'"));
    place.run("train fusion.toml --out other --device cpu").fails(3, "too few pairs");
}

#[test]
fn a_table_of_json_is_a_modality_of_its_own() {
    let place = Place::new(
        "[[plugin]]\nname = 'mock'\n[encoder.rows]\nplugin = 'mock'\nmodality = 'tabular'\n\
         [encoder.words]\nplugin = 'mock'\nsalt = 'words'\n",
    );
    let table = |rows: std::ops::Range<usize>| {
        rows.fold("record\ttext\n".to_owned(), |table, row| {
            table + &format!("{{\"age\": {row} , \"city\": {} }}\t{row} in {}\n", row % 7, row % 7)
        })
    };
    place.write("train.tsv", table(0..80));
    place.write("test.tsv", table(80..90));
    let recipe = "[tower.rows]\nencoder = 'rows'\n[tower.words]\nencoder = 'words'\n[[pairs]]\ntrain = 'train.tsv'\n\
                  test = 'test.tsv'\nrows = 'record'\nwords = 'text'\n[fit]\nmethod = 'cca'\n";
    place.write("fusion.toml", recipe);
    place.run("plugins check rows").fails(3, "`fusemix plugins check rows --data FILE --column COL`");
    assert_eq!(place.run("plugins check rows --data train.tsv --column record").code, 0);
    place.write("same.tsv", "record\n{}\n{}\n");
    place.run("plugins check rows --data same.tsv").fails(3, "fewer than two different items");
    place.run("plugins check rows --data same.tsv --column rekord").fails(3, "did you mean `record`?");
    assert_eq!(place.json("train fusion.toml --out run")["pairs"], 80);
    let mut search = place.command("search run --data test.tsv --from rows --to words");
    let found = search.arg("{\"age\": 83 , \"city\": 6 }").output().unwrap();
    assert!(String::from_utf8_lossy(&found.stdout).contains("83 in 6"), "{found:?}");
    assert_eq!(place.run("eval run").code, 0);
}

#[test]
fn a_training_that_learned_nothing_says_so() {
    let place = place();
    place.write("wild.toml", RECIPE.replace("lr = 0.003", "lr = 3.0\nlr_end = 3.0"));
    place.run("train wild.toml --out wild --device cpu").fails(0, "nothing was learned: the loss ended at");
    let good = place.run("train fusion.toml --out run --device cpu");
    assert!(!good.stderr.contains("nothing was learned"), "{}", good.stderr);
}

#[test]
fn what_chooses_among_pairs_belongs_to_them() {
    let place = place();
    place.write("fusion.toml", RECIPE.replace("epochs = 60", "epochs = 60\nquality = 100"));
    place
        .run("train fusion.toml --out run")
        .fails(3, "fusion.toml:13: `quality` chooses among pairs: it belongs into [[pairs]], not into [train]");
}
