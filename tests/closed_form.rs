//! `[fit] method = "kernel-cca"`: a run like any other, without training.

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
    place.json("train fusion.toml --out run --overwrite");
    assert_eq!(std::fs::read(place.path("run/adapters.safetensors")).unwrap(), adapters);
}

#[test]
fn mistakes_in_fit_are_named_by_file_and_line() {
    let cases = [
        (
            "[fit]\nmethod = 'kernel-caa'\n",
            "fusion.toml:12: `method = \"kernel-caa\"` of [fit] is unknown; did you mean",
        ),
        ("[fit]\nmethod = 'kernel-cca'\ntua = 1\n", "fusion.toml:13: unknown key `tua`; did you mean `tau`?"),
        ("[fit]\nmethod = 'kernel-cca'\nrank = 0.5\n", "fusion.toml:13: wrong type: number `0.5`, expected a whole"),
        ("[fit]\nmethod = 'kernel-cca'\nrho = 0\n", "fusion.toml:13: `rho = 0`: must be a number above 0"),
        ("[fit]\nepochs = 3\n", "fusion.toml:12: unknown key `epochs` of [fit]: the options of `method = \"fusemix\"`"),
        ("[fit]\nmethod = 'kernel-cca'\n[train]\nlr = 1\n", "fusion.toml:13: [train] has the options of `method"),
    ];
    for (fit, message) in cases {
        let place = with(fit);
        place.run("train fusion.toml --out run").fails(3, message);
        assert!(place.read("calls").is_empty() && !place.path("run").exists(), "for:\n{fit}");
    }
    let place = with("[fit]\nmethod = 'kernel-cca'\n");
    let linear = place.read("fusion.toml").replace("encoder = 'one'", "encoder = 'one'\nadapter = 'linear'");
    place.write("fusion.toml", linear);
    place
        .run("train fusion.toml --out run")
        .fails(3, "fusion.toml:3: tower `left`: `method = \"kernel-cca\"` has no `adapter`; remove it");
}
