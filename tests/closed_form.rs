//! Fits in closed form, joint fits, the choice of a method, and the comparison of runs.

use serde_json::json;

use crate::common::Place;
use crate::train::{RECIPE, place, recall_at_1};

/// The recipe of the other tests, with this instead of `[train]`.
fn with(fit: &str) -> Place {
    let place = place();
    let (pairs, _) = RECIPE.split_once("[train]").unwrap();
    place.write("fusion.toml", format!("{pairs}{fit}"));
    place
}

#[test]
fn a_space_is_fitted_evaluated_searched_and_reported() {
    let place = with("[fit]\nmethod = 'kernel-cca'\n");
    let fitted = place.json("train fusion.toml --out run");
    assert_eq!((&fitted["method"], &fitted["pairs"]), (&json!("kernel-cca"), &json!(300)), "{fitted}");
    assert!(fitted["validation_mean_recall"].as_f64().unwrap() > 60.0, "{fitted}");
    let found = place.json("eval run")["retrieval"].clone();
    assert!(recall_at_1(&found[0]) > 60.0 && recall_at_1(&found[1]) > 60.0, "{found}");

    // From one tower to the other, and within one.
    let query = place.read("test.tsv").lines().nth(7).unwrap().split('\t').next().unwrap().to_owned();
    place.run("gallery build run --tower right --data test.tsv --out pictures").fails(0, "40");
    place.run("gallery verify pictures").fails(0, "");
    for from in ["left", "right"] {
        for to in ["--gallery pictures", "--to right --data test.tsv"] {
            let mut search = place.command(&format!("search run --from {from} {to} -k 3 --json"));
            let ran = crate::common::Ran::from(search.arg(&query).output().unwrap());
            let hits = ran.json_code(0)["found"].clone();
            let item = hits[0]["item"].clone();
            if from == "right" {
                assert_eq!(item, query, "{hits}");
                assert!((hits[0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-3, "{hits}");
            } else {
                assert!(hits.as_array().unwrap().iter().any(|hit| hit["item"] == query), "{hits}");
            }
        }
    }
    place.run("report run --out page.html").fails(0, "page.html");
    let page = place.read("page.html");
    assert!(page.contains("A space fitted with kernel CCA to 300 pairs") && page.contains("hit right"));
    assert!(!page.contains("<svg"), "there are no curves");
    assert_eq!(place.json("embed run --tower left --data test.tsv --out texts.npy")["rows"], 40);

    // A run is one whatever made it: it is not replaced by accident, and the resolved recipe makes it again.
    place.run("train fusion.toml --out run").fails(1, "--overwrite");
    let adapters = std::fs::read(place.path("run/adapters.safetensors")).unwrap();
    place.json("train run/recipe.toml --out again");
    assert_eq!(std::fs::read(place.path("again/adapters.safetensors")).unwrap(), adapters);
    place.write("run/notes/why.txt", "precious");
    place.json("train fusion.toml --out run --overwrite");
    assert_eq!(std::fs::read(place.path("run/adapters.safetensors")).unwrap(), adapters);
    // What the program did not make stays.
    assert_eq!(place.read("run/notes/why.txt"), "precious");
}

#[test]
fn mistakes_in_fit_are_named_by_file_and_line() {
    let cases = [
        (
            "[fit]\nmethod = 'kernel-caa'\n",
            "fusion.toml:12: `method = \"kernel-caa\"` of [fit] is unknown; did you mean",
        ),
        ("[fit]\nmethod = 'kernel-cca'\ntua = 1\n", "fusion.toml:13: unknown key `tua`; did you mean `tau`?"),
        ("[fit]\nmethod = 'kernel-cca'\ntua = 1\n", "width, landmarks, method, hubness, neighbours)"),
        (
            "[fit]\nmethod = 'kernel-cca'\ntau = 1e9\n",
            "fusion.toml:13: `tau = 1000000000`: must be a number from 0.001",
        ),
        (
            "[fit]\nmethod = 'cca'\nlandmarks = 50\n",
            "fusion.toml:13: `landmarks` is an option of `method = \"kernel-cca\"`, and `cca` has none: remove it",
        ),
        ("[fit]\nmethod = 'kernel-cca'\nrank = 0.5\n", "fusion.toml:13: wrong type: number `0.5`, expected a whole"),
        ("[fit]\nmethod = 'kernel-cca'\nrho = 0\n", "fusion.toml:13: `rho = 0`: must be a number above 0"),
        (
            "[fit]\nmethod = 'fusemix'\nepochs = 3\n",
            "fusion.toml:13: unknown key `epochs` of [fit]: the options of `method",
        ),
        ("[fit]\nepochs = 3\n", "fusion.toml:12: unknown key `epochs` of [fit], which chooses the method itself"),
        ("[fit]\nbudget = '5 days'\n", "fusion.toml:12: `5 days` is not a time; write it as \"90s\""),
        ("[fit]\nmethod = 'cca'\nhubness = 1\n", "fusion.toml:13: `hubness = 1`: must be at least 0 and at most 0.99"),
        ("[fit]\nmethod = 'asif'\ntop = 0\n", "fusion.toml:13: `top = 0`: must be a whole number above 0"),
        (
            "[fit]\nmethod = 'joint'\nparts = [{ method = 'cca' }]\n",
            "fusion.toml:13: `parts` has 1: a joint fit has 2 to 4",
        ),
        (
            "[fit]\nmethod = 'joint'\nparts = [{ method = 'cca' }, { method = 'asiff' }]\n",
            "each of `parts` needs a `method`, and `asiff` is none; did you mean `asif`?",
        ),
        (
            "[fit]\nmethod = 'joint'\nparts = [{ method = 'cca' }, { method = 'joint' }]\n",
            "`method = \"joint\"` cannot be a part of a joint fit",
        ),
        (
            "[fit]\nmethod = 'joint'\nparts = [{ method = 'cca', weight = 1 }, { method = 'asif' }]\n",
            "give each of `parts` a `weight`, or none",
        ),
        (
            "[fit]\nmethod = 'joint'\n[[fit.parts]]\nmethod = 'cca'\n[[fit.parts]]\nmethod = 'kernel-cca'\ntau = 0\n",
            "fusion.toml:17: `tau = 0`: must be",
        ),
        (
            "[fit]\nmethod = 'joint'\nparts = [\n{ method = 'cca' },\n{ method = 'kernel-cca', tua = 1 },\n]\n",
            "fusion.toml:15: unknown key `tua`; did you mean `tau`?",
        ),
        (
            "[fit]\nmethod = 'joint'\n[[fit.parts]]\nmethod = 'cca'\n[[fit.parts]]\nmethod = 'fusemix'\npatience = 3\n",
            "fusion.toml:17: `patience` says nothing to a part of a joint fit",
        ),
        ("[fit]\nmethod = 'kernel-cca'\n[train]\nlr = 1\n", "fusion.toml:13: [train] has the options of `method"),
    ];
    for (fit, message) in cases {
        let place = with(fit);
        place.run("train fusion.toml --out run").fails(3, message);
        assert!(place.read("calls").is_empty() && !place.path("run").exists(), "for:\n{fit}");
    }
    let place = with("[fit]\nmethod = 'kernel-cca'\nlandmarks = 500\n");
    let message = "fusion.toml:13: `landmarks = 500` is more than the 300 training rows";
    place.run("train fusion.toml --out run").fails(0, message);
    // ASIF compares only towers that have pairs with each other.
    let more = "[tower.third]\nencoder = 'one'\n[[pairs]]\ntrain = 'train.tsv'\nright = 'b'\nthird = 'a'\n[[pairs]]";
    for (fit, line) in
        [("method = 'asif'\n", 18), ("method = 'joint'\nparts = [{ method = 'cca' }, { method = 'asif' }]\n", 19)]
    {
        let place = with(&format!("[fit]\n{fit}"));
        place.write("fusion.toml", place.read("fusion.toml").replace("[[pairs]]", more));
        let message = format!("fusion.toml:{line}: towers `left` and `third` have no pairs with each other");
        place.run("train fusion.toml --out run").fails(3, &message);
        assert!(place.read("calls").is_empty() && !place.path("run").exists());
    }
    let place = with("[fit]\nmethod = 'kernel-cca'\n");
    let linear = place.read("fusion.toml").replace("encoder = 'one'", "encoder = 'one'\nadapter = 'linear'");
    place.write("fusion.toml", linear);
    place
        .run("train fusion.toml --out run")
        .fails(3, "fusion.toml:3: tower `left`: `method = \"kernel-cca\"` has no `adapter`; remove it");
    let place = with("[fit]\nmethod = 'joint'\n");
    let identity = place.read("fusion.toml").replace("encoder = 'one'", "encoder = 'one'\nadapter = 'identity'");
    place.write("fusion.toml", identity);
    place.run("train fusion.toml --out run").fails(3, "tower `left`: `method = \"joint\"` has no `adapter`; remove it");
    let place = with("[fit]\nmethod = 'cca'\n");
    let identity = |name: &str| format!("encoder = '{name}'\nadapter = 'identity'");
    let both = place.read("fusion.toml").replace("encoder = 'one'", &identity("one"));
    place.write("fusion.toml", both.replace("encoder = 'two'", &identity("two")));
    place.run("train fusion.toml --out run").fails(3, "so nothing is left to fit");
}

#[test]
fn encoders_of_one_space_are_a_run_without_a_fit() {
    let place = with("");
    let recipe = place.read("fusion.toml");
    let identity = |right: &str| {
        let left = recipe.replace("encoder = 'one'", "encoder = 'one'\nadapter = 'identity'");
        left.replace("encoder = 'two'", &format!("encoder = '{right}'\nadapter = 'identity'"))
    };
    place.write("aligned.toml", identity("one"));
    place.run("train aligned.toml --out aligned").fails(0, "nothing to fit: the towers are in one space");
    assert!(place.read("calls").is_empty(), "nothing is encoded for it");
    let recall = place.json("eval aligned")["retrieval"][0]["recall"]["1"].as_f64().unwrap();
    assert_eq!(recall, 100.0);
    place.run("train aligned/recipe.toml --out again").fails(0, "nothing to fit");
    // Beside a fusion on the same pairs.
    place.run("train fusion.toml --out run").fails(0, "");
    place.run("compare aligned run").fails(0, "aligned");
    place.write("apart.toml", identity("two"));
    place.run("train apart.toml --out apart").fails(3, "must have the same width: they are one space");
    let hubs = identity("one") + "[fit]\nhubness = 0.2\n";
    place.write("hubs.toml", hubs);
    place.run("train hubs.toml --out hubs").fails(3, "counts training items");
    place.write("none.toml", recipe + "[fit]\nmethod = 'identity'\n");
    place.run("train none.toml --out none").fails(3, "give each tower `adapter = \"identity\"`");
}

#[test]
fn every_method_makes_a_run_that_its_recipe_makes_again() {
    let part = "parts = [{ method = 'cca', width = 20 }, { method = 'ridge' }]\n";
    for (method, options) in
        [("cca", ""), ("ridge", "hubness = 0\n"), ("procrustes", ""), ("asif", "top = 20\n"), ("joint", part)]
    {
        let place = with(&format!("[fit]\nmethod = '{method}'\n{options}"));
        let fitted = place.json("train fusion.toml --out run");
        assert_eq!(fitted["method"], method, "{fitted}");
        let found = place.json("eval run");
        assert!(recall_at_1(&found["retrieval"][0]) > 40.0, "{method}: {found}");
        let mean = found["mean"]["mean"].as_f64().unwrap();
        let (low, high) = (found["mean"]["low"].as_f64().unwrap(), found["mean"]["high"].as_f64().unwrap());
        assert!(low <= mean && mean <= high, "{found}");
        let between = &found["between"][0];
        assert_eq!(between["recall_without_term"].is_null(), method == "ridge", "{found}");
        assert!(between["health"]["gap"].as_f64().unwrap() < 1.0, "{found}");
        place.json("train run/recipe.toml --out again");
        let adapters = |run: &str| std::fs::read(place.path(run).join("adapters.safetensors")).unwrap();
        assert!(adapters("run") == adapters("again"), "{method}");
        place.run("embed run --tower left --data test.tsv --out left.npy").fails(0, "");
    }
}

#[test]
fn towers_are_brought_into_the_space_of_an_identity_tower() {
    for method in ["kernel-cca", "cca", "ridge", "procrustes", "asif"] {
        let place = with(&format!("[fit]\nmethod = '{method}'\n"));
        let recipe = place.read("fusion.toml").replace("encoder = 'two'", "encoder = 'two'\nadapter = 'identity'");
        place.write("fusion.toml", recipe);
        place.json("train fusion.toml --out run");
        let found = place.json("eval run")["retrieval"].clone();
        assert!(recall_at_1(&found[0]) > 40.0, "{method}: {found}");
        // The width of the tower `right`, and nothing more.
        assert_eq!(place.json("embed run --tower left --data test.tsv --out left.npy")["width"], 40);
    }
}

#[test]
fn a_method_is_chosen_and_the_choice_is_kept() {
    let place = with("");
    let fitted = place.json("train fusion.toml --out run --budget 20s");
    let choice = &fitted["choice"];
    assert_ne!(fitted["method"], "auto", "{fitted}");
    assert!(choice["trials"].as_array().unwrap().len() > 20, "{choice}");
    let kept: serde_json::Value = serde_json::from_str(&place.read("run/choice.json")).unwrap();
    for (key, value) in choice.as_object().unwrap() {
        assert_eq!(kept[key], *value, "{key}");
    }
    assert!(recall_at_1(&place.json("eval run")["retrieval"][0]) > 60.0);
    // The same pairs, seed and budget, the same choice; the resolved recipe needs none.
    let again = place.json("train fusion.toml --out run --overwrite --budget 20s");
    assert_eq!(again["choice"], *choice);
    // One that was stopped after its choice does not choose again, unless from something else.
    let chosen = "the method was chosen before";
    let stopped = || std::fs::remove_file(place.path("run/run.json")).unwrap();
    stopped();
    let resumed = place.run("train fusion.toml --out run --resume --budget 20s --json");
    assert!(resumed.stderr.contains(chosen), "{}", resumed.stderr);
    assert_eq!(resumed.json_code(0)["choice"], *choice);
    stopped();
    let other = place.run("train fusion.toml --out run --resume --budget 5s");
    assert!(other.code == 0 && !other.stderr.contains(chosen), "{}", other.stderr);
    let resolved = place.json("train run/recipe.toml --out resolved");
    assert_eq!((&resolved["method"], &resolved["choice"]), (&fitted["method"], &json!(null)));
    let told = place.run("train fusion.toml --out told --budget 5s");
    told.fails(0, "best setting of each method");
    place.run("train fusion.toml --out told --budget soon").fails(2, "`soon` is not a time");
}

#[test]
fn runs_are_compared_query_by_query() {
    let place = with("[fit]\nmethod = 'kernel-cca'\n");
    place.json("train fusion.toml --out good");
    let bad = place.read("fusion.toml").replace("'kernel-cca'", "'kernel-cca'\nwidth = 1");
    place.write("bad.toml", bad);
    place.json("train bad.toml --out bad");
    let again = place.read("fusion.toml").replace("'kernel-cca'", "'kernel-cca'\nhubness = 0.25");
    place.write("again.toml", again);
    place.json("train again.toml --out again");
    let compared = place.json("compare good bad again");
    let apart = |at: usize| compared["runs"][at]["apart"].clone();
    assert_eq!((&compared["pairs"], apart(0)), (&json!(40), json!(null)));
    assert!(apart(1)["high"].as_f64().unwrap() < -5.0, "{compared}");
    assert_eq!(apart(2), json!({"mean": 0.0, "low": 0.0, "high": 0.0}));
    assert!(compared["runs"][1]["enough"].is_null() && compared["runs"][2]["enough"].is_null());
    // A difference that so few pairs cannot tell.
    let close = place.read("fusion.toml").replace("'kernel-cca'", "'kernel-cca'\ntau = 0.2");
    place.write("close.toml", close);
    place.json("train close.toml --out close");
    let told = place.json("compare good close")["runs"][1].clone();
    let spans = told["apart"]["low"].as_f64().unwrap() <= 0.0 && told["apart"]["high"].as_f64().unwrap() >= 0.0;
    assert_eq!(spans && told["apart"]["low"] != told["apart"]["high"], told["enough"].is_u64(), "{told}");
    place.run("compare good bad").fails(0, "less the first run's");
    let both = place.json("compare good bad --data test.tsv --data validation.tsv");
    assert_eq!(both["pairs"], 80);
    // Towers of other names are other towers.
    let other = place.read("fusion.toml").replace("[tower.left]", "[tower.port]").replace("left = 'a'", "port = 'a'");
    place.write("other.toml", other);
    place.json("train other.toml --out other");
    place.run("compare good other").fails(3, "good and other cannot be compared: other has no tower `left`");
    let column = place.read("fusion.toml").replace("left = 'a'", "left = 'c'").replace("test = 'test.tsv'\n", "");
    place.write("column.toml", column.replace(".tsv", "2.tsv"));
    for name in ["train", "validation"] {
        place.write(&format!("{name}2.tsv"), place.read(&format!("{name}.tsv")).replacen("a\t", "c\t", 1));
    }
    place.json("train column.toml --out column");
    let message = "has no column `c`, from which the run column takes the items of tower `left`";
    place.run("compare good column").fails(3, message);
    place.run("compare column good").fails(3, "the recipe names no `test` file; pass --data FILE");
    place.run("eval column").fails(3, "the recipe names no `test` file; pass --data FILE");
    place.run("compare good").fails(2, "RUN");
    place.run("compare good bad ./good/").fails(3, "good and ./good/ are the same run, so they do not differ");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(place.path("good"), place.path("link")).unwrap();
        place.run("compare good link --dry-run").fails(3, "good and link are the same run");
    }
}

#[test]
fn a_smaller_form_of_a_run_tells_what_it_costs() {
    let place = with("[fit]\nmethod = 'kernel-cca'\n");
    place.json("train fusion.toml --out run");
    let told = place.json("compress run --anchors 150 --out small");
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    assert!(number(&told["bytes"][1]) < 0.8 * number(&told["bytes"][0]), "{told}");
    assert!(number(&told["apart"]["mean"]).abs() < 10.0, "{told}");
    let after = place.json("eval small")["mean"]["mean"].clone();
    assert_eq!(number(&after), number(&told["after"]["mean"]));
    let made = "# `fusemix compress --anchors 150` made this run smaller";
    assert!(place.read("small/recipe.toml").starts_with(made), "{}", place.read("small/recipe.toml"));
    place.json("compress small --anchors 120 --out less");
    assert_eq!(place.read("less/recipe.toml").matches("--anchors").count(), 1);
    place.run("compress nowhere --anchors 100 --out other").fails(3, "nowhere is no run: there is no such folder");
    place.write("mine/notes.txt", "precious");
    let message = "mine is a folder with other things in it, such as notes.txt, and no run; name a new folder";
    place.run("compress run --anchors 100 --out mine").fails(1, message);
    // It is a run like any other, and none is replaced by accident.
    place.run("embed small --tower left --data test.tsv --out left.npy").fails(0, "");
    place.run("compress run --anchors 100 --out small").fails(1, "--overwrite");
    place.write("small/notes.txt", "precious");
    place.run("compress run --anchors 100 --out small --overwrite").fails(0, "instead of");
    assert_eq!(place.read("small/notes.txt"), "precious");
    place.run("compress small --anchors 100 --out smaller").fails(3, "nothing to make smaller");
    place.run("compress run --anchors 100 --out run --overwrite").fails(1, "is the run itself");
    // The same file twice is one.
    assert_eq!(place.json("compare run small --data test.tsv --data test.tsv")["pairs"], 40);
}

#[test]
fn a_fit_does_not_take_the_place_of_an_unfinished_training() {
    let place = place();
    let long = place.read("fusion.toml").replace("epochs = 60", "epochs = 100000\ncheckpoint_steps = 5");
    place.write("long.toml", long);
    let mut training = place.command("train long.toml --out run").spawn().unwrap();
    let checkpoint = place.path("run/checkpoint.safetensors");
    for _ in 0..600 {
        if checkpoint.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    training.kill().unwrap();
    training.wait().unwrap();
    let (pairs, _) = RECIPE.split_once("[train]").unwrap();
    place.write("closed.toml", format!("{pairs}[fit]\nmethod = 'cca'\n"));
    place.run("train closed.toml --out run --resume").fails(1, "holds an unfinished training, and this recipe has");
    place.run("train closed.toml --out run").fails(1, "");
    assert!(checkpoint.exists());
    place.run("train closed.toml --out run --overwrite").fails(0, "cca of 300 pairs");
}
