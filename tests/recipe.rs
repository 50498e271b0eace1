//! fusion.toml: mistakes are reported with file and line, before anything is paid for.

use crate::precomputed::precomputed;
use crate::train::{RECIPE, place};

#[test]
fn an_impossible_recipe_costs_nothing() {
    let place = place();
    precomputed(&place, "latents.safetensors", 40, 1);
    let identity = |tower: &str| (format!("[tower.{tower}]\n"), format!("[tower.{tower}]\nadapter = 'identity'\n"));
    let (left, right) = (identity("left"), identity("right"));
    let one = RECIPE.replace(&left.0, &left.1);
    place.write("one.toml", &one);
    place.write("both.toml", one.replace(&right.0, &right.1));
    place.write("kind.toml", RECIPE.replace("'validation.tsv'", "'latents.safetensors'"));
    let cases = [
        ("one", "one.toml:2: tower `left` has `adapter = \"identity\"` and its latents have 48 values"),
        ("both", "both.toml:7: the towers `left` and `right` both have `adapter = \"identity\"`"),
        ("kind", "kind.toml:7: tower `left` has encoders: its pair files must be tables"),
    ];
    for (recipe, message) in cases {
        place.run(&format!("train {recipe}.toml --out run --device cpu")).fails(3, message);
    }
    assert!(place.read("calls").is_empty() && !place.path("run").exists());
}

#[test]
fn mistakes_in_a_recipe_are_named_by_file_and_line() {
    let place = place();
    let image = "[encoder.image]\nplugin = 'mock'\nmodality = 'image'\n";
    place.write("plugins.toml", place.read("plugins.toml") + image);
    let cases = [
        ("epochs", "epoch", "fusion.toml:12: unknown key `epoch`; did you mean `epochs`?"),
        (
            "dropout = 0.2",
            "dropout = 1.5",
            "fusion.toml:14: `dropout = 1.5` in [train]: must be at least 0 and below 1",
        ),
        ("left = 'a'", "lfet = 'a'", "fusion.toml:9: unknown key `lfet` of [[pairs]]; did you mean `left`?"),
        ("left = 'a'", "left = 'c'", "train.tsv: no column `c`"),
        ("'one'", "'oen'", "fusion.toml:2: no encoder is called `oen`; did you mean `one`?"),
        ("encoder = 'two'", "", "tower `right`: set one of `encoder`, `encoders` and `precomputed`"),
        (
            "encoder = 'one'",
            "encoder = 'one'\nencoders = ['two']",
            "tower `left`: set one of `encoder`, `encoders` and `precomputed`",
        ),
        ("encoder = 'one'", "encoders = ['one', 'two', 'one']", "tower `left`: encoder `one` is listed twice"),
        (
            "encoder = 'two'",
            "encoders = ['two', 'image']",
            "fusion.toml:4: tower `right` concatenates encoders of one modality",
        ),
        ("'test.tsv'", "'tets.tsv'", "tets.tsv"),
        (
            "dropout = 0.2",
            "patience = 1.5",
            "fusion.toml:14: `patience` of [train]: wrong type: number `1.5`, expected a whole number",
        ),
        ("dropout = 0.2", "lr_end = 1", "fusion.toml:14: `lr_end = 1` in [train]: must be between 0 and `lr`"),
    ];
    for (right, wrong, message) in cases {
        place.write("fusion.toml", RECIPE.replacen(right, wrong, 1));
        place.run("train fusion.toml --out run --device cpu").fails(3, message);
        assert_eq!(place.read("calls"), "", "nothing is paid for before {message}");
        assert!(!place.path("run").exists());
    }
}

#[test]
fn towers_that_no_pairs_join_are_no_fusion() {
    let place = place();
    let (towers, rest) = RECIPE.split_once("[[pairs]]").unwrap();
    let (pairs, _) = rest.split_once("[train]").unwrap();
    let (others, other_pairs) =
        ([towers, pairs].map(|text| text.replace("left", "deep").replace("right", "high"))).into();
    place.write("fusion.toml", format!("{towers}{others}[[pairs]]{pairs}[[pairs]]{other_pairs}"));
    let message = "fusion.toml:5: no [[pairs]] join the towers `left`, `right` with `deep`, `high`";
    place.run("train fusion.toml --out run --device cpu").fails(3, message);
    assert!(place.read("calls").is_empty() && !place.path("run").exists());
}

#[test]
fn a_mistake_in_a_recipe_says_what_to_do() {
    let place = place();
    let cases = [
        (RECIPE.split("[[pairs]]").next().unwrap().to_owned(), "there are no pairs: add [[pairs]] with `train`"),
        ("[[pairs]]\ntrain = 'train.tsv'\n".to_owned(), "there are no towers: add [tower.NAME]"),
        (RECIPE.replace("[[pairs]]", "[pairs]"), "fusion.toml:5: a recipe may have several pairs: write [[pairs]]"),
        (RECIPE.to_owned() + "[unpaired]\ntrain = 'x.tsv'\n", "write [[unpaired]], with two brackets"),
        (RECIPE.replace("left = 'a'\n", ""), "has only `right`: add one for `left`; "),
        (RECIPE.replace("left = 'a'\n", ""), "train.tsv has: a, b"),
        (RECIPE.replace("left = 'a'", "left = a"), "fusion.toml:9: text must stand in quotes: key = \"text\""),
        (
            RECIPE.replace("left = 'a'", "left = 'a'\nvolume = 100"),
            "unknown key `volume` of [[pairs]] (available: train",
        ),
        (RECIPE.replace("0.003", "'1e-3'"), "`lr` of [train]: wrong type: string \"1e-3\", expected a number; numbers"),
        (RECIPE.to_owned() + "batchsize = 100\n", "unknown key `batchsize`; did you mean `batch`?"),
        (RECIPE.to_owned() + "learning_rate = 1\n", "unknown key `learning_rate`; did you mean `lr`?"),
        (
            RECIPE.to_owned() + "precision = 'fp16'\n",
            "`precision` of [train]: unknown value \"fp16\"; did you mean `bf16`?",
        ),
        (RECIPE.replace("'train.tsv'", "'none.tsv'"), "fusion.toml:6: cannot read none.tsv"),
        (RECIPE.replace("'test.tsv'", "'none.tsv'"), "fusion.toml:8: cannot read none.tsv"),
    ];
    for (recipe, message) in cases {
        place.write("fusion.toml", recipe);
        place.run("train fusion.toml --out run --device cpu").fails(3, message);
    }
    place.write("fusion.toml", RECIPE);
    place.write("file", "");
    place.run("train fusion.toml --out file").fails(1, "file is a file, and a run is a folder; name another one");
    place
        .run("eval fusion.toml")
        .fails(3, "fusion.toml is a file, and a run is a folder; name one that `fusemix train");
    place.run("plugins --plugins none.toml").fails(3, "`fusemix plugins init` makes one");
    assert_eq!(place.run("plugins init --plugins new.toml").code, 0);
    assert!(place.run("plugins --plugins new.toml").stdout.contains("candle-text"));
    place.run("plugins init --plugins new.toml").fails(1, "new.toml is there already");
    place.write("script.toml", "[[plugin]]\nname = 'own'\npath = 'own.py'\n");
    place.write("own.py", "print(1)\n");
    place.run("plugins --plugins script.toml").fails(11, "let the script answer over HTTP");
}

#[test]
fn patience_without_pairs_to_look_at_is_a_mistake() {
    let place = place();
    place.write("fusion.toml", RECIPE.replace("validation = 'validation.tsv'\n", "") + "patience = 3\n");
    let message = "fusion.toml:15: `patience = 3` in [train]: it needs `validation` pairs";
    place.run("train fusion.toml --out run --device cpu").fails(3, message);
}

#[test]
fn a_tower_with_blocks_of_its_own_trains_and_evaluates() {
    let place = place();
    place.write("fusion.toml", RECIPE.replace("encoder = 'one'", "encoder = 'one'\nblocks = 3"));
    place.json("train fusion.toml --out run --device cpu");
    place.json("eval run");
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let place = place();
    let made = std::process::Command::new("mkfifo").arg(place.path("pipe.tsv")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("/dev/zero", place.path("endless.tsv")).unwrap();
    for odd in ["pipe.tsv", "endless.tsv"] {
        let words = "it is not a regular file";
        place.run(&format!("encode --data {odd} --encoder one")).fails(3, words);
        place.run(&format!("train {odd} --out run")).fails(3, words);
        place.run(&format!("plugins --plugins {odd}")).fails(3, words);
        place.write("odd.toml", RECIPE.replace("'train.tsv'", &format!("'{odd}'")));
        place.run("train odd.toml --out run").fails(3, words);
    }
    place.run("encode --data . --encoder one").fails(3, "it is not a regular file");
    place.run("train . --out run").fails(3, "it is a folder");
}

#[test]
fn absurd_numbers_are_refused_at_their_line() {
    let place = place();
    for (from, to, words) in [
        ("epochs = 60", "epochs = 1000000000000", "must be between 1 and 10000000"),
        ("epochs = 60", "steps = 9223372036854775807", "passes over the pairs"),
        ("width = 32", "width = 9223372036854775807", "must be between 1 and 65536"),
        ("width = 32", "width = 32\nblocks = 9223372036854775807", "must be at most 1024"),
        ("encoder = 'one'", "encoder = 'one'\nblocks = 999999999", "must be at most 1024"),
        ("left = 'a'", "left = 'a'\nweight = 999999", "must be a number above 0 and at most 100"),
    ] {
        place.write("absurd.toml", RECIPE.replace(from, to));
        let ran = place.run("train absurd.toml --out run --device cpu");
        ran.fails(3, words);
        assert!(ran.stderr.contains("absurd.toml:"), "{}", ran.stderr);
    }
    let names: Vec<String> = (0..100_000).map(|column| format!("column{column}")).collect();
    place.write("wide.tsv", format!("{}\n{}\n", names.join("\t"), names.join("\t")));
    assert_eq!(place.json("encode --data wide.tsv --encoder one --column column77")["encoded"], 1);
}
