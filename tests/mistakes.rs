//! The natural mistakes of a user: each message says where, what, and what next, with an exit code for scripts.

use crate::train::{ENCODERS, RECIPE, place};

#[test]
fn what_a_command_is_given_in_the_wrong_place_is_told() {
    let place = place();
    place.run("train fusion.toml --out run").fails(0, "");
    place.run("gallery build run --tower left --data test.tsv --out gallery").fails(0, "");
    let search = "search run --from left --gallery gallery";
    let cases = [
        ("eval gallery", 3, "gallery is a gallery, not a run; commands take the run first"),
        ("search gallery --from left --gallery run w1", 3, "run holds no gallery: it is a run; build a gallery of it"),
        ("gallery list run", 3, "it is a run; build a gallery of it with `fusemix gallery build`"),
        ("eval nowhere", 3, "nowhere is no run: there is no such folder; create one with `fusemix train RECIPE --out"),
        ("eval fusion.toml", 3, "fusion.toml is a file, and a run is a folder"),
        ("gallery list nowhere", 3, "there is no such folder; build one with `fusemix gallery build`"),
        (&format!("{search} -k 0 w1"), 2, "a whole number of items, 1 or more"),
        (&format!("{search} --k 2 w1"), 0, "  2  "),
        (&format!("{search} --where nocol=3 w1"), 3, "no column `nocol`"),
        (&format!("{search} w1 v2"), 0, "searching for 2 words one by one; for all of them as one text, put them in"),
        ("train plugins.toml --out other", 3, "[plugin] belongs into plugins.toml; a recipe has [tower.NAME] and"),
        ("--plugins fusion.toml train fusion.toml --out other", 3, "`tower` belongs into a recipe; plugins.toml has"),
        ("--cache plugins.toml encode --data test.tsv --encoder one --column a", 1, "and the cache is a folder"),
        ("encode --data test.tsv --encoder one --column c", 3, "the first line of the file names the columns"),
    ];
    for (command, code, words) in cases {
        place.run(command).fails(code, words);
    }
    let header = place.read("test.tsv").lines().take(2).collect::<Vec<_>>().join("\n");
    place.write("single.tsv", header + "\n");
    place.run("eval run --data single.tsv").fails(0, "with 1 item to choose from, R@10 is 100 % whatever the run");
    // What is read, and what a run has, is not written over.
    let classify = "classify run --data test.tsv --from right --to left --column b --labels a";
    for out in ["--out test.tsv", "--page test.tsv", "--out run/run.json"] {
        place.run(&format!("{classify} {out}")).fails(2, "would replace");
    }
    place.run("report run --out run/adapters.safetensors").fails(2, "would replace a file of the run run");
    place.write("sheet.xlsx", "PK");
    place.run("data sheet.xlsx").fails(3, "this is a spreadsheet: save the sheet as CSV");
    place.write("swept.toml", format!("seeds = 2\n{RECIPE}"));
    place.run("train swept.toml --out other").fails(3, "swept.toml:1: `seeds` is a key of a sweep: `fusemix sweep");
    // A gallery without its log.
    place.write("gallery/log", "");
    for command in ["gallery list gallery", "gallery verify gallery", "gallery add run gallery --data test.tsv"] {
        place.run(command).fails(1, "gallery has no commit, though its files have");
    }
    // Nothing of all this made a run.
    assert!(!place.path("other").exists());
}

#[test]
fn a_run_that_is_not_whole_or_came_from_elsewhere_says_so() {
    let place = place();
    place.run("train fusion.toml --out run").fails(0, "");
    let adapters = std::fs::read(place.path("run/adapters.safetensors")).unwrap();
    place.write("run/adapters.safetensors", [&adapters[..], b"x"].concat());
    place.run("eval run").fails(1, "is not the file that the training wrote");
    std::fs::remove_file(place.path("run/adapters.safetensors")).unwrap();
    place.run("eval run").fails(1, "run has no adapters.safetensors, which the training wrote; copy it from where");
    place.write("run/adapters.safetensors", adapters);
    std::fs::rename(place.path("test.tsv"), place.path("moved.tsv")).unwrap();
    place.run("eval run").fails(3, "which the run names as its test file, is not there");
    place.run("eval run --data moved.tsv").fails(0, "mean of R@1, 5, 10");
    std::fs::rename(place.path("moved.tsv"), place.path("test.tsv")).unwrap();
    std::fs::remove_file(place.path("run/recipe.toml")).unwrap();
    place.run("eval run --data test.tsv").fails(1, "run has no recipe.toml, which the training wrote");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("absent", place.path("link")).unwrap();
        place.run("train fusion.toml --out link").fails(1, "link is a link to a folder that is not there");
    }
}

#[test]
fn what_a_file_is_written_wrongly_for_is_told() {
    let place = place();
    let plugins = |from: &str, to: &str| {
        assert!(ENCODERS.contains(from));
        place.write("mistake.toml", ENCODERS.replacen(from, to, 1));
        place.run("--plugins mistake.toml train fusion.toml --out run")
    };
    plugins("[[plugin]]", "[plugin]")
        .fails(3, "mistake.toml:1: plugins.toml may have several plugin: write [[plugin]]");
    plugins("[encoder.two]", "[encoder.one]").fails(3, "mistake.toml:8: [encoder.one] is here a second time");
    plugins("width = 48", "width = 48\nwidth = 40").fails(3, "mistake.toml:7: `width` is set a second time");
    plugins("name = 'mock'", "name = 'mock'\npath = '.'").fails(10, "is a folder; `path` names the library in it");
    let recipe = |from: &str, to: &str| {
        assert!(RECIPE.contains(from));
        place.write("mistake.toml", RECIPE.replacen(from, to, 1));
        place.run("train mistake.toml --out run")
    };
    recipe("[[pairs]]", "[pairs]").fails(3, "mistake.toml:5: a recipe may have several pairs: write [[pairs]]");
    recipe("[tower.left]", "[towers.left]").fails(3, "mistake.toml:1: unknown key `towers`; did you mean `tower`?");
    let table = place.read("train.tsv");
    place.write("train.csv", table.replace('\t', "    "));
    recipe("train.tsv", "train.csv").fails(3, "2 cells a line are separated by spaces");
    place.write("train.csv", b"\x1f\x8b\x08 and so on");
    recipe("train.tsv", "train.csv").fails(3, "this is compressed; decompress it first");
    place.write("train.csv", b"PK\x03\x04 and so on");
    recipe("train.tsv", "train.csv").fails(3, "save the sheet as CSV");
    place.write("train.tsv", table.split_once('\n').unwrap().1);
    recipe("width = 32", "width = 16").fails(3, "the first line of the file names the columns");
    place.write("train.tsv", b"a\tb\ncaf\xe9\tx\n");
    place.run("encode --data train.tsv --encoder one --column a").fails(4, "invalid UTF-8 at byte 3: save it as UTF-8");
    assert!(!place.path("run").exists());
}
