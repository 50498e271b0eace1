//! The formats that pairs come in: archives, JSON, several captions an item, and the keys that choose rows.

use serde_json::json;
use std::fmt::Write;

use crate::common::Place;
use crate::train::{RECIPE, place};

/// Encoders of texts, and of files that hold texts.
pub(crate) const ENCODERS: &str = "\
[[plugin]]
name = 'mock'
[encoder.words]
plugin = 'mock'
width = 32
[encoder.picture]
plugin = 'mock'
modality = 'image'
salt = 'picture'
width = 32
";

/// A header of a tar archive, of this kind.
fn header(name: &str, kind: u8, size: usize) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

/// Adds a file to an archive.
pub(crate) fn add(tar: &mut Vec<u8>, name: &str, content: impl AsRef<[u8]>) {
    tar.extend(header(name, b'0', content.as_ref().len()));
    tar.extend(content.as_ref());
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// Words that a picture and its caption share.
pub(crate) fn words(row: usize) -> String {
    format!("w{} v{}", row % 20, row / 20 % 20)
}

#[test]
fn of_an_archive_exactly_the_broken_samples_fail() {
    let place = Place::new(ENCODERS);
    let mut expected = Vec::new();
    for shard in 0..2 {
        let mut tar = Vec::new();
        for row in shard * 500..(shard + 1) * 500 {
            let (jpg, json, picture) = (format!("{row:05}.jpg"), format!("{row:05}.json"), words(row));
            add(&mut tar, &format!("{row:05}.txt"), &picture);
            if row % 20 != 19 {
                add(&mut tar, &jpg, &picture);
                add(&mut tar, &json, format!("{{\"width\": {row}}}"));
                continue;
            }
            let words = match row / 20 % 10 {
                0 => "has no `jpg`",
                1 => {
                    add(&mut tar, &jpg, b"\xff\xd8\xff");
                    "UTF-8"
                }
                2 => {
                    add(&mut tar, &jpg, &picture);
                    add(&mut tar, &json, "{\"width\": ");
                    "json is not JSON"
                }
                3 => {
                    add(&mut tar, &jpg, &picture);
                    add(&mut tar, &json, "[]");
                    "json holds no object"
                }
                4 => {
                    add(&mut tar, &jpg, &picture);
                    add(&mut tar, &jpg, "again");
                    "is the second `jpg` of its sample"
                }
                5 => {
                    add(&mut tar, &jpg, "");
                    "has no bytes"
                }
                6 => {
                    tar.extend(header(&jpg, b'2', 0));
                    "has no `jpg`"
                }
                7 => {
                    tar.extend(header(&jpg, b'1', 0));
                    "has no `jpg`"
                }
                8 => {
                    tar.extend(header(&jpg, b'5', 0));
                    "has no `jpg`"
                }
                _ => {
                    add(&mut tar, &jpg, &picture);
                    add(&mut tar, &json, "[".repeat(1000));
                    "recursion limit"
                }
            };
            expected.push((row, shard, words));
        }
        tar.extend([0; 1024]);
        place.write(&format!("shards/{shard:05}.tar"), tar);
    }
    for data in ["shards/{00000..00001}.tar", "shards"] {
        let summary = place.json_code(&format!("encode --data {data} --column jpg --encoder picture"), 4);
        let failures = summary["failures"].as_array().unwrap();
        assert_eq!((summary["rows"].as_u64(), failures.len()), (Some(1000), expected.len()));
        for (failure, (row, shard, words)) in failures.iter().zip(&expected) {
            assert_eq!(failure["row"], row + 1, "{failure}");
            let said = format!("{} {}", failure["item"], failure["reason"]);
            assert!(said.contains(words) && said.contains(&format!("{row:05}")), "{row}: {said}");
            let is_member = !words.contains("has no `jpg`");
            assert!(!is_member || said.contains(&format!("{shard:05}.tar")), "{row}: {said}");
        }
    }
    // What was read is known again by its place.
    let summary = place.json_code("encode --data shards --column jpg --encoder picture --limit 10", 0);
    assert_eq!((&summary["rows"], &summary["cached"]), (&json!(10), &json!(10)));
    let cut = std::fs::read(place.path("shards/00000.tar")).unwrap();
    place.write("cut.tar", &cut[..192 * 512 + 100]);
    place.run("encode --data cut.tar --column jpg --encoder picture").fails(3, "cut.tar, byte ");
    place.write("small.tar.gz", b"\x1f\x8b\x08");
    place.run("encode --data small.tar.gz --encoder picture").fails(3, "decompress it first (gunzip");
}

/// A place with Karpathy's JSON of 60 images with two sentences each.
fn karpathy() -> Place {
    let place = Place::new(ENCODERS);
    let mut images = Vec::new();
    for row in 0..60 {
        place.write(&format!("pictures/val2014/{row}.jpg"), words(7 * row));
        let split = ["train", "restval", "train", "val", "test"][row % 5];
        let sentence = |id: usize| json!({"raw": format!("{} s{id}", words(7 * row)), "sentid": 2 * row + id});
        images.push(json!({"filepath": "val2014", "filename": format!("{row}.jpg"), "cocoid": row, "imgid": row,
            "split": split, "sentences": [sentence(0), sentence(1)]}));
    }
    place.write("dataset.json", json!({"images": images, "dataset": "coco"}).to_string());
    place
}

pub(crate) const KARPATHY: &str = "\
[tower.image]
encoder = 'picture'
[tower.text]
encoder = 'words'
[[pairs]]
train = { file = 'dataset.json', split = 'train+restval' }
validation = { file = 'dataset.json', split = 'val' }
test = { file = 'dataset.json', split = 'test', limit = 10 }
root = 'pictures'
where = 'cocoid != 4'
image = 'file'
text = 'caption'
[fit]
method = 'kernel-cca'
";

#[test]
fn one_file_gives_all_three_splits() {
    let place = karpathy();
    place.write("recipe.toml", KARPATHY);
    let forecast = place.json("train recipe.toml --out run --dry-run");
    let rows: Vec<u64> =
        forecast["columns"].as_array().unwrap().iter().map(|of| of["rows"].as_u64().unwrap()).collect();
    assert_eq!(rows, [72, 72, 24, 24]);
    let ran = place.run("train recipe.toml --out run --device cpu");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // The resolved recipe has all of it.
    let tested = place.json("eval run");
    assert_eq!(tested["retrieval"][1]["queries"], 10);
    let all = place.json("eval run --data dataset.json --root pictures --split test");
    assert_eq!(all["retrieval"][1]["queries"], 24);
    place.run("eval run --split test").fails(2, "--split chooses rows of --data FILE");
    let column = "--tower text --data dataset.json --split val --limit 5 --out out.npy";
    assert_eq!(place.json(&format!("embed run {column}"))["rows"], 5);
    let searched =
        place.json("search run --from text --to image --data dataset.json --root pictures --split val w1 -k 3");
    assert!(searched["found"][0]["file"].as_str().unwrap().contains("pictures/val2014/"), "{searched}");
    let built = "gallery build run --tower image --data dataset.json --root pictures --split test --out gallery";
    assert_eq!(place.json(built)["new"], 12);
}

#[test]
fn keys_that_cannot_be_are_named_with_their_line() {
    let place = karpathy();
    for (from, to, words) in [
        (
            "split = 'val' }",
            "splt = 'val' }",
            "recipe.toml:7: unknown key `splt` of `validation`; did you mean `split`?",
        ),
        (
            "split = 'val' }",
            "split = 'vla' }",
            "recipe.toml:7: dataset.json: no row is of the split `vla`; did you mean `val`",
        ),
        ("limit = 10", "limit = 10, sample = 3", "recipe.toml:8: `limit` takes the first rows, and `sample` some"),
        ("limit = 10", "limit = 0", "recipe.toml:8: `limit = 0` must be a whole number, 1 or more"),
        ("limit = 10", "seed = 10", "recipe.toml:8: `seed` is that of `sample`, which is not there"),
        ("'cocoid != 4'", "'cocoid !'", "recipe.toml:10: the filter `cocoid !` needs one of"),
        ("'cocoid != 4'", "'coco != 4'", "recipe.toml:10: dataset.json: no column `coco`; did you mean `cocoid`?"),
        ("'pictures'", "'pictrues'", "recipe.toml:9: dataset.json: there is no folder "),
        ("'pictures'", "7", "recipe.toml:9: `root = 7` must be text, in quotes (in [[pairs]])"),
        (
            "text = 'caption'",
            "text = ['caption', 'caption']",
            "recipe.toml:12: `text` of [[pairs]] lists column `caption` twice",
        ),
        (
            "text = 'caption'",
            "text = []",
            "recipe.toml:12: `text` of [[pairs]] must be text, in quotes: a column, or a list",
        ),
        ("file = 'dataset.json', split = 'val'", "split = 'val'", "`validation` is a table without `file`"),
        ("[tower.text]", "[tower.split]", "this name is reserved for a key of [[pairs]]"),
    ] {
        assert!(KARPATHY.contains(from), "{from}");
        place.write("recipe.toml", KARPATHY.replacen(from, to, 1));
        place.run("train recipe.toml --out run --device cpu").fails(3, words);
    }
    let place = self::place();
    place.write("fusion.toml", RECIPE.replace("left = 'a'", "left = 'a'\nsplit = 'train'"));
    place.run("train fusion.toml --out run").fails(3, "fusion.toml:10: train.tsv: there is no column `split`");
}

#[test]
fn several_captions_of_an_item_are_rows() {
    let place = Place::new(ENCODERS);
    let (mut lines, mut columns) = (String::new(), "file_name,caption_1,caption_2\n".to_owned());
    for row in 0..12 {
        let (name, said) = (format!("{row} a name.wav"), words(11 * row));
        place.write(&format!("files/{name}"), &said);
        writeln!(lines, "{}", json!({"file": format!("files/{name}"), "captions": [said, format!("{said} more")]}))
            .unwrap();
        writeln!(columns, "{name},{said},{}", if row == 3 { String::new() } else { format!("{said} again") }).unwrap();
    }
    place.write("list.jsonl", lines);
    place.write("clotho.csv", columns);
    let towers = KARPATHY.split("[[pairs]]").next().unwrap();
    let recipe = |pairs: &str| format!("{towers}[[pairs]]\n{pairs}[fit]\nmethod = 'kernel-cca'\n");
    place.write("list.toml", recipe("train = 'list.jsonl'\ntest = 'list.jsonl'\nimage = 'file'\ntext = 'captions'\n"));
    let columns = "image = 'file_name'\ntext = ['caption_1', 'caption_2']\nroot = 'files'\n";
    place.write("columns.toml", recipe(&format!("train = 'clotho.csv'\ntest = 'clotho.csv'\n{columns}")));
    for (name, pairs) in [("list", 24), ("columns", 23)] {
        let ran = place.run(&format!("train {name}.toml --out {name} --device cpu"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let tested = place.json(&format!("eval {name}"));
        assert_eq!(
            (&tested["retrieval"][1]["queries"], &tested["retrieval"][1]["gallery"]),
            (&json!(pairs), &json!(12))
        );
    }
    let embedded = place.json("embed columns --tower text --data clotho.csv --out out.npy");
    assert_eq!(embedded["rows"], 23);
    assert_eq!(place.json("encode --data list.jsonl --encoder words")["rows"], 24);
    assert_eq!(place.json("encode --data list.jsonl --encoder picture --column file")["rows"], 12);
}

#[test]
fn what_names_a_file_or_a_column_in_an_unusual_way_is_found() {
    let place = Place::new(ENCODERS);
    place.write("a b.jpg", "w1 v1");
    let folder = place.path("").display().to_string();
    place.write(
        "urls.csv",
        format!(
            "file,caption\nfile://{folder}/a%20b.jpg,one\nfile://localhost{folder}/a b.jpg,two\nhttp://x/a.jpg,three\n"
        ),
    );
    let encoded = place.json_code("encode --data urls.csv --encoder picture --column file", 4);
    assert_eq!((&encoded["encoded"], &encoded["duplicates"], &encoded["failed"]), (&json!(1), &json!(1), &json!(1)));
    place.run("data urls.csv").fails(4, "row 3: cannot read");
    place.run("data urls.csv").fails(4, "the cell is a URL, and only files are read");
    // An object of a JSON line; and a key that only some of very many rows have.
    let nested = json!({"image": {"file": "a b.jpg"}, "text": "w1"}).to_string();
    place.write("nested.jsonl", nested);
    assert_eq!(place.json("data nested.jsonl")["items"]["column"], "image.file");
    let rows = (0..300).map(|row| json!({format!("key{row}"): "x", "words": format!("w{row}")}).to_string() + "\n");
    place.write("keys.jsonl", rows.collect::<String>());
    assert_eq!(place.json_code("data keys.jsonl --captions key299", 4)["captions"]["captions"], 1);
    // Of a folder it is told what is not read, or read with what.
    place.write("mixed/a.csv", "caption\none\n");
    place.write("mixed/b.jsonl", "{\"caption\": \"two\"}\n");
    place.run("data mixed").fails(0, "note: all are read as one table: a.csv, b.jsonl; name a file to read one");
}

#[test]
fn what_is_in_a_file_and_in_another_is_said() {
    let place = karpathy();
    std::fs::remove_file(place.path("pictures/val2014/3.jpg")).unwrap();
    place.write("pictures/val2014/4.jpg", "");
    place.write("copy.jpg", words(0));
    place.write("other.jpg", "unlike all");
    let row = |file: &str, caption: String| json!({"file": file, "caption": caption}).to_string();
    let others = [row("copy.jpg", format!("{} s1", words(35))), row("other.jpg", "S0 W0, V0!".to_owned())];
    place.write("other.jsonl", others.join("\n"));
    let survey = place.json_code("data dataset.json --root pictures --against other.jsonl", 4);
    assert_eq!((&survey["format"], &survey["rows"]), (&json!("Karpathy's JSON"), &json!(120)));
    let items = &survey["items"];
    assert_eq!((&items["distinct"], &items["missing"], &items["empty"]), (&json!(60), &json!(1), &json!(1)));
    assert_eq!(items["contents"], 58);
    assert_eq!(survey["captions"]["per_item"], json!([2, 2, 2.0]));
    let problems = survey["problems"].as_array().unwrap();
    assert_eq!((&problems[0]["row"], &problems[1]["row"]), (&json!(7), &json!(9)));
    assert!(problems[0]["reason"].as_str().unwrap().contains("val2014/3.jpg"), "{problems:?}");
    let common = &survey["against"];
    assert_eq!(common["items"], json!([[1, 1]]));
    assert_eq!(common["captions"], json!([[12, 1]]));
    assert_eq!(common["near"][0]["rows"], json!([1, 2]));
    let said = place.run("data dataset.json --root pictures --against other.jsonl").stdout;
    for words in [
        "dataset.json: Karpathy's JSON, 120 rows",
        "items: 60 in `file`, 58 by content, 1 missing, 1 of zero bytes",
        "captions: 120 in `caption`, 2 an item, 0 repeated",
        "in common with other.jsonl: 1 item, 1 caption, 1 caption that is nearly the same",
        "row 1 is nearly row 2 there: \"w0 v0 s0\", \"S0 W0, V0!\"",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let clean = place.json("data dataset.json --root pictures --split train --read");
    assert_eq!((&clean["items"]["contents"], &clean["problems"]), (&json!(24), &json!([])));
    place.write("z.npy", "x");
    place.run("data z.npy").fails(3, "z.npy: not a .npy file");
}

#[test]
fn what_says_nothing_and_what_is_cut_is_named() {
    let place = Place::new(ENCODERS);
    place.write("a.png", "x");
    place.write("gaps.csv", "file,caption\na.png,a dog\n,a cat\na.png,\n,\na.png,\"  \"\n");
    let said = place.run("data gaps.csv");
    for words in [
        "column `file` is empty in 2 rows: row 2, 4",
        "column `caption` is empty in 2 rows: row 3, 4",
        "column `caption` has white space alone in 1 row: row 5",
        "items: 1 in `file`, 0 missing",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    let survey = place.json_code("data gaps.csv", 4);
    let gap = json!({"column": "file", "what": "empty", "rows": 2, "first": [2, 4]});
    assert_eq!((&survey["gaps"][0], survey["gaps"].as_array().unwrap().len()), (&gap, 3));
    // An archive that was cut behind a member.
    let mut tar = Vec::new();
    for row in 0..3 {
        add(&mut tar, &format!("{row}.jpg"), words(row));
        add(&mut tar, &format!("{row}.txt"), words(row));
    }
    place.write("cut.tar", &tar);
    let ran = place.run("data cut.tar");
    assert!(ran.stdout.contains("note: the archive has no end mark"), "{}", ran.stdout);
    place.run("encode --data cut.tar --column jpg --encoder picture").fails(0, "cut.tar: the archive has no end mark");
    tar.extend([0; 1024]);
    place.write("whole.tar", &tar);
    assert_eq!(place.json("data whole.tar")["notes"], json!([]));
    // Of two tables of metadata, one is read.
    place.write("both/metadata.csv", "file_name,text\na.png,csv\n");
    place.write("both/metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": \"jsonl\"}\n");
    place.write("both/a.png", "x");
    place.run("data both").fails(0, "metadata.jsonl beside metadata.csv is not read: remove the one that is not meant");
    // Vectors that were made elsewhere.
    place.write("texts.tsv", "text\nw1\nw2\nw1\n");
    place.run("encode --data texts.tsv --encoder words");
    place.run("cache export --data texts.tsv --encoder words --out z.npy");
    let said = place.run("data z.npy --read");
    let words = "the array: 3 rows of 32 values, <f4; 0 rows of NaN alone, 0 not finite, 0 far from all others, 0 of \
                 zeros, 1 repeated";
    assert!(said.stdout.contains(words), "{}{}", said.stdout, said.stderr);
}
