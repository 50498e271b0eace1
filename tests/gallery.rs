//! `fusemix gallery` and `fusemix search`: embeddings on disk, and the nearest items to a query.

use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;

use crate::common::{Place, Ran, copy_folder};
use crate::seed::Random;
use crate::train::{ENCODERS, place};

/// A trained place with `items.tsv`, the test pairs under ids, with a price and a kind.
pub fn trained() -> Place {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    let rows = place.read("test.tsv");
    let rows = rows.lines().skip(1).enumerate().map(|(row, line)| {
        let kind = if row % 2 == 0 { "even" } else { "odd" };
        format!("sku-{row}\t{line}\t{}.50\t{kind}\n", row)
    });
    place.write("items.tsv", format!("sku\ta\tb\tprice\tkind\n{}", rows.collect::<String>()));
    place.json("gallery build run --tower right --data items.tsv --id sku --metadata price,kind --out gallery");
    place
}

fn search(place: &Place, arguments: &str, queries: &[&str]) -> Ran {
    let mut command = place.command(&format!("search run --from left --json {arguments}"));
    Ran::from(command.args(queries).output().unwrap())
}

fn found(place: &Place, arguments: &str, query: &str) -> Vec<Value> {
    let ran = search(place, arguments, &[query]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.json()["found"].as_array().unwrap().clone()
}

/// The text of the first item in a row, `w.. v..`.
fn text(place: &Place, row: usize) -> String {
    place.read("test.tsv").lines().nth(row + 1).unwrap().split('\t').next().unwrap().to_owned()
}

fn ids(found: &[Value]) -> Vec<&str> {
    found.iter().map(|hit| hit["id"].as_str().unwrap()).collect()
}

#[test]
fn a_gallery_finds_what_a_search_of_the_file_finds() {
    let place = trained();
    for row in [0, 7, 23] {
        let query = text(&place, row);
        let in_gallery = found(&place, "--gallery gallery -k 5", &query);
        let in_file = found(&place, "--to right --data items.tsv --column b -k 5", &query);
        let items = |found: &[Value]| found.iter().map(|hit| hit["item"].clone()).collect::<Vec<_>>();
        assert_eq!(items(&in_gallery), items(&in_file), "{query}");
        for (one, other) in in_gallery.iter().zip(&in_file) {
            assert!((one["score"].as_f64().unwrap() - other["score"].as_f64().unwrap()).abs() < 1e-5);
        }
    }
    let calls = place.read("calls").lines().count();
    found(&place, "--gallery gallery", &text(&place, 3));
    assert_eq!(place.read("calls").lines().count(), calls + 1, "only the query is encoded, and not kept");
    found(&place, "--gallery gallery --cache-queries", &text(&place, 3));
    found(&place, "--gallery gallery", &text(&place, 3));
    assert_eq!(place.read("calls").lines().count(), calls + 2, "what --cache-queries kept is found");
}

#[test]
fn several_queries_a_call_and_one_that_is_bad_fails_alone() {
    let place = trained();
    // An empty line is no query.
    place.write("queries.txt", format!("{}\n\n", text(&place, 2)));
    let queries = [&text(&place, 0), &text(&place, 1), ""];
    let ran = search(&place, "--gallery gallery -k 2 --queries queries.txt", &queries);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let queries = ran.json()["queries"].clone();
    assert_eq!(queries.as_array().unwrap().len(), 4);
    assert_eq!(queries[2]["error"], "empty text");
    for at in [0, 1, 3] {
        assert_eq!(queries[at]["found"].as_array().unwrap().len(), 2);
    }
    let alone = found(&place, "--gallery gallery -k 2", &text(&place, 2));
    assert_eq!(ids(queries[3]["found"].as_array().unwrap()), ids(&alone));
    place
        .run("search run --from left --gallery nowhere w1")
        .fails(3, "nowhere holds no gallery: there is no such folder");
}

#[test]
fn odd_ids_are_refused_or_shown_harmless() {
    let place = trained();
    let rows: Vec<u8> = b"sku\tb\tkind\n\xff\tw1 v1\tx\n".to_vec();
    std::fs::write(place.path("latin.tsv"), rows).unwrap();
    let build = "gallery build run --tower right --column b --id sku";
    place
        .run(&format!("{build} --data latin.tsv --out g"))
        .fails(3, "latin.tsv: row 1, column `sku`: byte 1 is not UTF-8");
    place.write("odd.tsv", "sku\tb\tkind\n\u{1b}[2Jred\u{202e}\tw1 v1\tx\n");
    place.run(&format!("{build} --data odd.tsv --metadata kind --out g"));
    for command in ["gallery list g", "search run --from left --gallery g w1"] {
        let shown = place.run(command);
        assert!(
            shown.stdout.contains("\\u{1b}[2Jred\\u{202e}") && !shown.stdout.contains('\u{1b}'),
            "{}",
            shown.stdout
        );
    }
    assert_eq!(place.json("gallery list g")["items"][0]["id"], "\u{1b}[2Jred\u{202e}");
    // One bad query alone is a query all the same.
    let one = search(&place, "--gallery g", &[""]);
    assert_eq!((one.code, &one.json()["error"]), (4, &json!("empty text")));
    assert!(!one.stderr.contains("fusemix encode"), "{}", one.stderr);
}

#[test]
fn a_retrained_run_says_so() {
    let place = trained();
    place.json("train fusion.toml --out run --device cpu --seed 5 --overwrite");
    place.run("search run --from left --gallery gallery w1").fails(5, "was trained again after the gallery was built");
}

#[test]
fn filters_choose_by_metadata() {
    let place = trained();
    let query = text(&place, 4);
    let filtered = |filter: &str| {
        let mut command = place.command("search run --from left --gallery gallery -k 40 --json --where");
        Ran::from(command.args([filter, &query]).output().unwrap())
    };
    let ran = filtered("price < 10 and kind = 'even'");
    let hits = ran.json()["found"].as_array().unwrap().clone();
    assert_eq!(hits.len(), 5, "{hits:?}");
    assert!(hits.iter().all(|hit| hit["metadata"]["kind"] == "even" && hit["metadata"]["price"].as_f64() < Some(10.0)));
    filtered("prise < 10").fails(3, "no column `prise`; did you mean `price`?");
    filtered("price <").fails(2, "price");
    filtered("price < 1e400").fails(2, "a number that f64 can hold");
    filtered("kind <> 'odd'").fails(2, "quotes around the value");
    let ran = filtered("kind = nothing");
    assert_eq!((ran.code, ran.json()["found"].as_array().unwrap().len()), (0, 0));
    assert!(ran.stderr.contains("no item of the gallery passes the filter"), "{}", ran.stderr);
    place.run("search run --from left --gallery gallery -k 0 w1").fails(2, "-k");
    place.run("search run --from left --to right --data items.tsv --where price<1 w1").fails(2, "--where");
    let mut list = place.command("gallery list gallery --json --where");
    let listed = Ran::from(list.arg("price >= 38").output().unwrap()).json();
    assert_eq!((&listed["count"], listed["items"].as_array().unwrap().len()), (&json!(40), 2));
}

#[test]
fn items_come_and_go_by_their_ids() {
    let place = trained();
    assert_eq!(place.json("gallery remove gallery sku-3 sku-5")["items"], 38);
    place.run("gallery remove gallery sku-3 sku-6").fails(4, "no item has the id `sku-3`");
    place.write("more.tsv", "sku\tb\tprice\tkind\nsku-7\tw1 v1\t0\tnew\nnew-1\tw2 v2\t\tnew\nnew-2\t \t1\tnew\n");
    let ran = place.run("gallery add run gallery --data more.tsv --column b --id sku --json");
    assert_eq!(ran.code, 4);
    let added = ran.json();
    let counts = ["items", "new", "replaced", "failed"].map(|key| added[key].as_u64().unwrap());
    assert_eq!(counts, [38, 1, 1, 1], "{added}");
    let listed = place.json("gallery list gallery")["items"].as_array().unwrap().clone();
    let of = |id: &str| listed.iter().find(|item| item["id"] == id).cloned();
    assert_eq!(of("sku-7").unwrap(), json!({"id": "sku-7", "item": "w1 v1", "price": 0, "kind": "new"}));
    assert_eq!(of("new-1").unwrap()["price"], Value::Null);
    assert!(of("sku-3").is_none() && of("new-2").is_none());
    assert_eq!(place.run("gallery verify gallery").code, 0);

    // The columns that it was built with need not be named again.
    place.write("again.tsv", "b\tsku\tprice\tkind\nw3 v3\tnew-1\t2\tnew\n");
    let added = place.json("gallery add run gallery --data again.tsv");
    assert_eq!((&added["replaced"], &added["items"]), (&json!(1), &json!(38)));

    place.write("twice.tsv", "sku\tb\tprice\tkind\nx\tw1 v1\t0\ta\nx\tw1 v2\t0\ta\n");
    place
        .run("gallery add run gallery --data twice.tsv --column b --id sku")
        .fails(3, "rows 1 and 2 have the same id `x`");
    place.run("gallery build run --tower right --data items.tsv --out gallery").fails(1, "already holds a gallery");
    place
        .run("gallery build run --tower right --data items.tsv --column b --metadata item --out other")
        .fails(3, "`item`");
    place.write("full/file", "");
    place.run("gallery build run --tower right --data items.tsv --column b --out full").fails(1, "full is not empty");
    place
        .run("gallery build run --tower right --data items.tsv --column b --id nosku --out other")
        .fails(3, "no column `nosku`");
}

#[test]
fn halves_take_half_the_disk_and_find_the_same() {
    let place = trained();
    place.json("gallery build run --tower right --data items.tsv --column b --precision f16 --out half");
    let size = |folder: &str, ending: &str| {
        std::fs::metadata(place.path(&format!("{folder}/vectors-000000.{ending}"))).unwrap().len()
    };
    assert_eq!(2 * size("half", "f16"), size("gallery", "f32"));
    let query = text(&place, 11);
    let (one, other) = (found(&place, "--gallery gallery -k 1", &query), found(&place, "--gallery half -k 1", &query));
    assert_eq!(one[0]["item"], other[0]["item"]);
}

#[test]
fn another_run_or_encoder_is_refused_with_both_names() {
    let place = trained();
    place.json("train fusion.toml --out second --device cpu --seed 9");
    place.run("gallery add second gallery --data items.tsv --column b --id sku").fails(5, "/run` (");
    let ran = place.run("search second --from left --gallery gallery w1");
    assert!(ran.code == 5 && ran.stderr.contains("/run` (") && ran.stderr.contains("/second` ("), "{}", ran.stderr);
    place.write("plugins.toml", ENCODERS.replace("'two'\nwidth", "'other'\nwidth"));
    place.run("gallery add run gallery --data items.tsv --column b --id sku").fails(5, "trained with salt = two");
    // A copy of the run is the run.
    place.write("plugins.toml", ENCODERS);
    copy_folder(&place.path("run"), &place.path("copy"));
    assert_eq!(place.run("search copy --from left --gallery gallery w1").code, 0);
}

#[test]
fn a_search_needs_no_lock() {
    let place = trained();
    // The other tower's encoder is at work on many items, for long.
    let slow = ENCODERS.replace("salt = 'one'", "salt = 'one'\ndelay_ms = 50");
    place.write("slow.toml", slow);
    let rows: String = (0..4000).map(|row| format!("new{row}\n")).collect();
    place.write("many.tsv", format!("text\n{rows}"));
    let mut encoding = place
        .command("encode --data many.tsv --encoder one --plugins slow.toml")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    for arguments in ["--gallery gallery", "--to right --data items.tsv --column b"] {
        assert_eq!(search(&place, arguments, &["w1 v1"]).code, 0);
    }
    assert!(encoding.try_wait().unwrap().is_none(), "the encoding was over before the search");
    encoding.kill().unwrap();
    encoding.wait().unwrap();
}

#[test]
fn killed_at_any_moment_a_gallery_holds_whole_commits() {
    let place = trained();
    let random = Random::new("gallery kills");
    let rows: String = (0..20_000).map(|row| format!("id{row}\tw{} v{}\n", row % 200, row / 200)).collect();
    place.write("large.tsv", format!("id\tb\n{rows}"));
    place.json("encode --data large.tsv --encoder two --column b");
    let mut halfway = 0;
    let begun = place.path("large.building/gallery.json");
    for kill in 0..8 {
        let mut building =
            place.start("gallery build run --tower right --data large.tsv --column b --id id --out large");
        // Half of the moments count from its first file: how long that takes is the machine's affair.
        while kill % 2 == 0 && !begun.exists() && building.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(random.below(if kill % 2 == 0 { 1 + 5 * kill } else { 250 })));
        building.kill().unwrap();
        building.wait().unwrap();
        halfway += usize::from(begun.exists());
        // It is there whole, or not at all.
        if place.path("large").exists() {
            assert_eq!(place.json("gallery verify large")["items"], 20_000);
            std::fs::remove_dir_all(place.path("large")).unwrap();
        }
    }
    place.json("gallery build run --tower right --data large.tsv --column b --id id --out large");
    assert_eq!(place.json("gallery verify large")["items"], 20_000);
    assert!(!place.path("large.building").exists());
    assert!(halfway > 0, "no kill came while the gallery was built");
    place.write("other.tsv", format!("id\tb\n{}", rows.replace("id", "other")));
    for _ in 0..6 {
        let add = "gallery add run large --data other.tsv --column b --id id";
        place.kill_after(add, Duration::from_millis(random.below(250)));
        let items = place.json("gallery verify large")["items"].as_u64().unwrap();
        // Each commit has as many, the last what is left.
        let added = items - 20_000;
        assert!(added == 20_000 || added.is_multiple_of(8192), "{added} of a commit");
    }
    place.json("gallery add run large --data other.tsv --column b --id id");
    assert_eq!(place.json("gallery verify large")["items"], 40_000);
}

#[cfg(unix)]
#[test]
fn files_of_queries_and_ids_are_regular_and_may_begin_with_a_mark() {
    let place = trained();
    let made = std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap();
    assert!(made.success());
    place.run("search run --from left --gallery gallery --queries pipe").fails(1, "not a regular file");
    place.run("gallery remove gallery --ids pipe").fails(1, "not a regular file");
    place.write("ids.txt", "\u{feff}sku-3\r\nsku-4\n");
    place.run("gallery remove gallery --ids ids.txt").fails(0, "2 items removed");
    // A working folder of somebody else's is left alone.
    place.write("other.building/notes.txt", "precious");
    place
        .run("gallery build run --tower right --data items.tsv --id sku --out other")
        .fails(1, "is not empty: it holds `notes.txt`");
    assert_eq!(place.read("other.building/notes.txt"), "precious");
    place
        .run("gallery build run --tower right --data items.tsv --id sku --out .")
        .fails(1, "the folder that you are in");
}

/// Two towers of one space, of which the second has learned to come to the first.
const BRIDGE: &str = "[tower.old]\nencoder = 'one'\nadapter = 'identity'\n\n[tower.new]\nencoder = 'two'\n\n\
    [[pairs]]\ntrain = 'train.tsv'\ntest = 'test.tsv'\nold = 'a'\nnew = 'b'\n\n[fit]\nmethod = 'ridge'\n";

#[test]
fn a_gallery_goes_into_another_space_with_its_ids_and_metadata() {
    let place = trained();
    let items = |gallery: &str| {
        let listed = place.json(&format!("gallery list {gallery}"));
        listed["items"].as_array().unwrap().clone()
    };
    // The same tower again: the same items, and all latents are known.
    let calls = place.read("calls").lines().count();
    place.json("gallery migrate gallery run --tower right --out again");
    assert_eq!(place.read("calls").lines().count(), calls);
    assert_eq!(items("again"), items("gallery"));
    let query = text(&place, 5);
    assert_eq!(found(&place, "--gallery again", &query), found(&place, "--gallery gallery", &query));

    // Messages name the gallery.
    place.run("gallery migrate gallery run --tower left --out left").fails(0, "gallery, column `item`: ");

    // What is added later has the columns that the first one was built with.
    let added = place.json("gallery add run again --data items.tsv");
    assert_eq!((&added["new"], &added["replaced"]), (&json!(0), &json!(40)));

    // Vectors that are latents of a tower are mapped without an encoder.
    place.write("bridge.toml", BRIDGE);
    place.json("train bridge.toml --out bridge --device cpu");
    place.write(
        "to-new.toml",
        BRIDGE.replace("adapter = 'identity'\n", "").replace("'two'\n", "'two'\nadapter = 'identity'\n"),
    );
    let to_new = place.read("to-new.toml");
    place.json("train to-new.toml --out to-new-of-other-lengths --device cpu");
    place.write("to-new.toml", to_new + "standard = 'length'\n");
    place.json("train to-new.toml --out to-new --device cpu");
    place.json("gallery build bridge --tower old --data items.tsv --column a --id sku --metadata kind --out old");
    let calls = place.read("calls").lines().count();
    place.json("gallery migrate old to-new --tower old --map --out mapped");
    place.json("gallery build to-new --tower old --data items.tsv --column a --id sku --metadata kind --out built");
    assert_eq!(place.read("calls").lines().count(), calls);
    assert_eq!(items("mapped"), items("built"));
    for (run, gallery) in [("bridge", "old"), ("to-new", "mapped"), ("to-new", "built")] {
        let line = format!("search {run} --from new --gallery {gallery} --json -k 3");
        let ran = Ran::from(place.command(&line).arg(&query).output().unwrap());
        assert_eq!(ran.json()["found"][0]["id"], "sku-5", "{gallery}");
    }
    let wrong = place.run("gallery migrate gallery to-new --tower old --map --out no");
    wrong.fails(3, "its vectors have 32 values, but tower `old` takes latents of 48");
    let wrong = place.run("gallery migrate old to-new-of-other-lengths --tower old --map --out no");
    wrong.fails(3, "fit its run with `standard = \"length\"` in [fit]");
    place.json("gallery migrate gallery run --tower right --out dry --dry-run");
    assert!(!place.path("dry").exists());
}
