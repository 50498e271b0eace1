//! `fusemix classify`: classes that nothing was trained on.

use serde_json::json;
use std::fmt::Write;

use crate::common::Place;
use crate::train::ENCODERS;

const RECIPE: &str = "\
[tower.image]
encoder = 'two'
[tower.text]
encoder = 'one'
[[pairs]]
train = 'train.tsv'
image = 'file'
text = 'caption'
[fit]
method = 'ridge'
";

/// Files that hold two words, beside the same words; a run that has seen others; and items whose class is a word.
fn place() -> Place {
    let place = Place::new(&ENCODERS.replace("salt = 'two'", "salt = 'two'\nmodality = 'image'"));
    place.write("fusion.toml", RECIPE);
    let words = |row: usize| format!("w{} v{}", row % 20, row / 20);
    let (mut train, mut test) = ("file\tcaption\n".to_owned(), "file\tlabel\n".to_owned());
    for row in 0..400 {
        place.write(&format!("files/{row}.png"), words(row));
        // All words were seen, and of each with the others most.
        match (row / 20 + row % 20) % 10 < 7 {
            true => writeln!(train, "files/{row}.png\t{}", words(row)).unwrap(),
            false => writeln!(test, "files/{row}.png\tw{}", row % 20).unwrap(),
        }
    }
    place.write("train.tsv", train);
    place.write("test.tsv", test);
    place.run("train fusion.toml --out run").fails(0, "");
    place
}

#[test]
fn items_are_of_the_nearest_class() {
    let place = place();
    let classify = "classify run --data test.tsv";
    let by_column = place.json(&format!("{classify} --labels label"));
    assert_eq!(by_column["classes"].as_array().unwrap().len(), 20);
    assert_eq!(by_column["towers"], json!(["image", "text"]));
    let accuracy = &by_column["accuracy"];
    assert_eq!([&accuracy["items"], &accuracy["classes"]], [&json!(120), &json!(20)]);
    let top = |of: &serde_json::Value| of["accuracy"]["top"]["1"].as_f64().unwrap();
    assert!(top(&by_column) > 5.0 * 100.0 / 20.0, "{accuracy}");
    // All classes have equally many items.
    assert!((top(&by_column) - accuracy["mean_per_class"].as_f64().unwrap()).abs() < 1e-9);
    let counted: u64 = by_column["confusion"].as_array().unwrap().iter().map(|of| of["items"].as_u64().unwrap()).sum();
    assert_eq!(counted, 120);
    let right = |of: &serde_json::Value| {
        of["items"].as_array().unwrap().iter().filter(|item| item["label"] == item["nearest"][0]["class"]).count()
    };
    assert!((right(&by_column) as f64 / 1.2 - top(&by_column)).abs() < 1e-9);

    // A list says the same, in its own order; other names stand for those in the data.
    let lines = |line: &dyn Fn(usize) -> String| (0..20).rev().map(line).collect::<String>();
    place.write("labels.txt", lines(&|class| format!("w{class}\n")));
    assert_eq!(top(&place.json(&format!("{classify} --labels labels.txt"))), top(&by_column));
    let renamed = |class| if class == 16 { "something else".to_owned() } else { format!("w{class}") };
    place.write("ids.txt", lines(&|class| format!("w{class}\t{}\n", renamed(class))));
    let renamed = place.json(&format!("{classify} --labels ids.txt"));
    assert_eq!(renamed["classes"][3], "something else");
    assert!(top(&renamed) < top(&by_column));

    // Sentences around the names: their mean stands for the class.
    place.write("templates.txt", "{} v3\n{} v7\n\n{} v11\n");
    assert!(top(&place.json(&format!("{classify} --labels label --templates templates.txt"))) > 50.0);
    let imagenet = place.json(&format!("{classify} --labels label --templates imagenet --dry-run"));
    assert_eq!(imagenet["queries"]["items"], 20 * 80, "{imagenet}");

    // The other way: texts, by files that stand for the classes.
    let mut shown = "label\tfile\n".to_owned();
    (0..20)
        .for_each(|class| writeln!(shown, "w{class}\tfiles/{class}.png\nw{class}\tfiles/{}.png", class + 20).unwrap());
    place.write("shown.tsv", shown);
    place.write(
        "texts.tsv",
        (0..20).fold("caption\tlabel\n".to_owned(), |all, class| all + &format!("w{class} v9\tw{class}\n")),
    );
    let texts = place.json("classify run --data texts.tsv --from text --to image --labels shown.tsv");
    assert!(top(&texts) > 50.0, "{texts}");

    // A table and a page.
    place.run(&format!("{classify} --labels label --out out.tsv --page page.html")).fails(0, "top-1 of 120 items");
    assert_eq!(place.read("out.tsv").lines().count(), 121);
    assert!(place.read("out.tsv").starts_with("row\titem\tlabel\tpredicted\tscore\tothers\n1\tfiles/7.png\tw7\t"));
    assert!(place.read("page.html").contains("<th class=\"row\" scope=\"row\">w19</th>"));
}

#[test]
fn mistakes_of_classes_are_named() {
    let place = place();
    place.write("labels.txt", "w14\nw15\n");
    let classify = |more: &str| place.run(&format!("classify run --data test.tsv {more}"));
    let unknown = "test.tsv: row 1 is of class `w7`, which labels.txt does not have";
    classify("--labels labels.txt --truth label").fails(3, unknown);
    // All that is missing is named at once, and can be left out.
    classify("--labels labels.txt --truth label").fails(3, " (6 rows); nor does it have `w");
    let left = "classify run --data test.tsv --labels labels.txt --truth label --without-unlisted";
    let left_out = place.json(left);
    assert_eq!((&left_out["unlisted"], &left_out["accuracy"]["items"]), (&json!(108), &json!(12)), "{left_out}");
    place.run(&format!("{left} --out left.tsv")).fails(0, "108 items of other classes, which do not count");
    let labels = |line: &str| line.split('\t').nth(2).unwrap().to_owned();
    assert_eq!(place.read("left.tsv").lines().skip(1).map(labels).filter(|label| label == "w7").count(), 6);
    // A column that nobody named may be about something else.
    classify("--labels labels.txt").fails(0, unknown);
    let ran = classify("--labels labels.txt --truth none");
    assert!(ran.code == 0 && !ran.stderr.contains(unknown), "{}", ran.stderr);
    classify("--labels labels.csv").fails(3, "cannot read labels.csv");
    classify("--labels lable").fails(3, "no column `lable`; did you mean `label`?");
    place.write("one.txt", "w14\n");
    classify("--labels one.txt").fails(3, "a classification needs at least two classes, and it names 1");
    place.write("twice.txt", "w14\nw15\nw14\n");
    classify("--labels twice.txt").fails(3, "`w14` is there twice");
    place.write("templates.txt", "a photo of a\n");
    classify("--labels label --templates templates.txt").fails(3, "`a photo of a` has no {} for the class's name");
    classify("--labels label --to image --from text --column file").fails(3, "name a table with the columns `label`");
    place.write("tags.tsv", "file\ttags\nfiles/14.png\t[\"w14\", \"w15\"]\nfiles/15.png\t[\"w15\"]\n");
    for labels in ["tags", "labels.txt --truth tags"] {
        let tags = place.run(&format!("classify run --data tags.tsv --labels {labels}"));
        tags.fails(3, "the cells of column `tags` are lists, and an item has one class here");
    }
    // Names themselves, and a sentence itself.
    let named = place.json("classify run --data test.tsv --labels w14,w15 --truth none");
    assert_eq!(named["classes"], json!(["w14", "w15"]));
    let mut command = place.command("classify run --data test.tsv --labels w14,w15 --truth none --dry-run --json");
    command.args(["--templates", "{} v3"]);
    assert_eq!(crate::common::Ran::from(command.output().unwrap()).json()["queries"]["items"], 2);
    // Without classes in the data, the nearest ones are all there is to say.
    place.write("plain.tsv", "file\nfiles/14.png\nfiles/none.png\n");
    let plain = place.run("classify run --data plain.tsv --labels labels.txt");
    plain.fails(4, "1 item of image, 2 classes of text, 1 without a latent");
    plain.fails(4, "files/14.png: w");
    place
        .run("classify run --data plain.tsv --labels labels.txt --page page.html")
        .fails(3, "no column says which class an item is of");
    assert!(!place.path("page.html").exists());
}
