//! `fusemix encode` and the cache: every item once, whatever happens.

use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

use crate::common::{Place, copy_folder, interrupt, repository};
use crate::seed::Random;

const MOCK: &str = "[[plugin]]\nname = 'mock'\n[encoder.mock]\nplugin = 'mock'\ncalls = 'calls'\n";

/// A table with a header and a column `text`.
fn table(rows: usize) -> String {
    (0..rows).fold("id\ttext\n".into(), |mut table, row| {
        writeln!(table, "{row}\titem {row} of the table").unwrap();
        table
    })
}

#[test]
fn each_distinct_item_is_encoded_once_and_a_second_run_calls_nobody() {
    let place = Place::new(MOCK);
    place.write("items.tsv", "id\ttext\n1\ta cat\n2\ta dog\n3\ta cat\n4\ta bird\n");
    let summary = place.json("encode --data items.tsv --encoder mock");
    assert_eq!((&summary["rows"], &summary["encoded"], &summary["duplicates"]), (&json!(4), &json!(3), &json!(1)));
    assert_eq!(place.read("calls").lines().count(), 3);

    let summary = place.json("encode --data items.tsv --encoder mock");
    assert_eq!((&summary["encoded"], &summary["cached"]), (&json!(0), &json!(4)));
    assert_eq!(place.read("calls").lines().count(), 3);

    let listed = place.json("cache");
    assert_eq!(listed["entries"][0]["rows"], 3);
    assert_eq!(listed["entries"][0]["encoders"], json!(["mock"]));
    assert_eq!(place.run("cache verify").code, 0);
}

#[test]
fn another_fingerprint_is_another_entry() {
    let place = Place::new(MOCK);
    place.write("items.tsv", table(10));
    place.json("encode --data items.tsv --encoder mock");
    place.write("plugins.toml", format!("{MOCK}salt = 'other'\n"));
    assert_eq!(place.json("encode --data items.tsv --encoder mock")["encoded"], 10);
    assert_eq!(place.json("cache")["entries"].as_array().unwrap().len(), 2);
}

#[test]
fn an_entry_that_a_crash_left_unclosed_is_repaired_by_the_next_run() {
    let place = Place::new(MOCK);
    let golden = repository().join("tests/golden/cache-0.1");
    copy_folder(&golden, &place.path(".fusemix/cache"));
    place.write("items.tsv", "text\na cat\nlate item 2\nnew\n");
    let summary = place.json("encode --data items.tsv --encoder mock");
    assert_eq!((&summary["cached"], &summary["encoded"]), (&json!(2), &json!(1)), "what was paid for is found");
    assert_eq!(place.run("cache verify").code, 0);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_item_and_does_not_hang() {
    let place = Place::new(&format!("{MOCK}modality = 'image'\n"));
    assert!(std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    place.write("items.tsv", "file\npipe\n");
    let ran = place.run("encode --data items.tsv --column file --encoder mock");
    ran.fails(4, "not a regular file");
}

#[test]
fn nothing_is_sent_for_which_the_disk_has_no_room() {
    let place = Place::new(&format!("{MOCK}width = 1000000000000\n"));
    place.write("items.tsv", table(10));
    // 8 of 4 TB each.
    let ran = place.run("encode --data items.tsv --encoder mock");
    ran.fails(1, "storing the results of pending requests needs 29803GiB");
    ran.fails(1, "free some space or use another folder");
    assert_eq!(place.read("calls"), "");
}

#[test]
fn a_bad_item_fails_alone_and_is_not_sent_again_unless_asked() {
    let place = Place::new(MOCK);
    place.write("items.tsv", b"id\ttext\n1\tfine\n2\t \n3\t\xff\xfe\n4\tfine too\n");
    let ran = place.run("encode --data items.tsv --encoder mock --json");
    ran.fails(4, "items.tsv: row 2, \" \": empty text");
    let summary = ran.json();
    assert_eq!((&summary["encoded"], &summary["failed"]), (&json!(2), &json!(2)));
    assert_eq!(
        summary["failures"][1],
        json!({"row": 3, "item": "\"\u{fffd}\u{fffd}\"", "reason": "invalid UTF-8 at byte 0: save it as UTF-8",
               "passing": false})
    );

    let again = place.run("encode --data items.tsv --encoder mock --json");
    assert_eq!((again.code, &again.json()["failed"]), (4, &json!(2)));
    // What is no text is not sent at all.
    assert_eq!(place.read("calls").lines().count(), 3);
    place.write("other.toml", place.read("plugins.toml"));
    place
        .run("encode --data items.tsv --encoder mock --plugins other.toml")
        .fails(4, "`fusemix encode --data items.tsv --column text --encoder mock --plugins=other.toml --retry-failed`");
    place.run("encode --data items.tsv --encoder mock --dry-run").fails(0, "1 unreadable");
    place.run("encode --data items.tsv --encoder mock --retry-failed").fails(4, "2 failed");
    assert_eq!(place.read("calls").lines().count(), 4);
}

#[test]
fn files_that_cannot_be_read_fail_alone() {
    let place = Place::new(&format!("{MOCK}modality = 'audio'\n"));
    place.write("sounds/a.ogg", "la la");
    place.write("items.csv", "file,id\nsounds/a.ogg,1\nsounds/b.ogg,2\nsounds,3\n,4\n");
    let ran = place.run("encode --data items.csv --encoder mock --json");
    ran.fails(4, "sounds/b.ogg");
    let summary = ran.json();
    assert_eq!((&summary["encoded"], &summary["failed"]), (&json!(1), &json!(3)));
    place.write("sounds/b.ogg", "le le");
    assert_eq!(place.run("encode --data items.csv --encoder mock --json").json()["encoded"], 1);
}

#[test]
fn a_column_that_is_hardly_meant_is_warned_of() {
    for (modality, cell, warning) in [
        ("text", "a.png", "names files, but the names themselves are taken for the texts"),
        ("text", "a.png or so", ""),
        ("image", "a.png or so", "should name files, but the first ones do not exist"),
        ("image", "a.png", ""),
    ] {
        let place = Place::new(&format!("{MOCK}modality = '{modality}'\n"));
        place.write("a.png", "a picture");
        place.write("items.tsv", format!("item\n{cell}\n"));
        let ran = place.run("encode --data items.tsv --encoder mock");
        assert_eq!(ran.stderr.contains("is this the right column?"), !warning.is_empty(), "{}", ran.stderr);
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    }
}

#[test]
fn mistakes_in_the_data_are_named() {
    let place = Place::new(MOCK);
    place.write("items.tsv", "id\ttext\n1\ta\n2\n");
    place.run("encode --data items.tsv --encoder mock").fails(3, "items.tsv:3: 1 field, but the header has 2");
    place.run("encode --data nowhere.tsv --encoder mock").fails(3, "cannot read nowhere.tsv");
    place.write("items.tsv", "id\twords\n1\ta\n");
    place.run("encode --data items.tsv --encoder mock").fails(3, "cannot tell which column holds the text items");
    place.run("encode --data items.tsv --encoder mock --column wrods").fails(3, "did you mean `words`?");
    place.run("encode --data items.tsv --encoder mok").fails(3, "no encoder is called `mok`; did you mean `mock`?");
}

#[test]
fn a_modality_of_ones_own_takes_texts_or_files() {
    let place = Place::new(&format!("{MOCK}modality = 'tabular'\n"));
    place.write("records/a.json", "{\"age\": 3}");
    place.write("records/b.json", "{\"age\": 4}");
    place.write("texts.tsv", "record\n{\"age\": 1}\n{\"age\": 2}\n");
    place.write("files.tsv", "record\nrecords/a.json\nrecords/b.json\nrecords/none.json\n");
    assert_eq!(place.json("encode --data texts.tsv --encoder mock")["encoded"], 2);
    let summary = place.json_code("encode --data files.tsv --encoder mock", 4);
    assert_eq!((&summary["encoded"], &summary["failures"][0]["row"]), (&json!(2), &json!(3)));
    let mut seen: Vec<String> = place.read("calls").lines().map(str::to_owned).collect();
    seen.sort();
    assert_eq!(seen, ["{\"age\": 1}", "{\"age\": 2}", "{\"age\": 3}", "{\"age\": 4}"]);
}

#[test]
fn a_file_that_looks_as_it_did_is_not_read_again_unless_it_is_to_be_verified() {
    let place = Place::new(&format!("{MOCK}modality = 'image'\n"));
    place.write("a.png", "first");
    place.write("items.tsv", "file\na.png\n");
    // A file that has just changed may change again within the clock's grain.
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(place.json("encode --data items.tsv --encoder mock")["encoded"], 1);
    // Known by path, size and times: it need not even be readable.
    let reads = || {
        let trace = place.json("encode --data items.tsv --encoder mock");
        (trace["cached"].clone(), trace["encoded"].clone())
    };
    assert_eq!(reads(), (json!(1), json!(0)));
    place.write("a.png", "other");
    assert_eq!(reads(), (json!(0), json!(1)), "another content of the same size is seen");
    let verified = place.json("encode --data items.tsv --encoder mock --verify");
    assert_eq!(verified["cached"], 1);
}

#[test]
fn killed_at_ten_moments_every_item_is_stored_once() {
    let place = Place::new(&format!("{MOCK}delay_ms = 4\nbatch = 7\n"));
    place.write("items.tsv", table(2_000));
    let random = Random::new("kills of an encoding");
    for kill in 0..10 {
        // Moments all over a run.
        let moment = Duration::from_millis(20 + 12 * kill + random.below(60));
        place.kill_after("encode --data items.tsv --encoder mock", moment);
        assert_eq!(place.run("cache verify").code, 0);
    }
    let summary = place.json("encode --data items.tsv --encoder mock");
    assert!(summary["cached"].as_u64().unwrap() > 0, "nothing survived the kills: {summary}");
    assert_eq!(summary["failed"], 0);
    assert_eq!(place.json("cache")["entries"][0]["rows"], 2_000);
    assert_eq!(
        place.json("cache verify")["entries"][0],
        json!({
            "fingerprint": place.json("cache")["entries"][0]["fingerprint"], "rows": 2_000, "damaged": 0,
            "damaged_records": 0, "lost_rows": 0
        })
    );
    // A kill costs at most the batch that is encoded and the one whose answer is being stored.
    assert!(place.read("calls").lines().count() <= 2_000 + 10 * 2 * 7);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_cleanly_and_the_next_run_goes_on() {
    let place = Place::new(&format!("{MOCK}delay_ms = 20\n"));
    place.write("items.tsv", table(1_000));
    let mut running = place.start("encode --data items.tsv --encoder mock");
    while place.read("calls").lines().count() < 50 {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&running);
    assert_eq!(running.wait().unwrap().code(), Some(130));
    let paid = place.read("calls").lines().count();
    assert!(paid < 1_000);
    assert_eq!(place.json("encode --data items.tsv --encoder mock")["cached"], paid);
    assert_eq!(place.read("calls").lines().count(), 1_000);
}

#[test]
fn a_second_process_on_one_entry_is_refused_clearly() {
    let place = Place::new(&format!("{MOCK}delay_ms = 500\n"));
    place.write("items.tsv", table(200));
    let mut running = place.start("encode --data items.tsv --encoder mock");
    while place.read("calls").is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    place.run("encode --data items.tsv --encoder mock").fails(1, "is in use by another fusemix process");
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn a_damaged_row_is_found_and_encoded_again() {
    let place = Place::new(MOCK);
    place.write("items.tsv", table(20));
    place.json("encode --data items.tsv --encoder mock");
    let entry = place.json("cache")["entries"][0]["fingerprint"].as_str().unwrap().to_owned();
    let segment = place.path(&format!(".fusemix/cache/{entry}/segment-000000.f32"));
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[16 * 4 * 3] ^= 0x10;
    std::fs::write(&segment, bytes).unwrap();
    place.run("cache verify").fails(1, "1 of 20 rows damaged");
    let copy = place.path("copy");
    copy_folder(&place.path(".fusemix/cache"), &copy);
    let summary = place.json("encode --data items.tsv --encoder mock --cache copy");
    assert_eq!((&summary["damaged"], &summary["encoded"], &summary["cached"]), (&json!(1), &json!(1), &json!(19)));
    std::fs::File::options()
        .write(true)
        .open(copy.join(&entry).join("segment-000000.f32"))
        .unwrap()
        .set_len(100)
        .unwrap();
    assert_eq!(place.json("encode --data items.tsv --encoder mock --cache copy")["damaged"], 19);
    assert_eq!(place.run("cache verify --cache copy").code, 0);
    place.run("cache verify --repair").fails(0, "1 damaged row dropped, 19 left");
    assert_eq!(place.json("encode --data items.tsv --encoder mock")["encoded"], 1);
    assert_eq!(place.run("cache verify").code, 0);
}

#[test]
fn latents_are_exported_in_file_order_with_failed_rows_named() {
    let place = Place::new(MOCK);
    place.write("items.tsv", "text\ta\none\tx\n \tx\none two\tx\n");
    place
        .run("cache export --data items.tsv --encoder mock --column text --out latents.safetensors")
        .fails(4, "1 failed");
    let bytes = std::fs::read(place.path("latents.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["failed_indices"], "1");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("latents").unwrap().shape(), [3, 16]);
    place.run("cache export --data items.tsv --encoder mock --column text --out latents.npy").fails(4, "1 failed");
    assert!(place.path("latents.npy").is_file());
    place
        .run("cache export --data items.tsv --encoder mock --out latents.txt")
        .fails(1, "must end in .safetensors, .npy or .parquet");
}
