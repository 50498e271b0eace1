//! Targets, terms beside the loss, items without a pair and gated blocks, from a recipe to a run.

use serde_json::json;
use std::fmt::Write;

use crate::common::Place;
use crate::precomputed::precomputed;
use crate::train::{RECIPE, place, recall_at_1};

/// Two precomputed towers, with more of a recipe.
fn of_latents(more: &str) -> String {
    let towers = "[tower.image]\nprecomputed = true\n[tower.text]\nprecomputed = true\n";
    let pairs =
        "[[pairs]]\ntrain = 'train.safetensors'\ntest = 'test.safetensors'\nimage = 'z_image'\ntext = 'z_text'\n";
    format!("{towers}{pairs}{more}")
}

#[test]
fn every_loss_and_term_trains() {
    let place = Place::new("");
    precomputed(&place, "train.safetensors", 400, 1);
    precomputed(&place, "test.safetensors", 50, 2);
    precomputed(&place, "more.safetensors", 300, 3);
    let unpaired = "[[unpaired]]\ntrain = 'more.safetensors'\nimage = 'z_image'\n";
    let cases = [
        ("", "targets = 'items'"),
        ("", "targets = 'items'\nloss = 'sigmoid'"),
        ("", "targets = 'similar'\ntarget_share = 0.2"),
        ("", "structure = 1"),
        (unpaired, "unpaired_batch = 64"),
        (unpaired, "start = 'cca'\nunpaired = 0.2"),
        (unpaired, "unpaired = 0"),
        ("", "augment = 'none'"),
        ("", "augment = 'noise'\nnoise = 0.05"),
        ("", "augment = 'quantise'\nregions = 64"),
        ("", "augment = 'project'\nremoved = 0.1"),
        ("", "mixup_shared = false"),
    ];
    for (tables, options) in cases {
        let train = format!("{tables}[train]\nwidth = 16\ndropout = 0.0\nlr = 0.01\nepochs = 60\n{options}\n");
        place.write("fusion.toml", of_latents(&train));
        place.json("train fusion.toml --out run --overwrite --device cpu");
        let found = place.json("eval run")["retrieval"].clone();
        assert!(recall_at_1(&found[0]) > 30.0 && recall_at_1(&found[1]) > 30.0, "{options}: {found}");
        // The resolved recipe is one that gives the same again.
        let adapters = std::fs::read(place.path("run/adapters.safetensors")).unwrap();
        place.json("train run/recipe.toml --out again --overwrite --device cpu");
        assert_eq!(std::fs::read(place.path("again/adapters.safetensors")).unwrap(), adapters, "{options}");
    }
    for (options, words) in [
        (
            "augment = 'noise'\nregions = 3",
            "`regions = 3` in [train]: must be between 1 and 10000, and `augment = \"quantise\"`",
        ),
        ("noise = 0.1", "`augment = \"noise\"`"),
        ("augment = 'noise'\nmixup_alpha = 0.5", "so it does not read this; it reads `noise`"),
        ("augment = 'none'\nmixup = 'batch'", "it reads no key of its own. Remove `mixup`"),
        ("augment = 'none'\nmixup_shared = false", "is about `augment = \"fusemix\"`"),
        ("mixup_shared = false\ntargets = 'items'", "a mixed pair has one weight in `targets`"),
    ] {
        place.write("fusion.toml", of_latents(&format!("[train]\n{options}\n")));
        place.run("train fusion.toml --out wrong").fails(3, words);
    }
    let gated =
        of_latents("[train]\nepochs = 2\n").replace("precomputed = true\n", "precomputed = true\nadapter = 'glu'\n");
    place.write("fusion.toml", gated);
    place.json("train fusion.toml --out gated --device cpu");
    assert!(place.read("gated/recipe.toml").contains("adapter = \"glu\""));
    assert_eq!(place.json("eval gated")["retrieval"].as_array().unwrap().len(), 2);
}

#[test]
fn items_without_a_pair_are_encoded_once_and_belong_to_the_training() {
    let place = place();
    let more = (0..30).fold("a\n".to_owned(), |mut table, row| {
        writeln!(table, "x{row} y{row}").unwrap();
        table
    });
    place.write("more.tsv", more);
    let recipe =
        RECIPE.replace("[train]\nepochs = 60\n", "[[unpaired]]\ntrain = 'more.tsv'\nleft = 'a'\n[train]\nepochs = 3\n");
    place.write("fusion.toml", &recipe);
    let forecast = place.json("train fusion.toml --out run --dry-run");
    let columns = forecast["columns"].as_array().unwrap();
    let unpaired = columns.iter().find(|column| column["file"].as_str().unwrap().ends_with("more.tsv")).unwrap();
    assert_eq!((&unpaired["encoder"], &unpaired["distinct"]), (&json!("one"), &json!(30)), "{forecast}");
    let trained = place.json("train fusion.toml --out run --device cpu");
    assert_eq!(trained["pairs"], 300);
    let calls = place.read("calls").lines().count();
    place.json("train fusion.toml --out run --overwrite --device cpu");
    assert_eq!(place.read("calls").lines().count(), calls, "they were encoded again");

    // Of no weight, they cost nothing.
    place.write("unused.toml", recipe.replace("[train]\n", "[train]\nunpaired = 0\n").replace("more.tsv", "other.tsv"));
    place.write("other.tsv", "a\nunseen one\nunseen two\n");
    place.json("train unused.toml --out unused --device cpu");
    assert_eq!(place.read("calls").lines().count(), calls, "items of no weight were encoded");

    // A test that holds them says so.
    place.write("seen.tsv", "a\tb\nx1 y1\tx1 y1\nx2 y2\tx2 y2\nw1 v1\tw1 v1\nw2 v2\tw2 v2\n");
    place.run("eval run --data seen.tsv").fails(0, "seen.tsv");
}

#[test]
fn mistakes_about_items_without_a_pair_are_named() {
    let place = place();
    place.write("more.tsv", "a\nx\ny\n");
    let recipe = |unpaired: &str, options: &str| RECIPE.replace("[train]\n", &format!("{unpaired}[train]\n{options}"));
    let cases = [
        (
            "[[unpaired]]\ntrain = 'more.tsv'\nlefft = 'a'\n",
            "",
            "unknown key `lefft` of [[unpaired]]; did you mean `left`?",
        ),
        ("[[unpaired]]\nleft = 'a'\n", "", "[[unpaired]] needs a `train` file"),
        ("[[unpaired]]\ntrain = 'more.tsv'\n", "", "[[unpaired]] has items of one tower, but this one names 0"),
        ("[[unpaired]]\ntrain = 'more.tsv'\nleft = 'a'\nright = 'a'\n", "", "but this one names 2"),
        ("[[unpaired]]\ntrain = 'more.tsv'\nleft = 'c'\n", "", "no column `c`"),
        ("[[unpaired]]\ntrain = 'no.tsv'\nleft = 'a'\n", "", "no.tsv"),
        ("[[unpaired]]\ntrain = 'no.safetensors'\nleft = 'a'\n", "", "tower `left` has encoders"),
        ("", "unpaired = 2\n", "the recipe has no [[unpaired]]"),
        ("", "targets = 'items'\ntarget_share = 0.5\n", "it says nothing without `targets = \"similar\"`"),
        (
            "[[unpaired]]\ntrain = 'more.tsv'\nleft = 'a'\n",
            "unpaired = 0\nunpaired_batch = 9\n",
            "it says nothing with",
        ),
        ("", "structure = -1\n", "`structure = -1` in [train]: must be between 0 and 1000"),
        ("", "structure_temperature = 0.1\n", "it says nothing without `structure`"),
        ("", "targets = 'item'\n", "fusion.toml:12"),
    ];
    for (unpaired, options, message) in cases {
        place.write("fusion.toml", recipe(unpaired, options));
        place.run("train fusion.toml --out run").fails(3, message);
    }
    let (pairs, _) = RECIPE.split_once("[train]").unwrap();
    place.write("fusion.toml", format!("{pairs}[[unpaired]]\ntrain = 'more.tsv'\nleft = 'a'\n[fit]\nmethod = 'cca'\n"));
    place.run("train fusion.toml --out run").fails(3, "[[unpaired]] is for `method = \"fusemix\"`");
    assert!(!place.path("calls").exists(), "something was encoded");
}
