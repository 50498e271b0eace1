//! Run folders: what is in them, for whom, and what a training may replace.

use serde_json::{Value, json};

use crate::common::{Place, copy_folder, floats, repository};
use crate::train::{ENCODERS, RECIPE, place, table};

#[test]
fn a_run_is_not_overwritten_by_accident() {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    place.run("train fusion.toml --out run --device cpu").fails(1, "already holds a run");
    place.json("train fusion.toml --out run --device cpu --overwrite");
    place.run("eval nowhere").fails(3, "nowhere is no run: there is no such folder");
}

#[test]
fn a_run_notes_the_encoders_that_a_colleague_needs() {
    let place = Place::new(
        "[[plugin]]\nname = 'mock'\n[encoder.one]\nplugin = 'mock'\nsalt = 'one'\nbranch = 'main'\ntoken = \
         'hf-secret'\nbatch = 4\n[encoder.two]\nplugin = 'mock'\nsalt = 'two'\n",
    );
    place.write("fusion.toml", RECIPE.replace("epochs = 60", "epochs = 2"));
    place.write("train.tsv", table(0, 60));
    place.write("validation.tsv", table(300, 10));
    place.write("test.tsv", table(340, 10));
    place.json("train fusion.toml --out run --device cpu");
    let info: Value = serde_json::from_str(&place.read("run/run.json")).unwrap();
    let one = &info["towers"][0]["encoders"][0];
    assert_eq!(one["entry"], json!({"plugin": "mock", "salt": "one", "branch": "main1"}));
    assert!(!place.read("run/run.json").contains("secret"));
    // The colleague's plugins.toml lacks one of them, or has another encoder of its name.
    place.write("plugins.toml", "[[plugin]]\nname = 'mock'\n");
    place.run("eval run").fails(3, "`fusemix plugins init --run run`");
    let others = "[[plugin]]\nname = 'mock'\n[encoder.one]\nplugin = 'mock'\n[encoder.two]\nplugin = 'mock'\n";
    place.write("plugins.toml", others);
    place.run("eval run").fails(5, "`fusemix plugins init --run RUN` writes what it was");
    std::fs::remove_file(place.path("plugins.toml")).unwrap();
    assert_eq!(place.run("plugins init --run run").code, 0);
    assert!(place.read("plugins.toml").contains("branch = \"main1\""));
    assert_eq!(place.run("eval run").code, 0);

    let old = place.read("run/run.json").replace("\"entry\"", "\"of a later version\"");
    place.write("run/run.json", old);
    place.run("plugins init --run run --plugins other.toml").fails(1, "this run is of an older version");
    assert_eq!(place.run("eval run").code, 0);
}

#[test]
fn a_training_writes_over_nothing_of_the_users() {
    let place = place();
    for (name, content) in [("recipe.toml", RECIPE), ("metrics.jsonl", "mine\n")] {
        let mine = format!("mine/{name}");
        place.write(&mine, content);
        for flags in ["", " --overwrite"] {
            let message = format!("mine holds {name}, which no training has made");
            place.run(&format!("train fusion.toml --out mine --device cpu{flags}")).fails(1, &message);
        }
        assert_eq!(place.read(&mine), content);
        std::fs::remove_file(place.path(&mine)).unwrap();
    }
    place.write("mine/notes.txt", "mine");
    place.json("train fusion.toml --out mine --device cpu");
    assert_eq!(place.read("mine/notes.txt"), "mine");
}

#[test]
fn a_run_folder_of_the_first_version_opens() {
    let place = Place::new(ENCODERS);
    let golden = repository().join("tests/golden/run-0.1");
    copy_folder(&golden, &place.path("run"));
    let expected: Value = serde_json::from_str(&place.read("run/expected.json")).unwrap();
    assert_eq!(place.json("eval run --device cpu --data run/test.tsv")["retrieval"], expected["retrieval"]);
    place.json("embed run --tower left --data run/test.tsv --column a --out left.npy --device cpu");
    let values = |name: &str| floats(&std::fs::read(place.path(name)).unwrap()[128..]);
    let (now, then) = (values("left.npy"), values("run/left.npy"));
    assert_eq!(now.len(), 40 * 32);
    // Another CPU rounds otherwise.
    assert!(now.iter().zip(&then).all(|(now, then)| (now - then).abs() < 1e-5));
    // Nothing is left out of what it can do now.
    place.json("gallery build run --tower right --data run/test.tsv --column b --out gallery");
    assert_eq!(place.run("search run --from left --gallery gallery w1").code, 0);
    place.run("report run --data run/test.tsv --out page.html");
    assert!(place.read("page.html").contains("<svg"));
}
