//! `fusemix eval`: which pairs count, and among what they are searched.

use serde_json::{Value, json};
use std::fmt::Write;

use crate::common::Place;
use crate::train::{RECIPE, place};

#[test]
fn items_may_have_several_matches_on_either_side() {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    place.write("several.tsv", "a\tb\nw1 v1\tw1 v1\nw1 v1\tw1\nw1 v1\tv1 w1\nw2 v2\tw2 v2\nv2\tw2 v2\n");
    let found = place.json("eval run --data several.tsv")["retrieval"].clone();
    assert_eq!((&found[0]["queries"], &found[0]["gallery"]), (&json!(3), &json!(4)));
    assert_eq!((&found[1]["queries"], &found[1]["gallery"]), (&json!(4), &json!(3)));
    assert!(found[0]["recall"]["5"] == 100.0 && found[1]["recall"]["5"] == 100.0);
    let parts = place.json("eval run --data several.tsv --folds 3")["retrieval"].clone();
    assert_eq!((&parts[0]["queries"], &parts[0]["gallery"], &parts[1]["gallery"]), (&json!(3), &json!(1), &json!(1)));
    // Parts of 3, 1 and 1 items: chance is that of each query's own part.
    let chance = |found: &Value| found["chance"]["1"].as_f64().unwrap();
    assert!((chance(&parts[0]) - 100.0).abs() < 1e-9 && (chance(&parts[1]) - 100.0).abs() < 1e-9, "{parts}");
    assert_eq!(parts[0]["chance_median_rank"], 1.0);
    place.run("eval run --data several.tsv --folds 3").fails(0, "with 1 item to choose from, R@10 is 100 %");
    place.run("eval run --data several.tsv --folds 4").fails(3, "--folds 4 needs at least 4 items of each tower");
}

#[test]
fn the_gallery_goes_from_text_to_pictures_where_there_are_both() {
    let encoder = |name: &str, modality: &str| {
        format!("[encoder.{name}]\nplugin = 'mock'\nsalt = '{name}'\nmodality = '{modality}'\n")
    };
    let encoders = [encoder("eye", "image"), encoder("ear", "audio"), encoder("words", "text")].concat();
    let place = Place::new(&format!("[[plugin]]\nname = 'mock'\n{encoders}"));
    let mut table = "sound\tpicture\tcaption\n".to_owned();
    for row in 0..60 {
        let words = format!("w{} <v{}>", row % 8, row / 8);
        place.write(&format!("{row}.txt"), &words);
        writeln!(table, "{row}.txt\t{row}.txt\t{words}").unwrap();
    }
    place.write("all.tsv", table);
    let recipe = "\
[tower.sound]
encoder = 'ear'
[tower.image]
encoder = 'eye'
[tower.text]
encoder = 'words'
[[pairs]]
train = 'all.tsv'
sound = 'sound'
text = 'caption'
[[pairs]]
train = 'all.tsv'
image = 'picture'
text = 'caption'
[train]
epochs = 3
";
    place.write("fusion.toml", recipe);
    place.json("train fusion.toml --out run --device cpu");
    place.run("report run --out page.html").fails(3, "the recipe names no `test` file");
    place.json("report run --out page.html --data all.tsv");
    let page = place.read("page.html");
    assert!(page.contains("From text to image: 24 of the 60 queries of all.tsv, spread evenly over the file"));
    assert_eq!(page.matches("<section>").count(), 24);
    assert_eq!(page.matches("hit right").count(), 24, "each query shows its match, however far away");
    assert!(page.contains("w0 &lt;v0&gt;") && !page.contains("<v0>") && !page.contains("not used for training"));
    // A file is found by a sentence, and a sentence by a file.
    let found = place.json("search run --from image --to text --data all.tsv 7.txt");
    assert_eq!(found["found"].as_array().unwrap().len(), 10);
    assert!(found["found"][0]["file"].is_null());
    let found = &place.json("search run --from text --to sound --data ./all.tsv --column picture w1")["found"][0];
    assert_eq!(found["file"].as_str().unwrap(), format!("./{}", found["item"].as_str().unwrap()));
    place.run("search run --from image --to text --data all.tsv nothing.txt").fails(4, "cannot read nothing.txt");
}

#[test]
fn pairs_that_were_trained_on_are_told_wherever_they_stand() {
    let place = place();
    // The training pairs under another name, with one that is new.
    let rows: Vec<String> = place.read("train.tsv").lines().skip(1).take(30).map(str::to_owned).collect();
    place.write("copy.tsv", format!("a\tb\n{}\nnew one\tnew one\n", rows.join("\n")));
    place.write("leak.toml", RECIPE.replace("'test.tsv'", "'copy.tsv'"));
    let message = "copy.tsv: 30 of 31 pairs were trained on (30 of 31 left items, 30 of 31 right items)";
    let trained = place.run("train leak.toml --out run --device cpu");
    trained.fails(0, message);
    trained.fails(0, "; the first is row 1, which is row 1 of ");
    assert!(!trained.stderr.contains("nearly, but"), "the same items are told once: {}", trained.stderr);
    assert!(!trained.stderr.contains("validation.tsv:"), "{}", trained.stderr);
    place.run("eval run").fails(0, message);
    let shared = &place.json("eval run")["shared"][0];
    assert_eq!((&shared["pairs"], &shared["all_pairs"], &shared["items"]), (&json!(30), &json!(31), &json!([30, 30])));
    place.run("report run --out page.html").fails(0, message);
    assert!(place.read("page.html").contains("of which 30 pairs and 60 single items were trained on"));
    assert!(place.read("page.html").contains("(the first is row 1)"));
    let clean = place.run("eval run --data test.tsv");
    assert!(clean.code == 0 && !clean.stderr.contains("trained on"), "{}", clean.stderr);
    place.run("report run --data test.tsv --out page.html");
    assert!(place.read("page.html").contains("no item of which was trained on"));
    // A run of an older version does not tell.
    std::fs::remove_file(place.path("run/seen.safetensors")).unwrap();
    place.run("report run --out page.html").fails(1, "run/seen.safetensors is not the file that the training wrote");
    let mut info: Value = serde_json::from_str(&place.read("run/run.json")).unwrap();
    info.as_object_mut().unwrap().remove("seen");
    place.write("run/run.json", info.to_string());
    place.json("report run --out page.html");
    assert!(!place.read("page.html").contains("trained on"), "{}", place.read("page.html"));
}

#[test]
fn a_pair_that_is_left_out_counts_on_neither_side() {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    let rows: Vec<String> = place.read("test.tsv").lines().skip(1).map(str::to_owned).collect();
    place.write("holes.tsv", format!("a\tb\n{}\nw1 v1\t \n \tw2 v2\nw3 v3\t \n", rows.join("\n")));
    let found = place.json("eval run --data holes.tsv")["retrieval"].clone();
    assert_eq!([&found[0]["gallery"], &found[1]["gallery"]], [&json!(40), &json!(40)]);
}

#[test]
fn columns_of_one_name_are_of_one_tower_in_each_file() {
    let encoder = |name: &str, modality: &str| {
        format!("[encoder.{name}]\nplugin = 'mock'\nmodality = '{modality}'\nsalt = '{name}'\ncalls = 'calls-{name}'\n")
    };
    let encoders = [encoder("seen", "image"), encoder("heard", "audio"), encoder("read", "text")].concat();
    let place = Place::new(&format!("[[plugin]]\nname = 'mock'\n{encoders}"));
    for (kind, first) in [("jpg", 0), ("wav", 100)] {
        for (split, rows) in [("train", first..first + 60), ("test", first + 60..first + 90)] {
            let mut table = "file\tcaption\n".to_owned();
            for row in rows {
                let words = format!("w{} v{}", row % 20, row * 7 % 19);
                place.write(&format!("{row}.{kind}"), format!("{words} {row}"));
                writeln!(table, "{row}.{kind}\t{words}").unwrap();
            }
            place.write(&format!("{kind}-{split}.tsv"), table);
        }
    }
    let pairs = |kind: &str, tower: &str| {
        format!("[[pairs]]\ntrain = '{kind}-train.tsv'\ntest = '{kind}-test.tsv'\n{tower} = 'file'\ntext = 'caption'\n")
    };
    let towers = "[tower.image]\nencoder = 'seen'\n[tower.audio]\nencoder = 'heard'\n[tower.text]\nencoder = 'read'\n";
    place.write(
        "three.toml",
        format!("{towers}{}{}[fit]\nmethod = 'ridge'\n", pairs("jpg", "image"), pairs("wav", "audio")),
    );
    place.json("train three.toml --out run --device cpu");
    let found = place.json("eval run");
    let ways = |found: &Value| -> Vec<String> {
        let ways = found["retrieval"].as_array().unwrap().iter();
        ways.map(|way| format!("{}-{}", way["from"].as_str().unwrap(), way["to"].as_str().unwrap())).collect()
    };
    assert_eq!(ways(&found), ["image-text", "text-image", "audio-text", "text-audio"]);
    for (calls, ending) in [("calls-seen", 100), ("calls-heard", 200)] {
        let lines = place.read(calls);
        let odd = lines
            .lines()
            .find(|line| line.rsplit(' ').next().unwrap().parse::<i32>().unwrap() / 100 + 1 != ending / 100);
        assert_eq!(odd, None, "{calls} got an item of the other tower");
    }
}

#[test]
fn a_file_with_other_columns_is_evaluated_by_their_names() {
    let place = place();
    place.run("train fusion.toml --out run --device cpu").fails(0, "");
    let plain = place.json("eval run --data test.tsv")["mean"]["mean"].clone();
    let test = place.read("test.tsv");
    place.write("renamed.tsv", test.replace("a\tb\n", "query\tanswer\n"));
    let message = "renamed.tsv: no column `a`, from which tower `left` takes its items (columns: query, answer)";
    place.run("eval run --data renamed.tsv").fails(3, message);
    let named = "--column left=query --column right=answer";
    assert_eq!(place.json(&format!("eval run --data renamed.tsv {named}"))["mean"]["mean"], plain);
    assert_eq!(place.json(&format!("eval run --data renamed.tsv {named} --dry-run"))["cost"], Value::Null);
    place.run("eval run --column left=query").fails(2, "--column names columns of --data FILE, which is not given");
    place.run("eval run --data renamed.tsv --column middle=query").fails(3, "no tower is called `middle`");
    place.run("eval run --data renamed.tsv --column query").fails(2, "write the tower and its column");
    // Several captions here, and one in training.
    let rows = test.lines().skip(1).map(|line| format!("{line}\t{}\n", line.split('\t').next().unwrap()));
    place.write("several.tsv", format!("a\tb_1\tb_2\n{}", rows.collect::<String>()));
    let several = place.json("eval run --data several.tsv --column right=b_1,b_2");
    assert_eq!(several["retrieval"][0]["queries"], 40);
    // And the reverse.
    place.write(
        "both.toml",
        RECIPE
            .replace("right = 'b'", "right = ['b_1', 'b_2']")
            .replace("validation = 'validation.tsv'\n", "")
            .replace("'train.tsv'", "'several.tsv'")
            .replace("'test.tsv'", "'several.tsv'"),
    );
    place.run("train both.toml --out both --device cpu").fails(0, "");
    place.run("eval both --data test.tsv").fails(3, "from which tower `right` takes its items");
    assert!(place.json("eval both --data test.tsv --column right=b")["mean"]["mean"].is_number());
    let compared = place.json("compare run both --data test.tsv --column right=b");
    assert_eq!(compared["runs"].as_array().unwrap().len(), 2);
}
