//! The fits of a sweep: what is fitted once, what again, and how long the rest takes.

use super::*;

/// The run folders of a sweep, and those of them that hold a finished run.
fn runs(folder: &Path) -> [usize; 2] {
    let entries = std::fs::read_dir(folder.join("runs")).into_iter().flatten().flatten();
    let runs: Vec<bool> =
        entries.filter(|run| run.path().is_dir()).map(|run| run.path().join("run.json").exists()).collect();
    [runs.len(), runs.iter().filter(|is_finished| **is_finished).count()]
}

#[test]
fn a_sweep_that_is_killed_ends_with_the_same_table() {
    let place = place();
    place.write("sweep.toml", SWEEP.replace("epochs = 40", "epochs = 100"));
    let whole = place.json("sweep sweep.toml --out whole");
    let cache = place.path(".fusemix");
    std::fs::remove_dir_all(&cache).unwrap();
    let swept = place.path("swept");
    // While items are encoded, and then in a fit: the first one, and others after some that are done.
    place.kill_after("sweep sweep.toml --out swept", Duration::from_millis(100));
    let mut in_a_fit = 0;
    for begun in [1, 2, 4, 6] {
        let mut sweep = place.start("sweep sweep.toml --out swept");
        while runs(&swept)[0] < begun {
            assert!(sweep.try_wait().unwrap().is_none(), "it ended before fit {begun} was begun");
            std::thread::sleep(Duration::from_millis(1));
        }
        sweep.kill().unwrap();
        sweep.wait().unwrap();
        let [folders, finished] = runs(&swept);
        assert!(folders >= begun && finished < 8, "{folders} {finished}");
        in_a_fit += usize::from(finished < folders);
    }
    assert!(in_a_fit > 0, "no kill came while something was fitted");
    let resumed = place.json("sweep sweep.toml --out swept");
    assert_eq!(runs(&swept), [8, 8]);
    let rows = |table: &Value| table["rows"].to_string().replace("whole", "swept");
    assert_eq!(rows(&whole), rows(&resumed));
    // A larger one that is stopped has all that was done before it in its table.
    let larger = place.read("sweep.toml").replace("[100, 200]", "[150, 100, 200]");
    place.write("sweep.toml", larger);
    let mut sweep = place.start("sweep sweep.toml --out swept");
    while runs(&swept)[0] < 9 {
        assert!(sweep.try_wait().unwrap().is_none(), "it ended before a new fit was begun");
        std::thread::sleep(Duration::from_millis(1));
    }
    sweep.kill().unwrap();
    sweep.wait().unwrap();
    assert_eq!(place.read("swept/sweep.csv").lines().count(), 1 + 4);
}

#[test]
fn what_is_fitted_to_other_items_is_another_fit() {
    let place = place();
    let sweep = SWEEP.replace("['one', 'three']", "'one'").replace("[100, 200]", "100");
    place.write("sweep.toml", sweep.replace("epochs = 40", "epochs = [1, 2]"));
    place.json("sweep sweep.toml --out swept");
    // The same content at another time is the same.
    place.write("train.tsv", table(0, 300));
    assert_eq!(place.json("sweep sweep.toml --out swept --dry-run")["done"], 4);
    // So is what was called otherwise.
    place.write("one.toml", sweep.replace("epochs = 40", "epochs = 1"));
    assert_eq!(place.json("sweep one.toml --out swept --dry-run")["done"], 2);
    place.write("train.tsv", table(5, 300));
    assert_eq!(place.json("sweep sweep.toml --out swept --dry-run")["done"], 0);
    place.write("train.tsv", table(0, 300));
    place.write("plugins.toml", place.read("plugins.toml").replace("salt = 'one'", "salt = 'other'"));
    assert_eq!(place.json("sweep sweep.toml --out swept --dry-run")["done"], 0);
}

#[test]
fn finished_fits_are_judged_on_the_rows_that_the_sweep_names_now() {
    let place = place();
    let sweep = SWEEP.replace("['one', 'three']", "'one'").replace("[100, 200]", "100").replace("seeds = 2\n", "");
    place.write("sweep.toml", &sweep);
    let first = place.json("sweep sweep.toml --out swept");
    assert_eq!(first["pairs"], 40);
    let run = first["rows"][0]["runs"][0]["run"].as_str().unwrap();
    let adapters = place.path(run).join("adapters.safetensors");
    let fitted = || std::fs::metadata(&adapters).unwrap().modified().unwrap();
    let time = fitted();

    // Other rows to judge on, and both of two files, are the same fit.
    place.write("other.tsv", table(300, 60));
    for (test, pairs) in [("{ file = 'test.tsv', limit = 30 }", 30), ("'other.tsv'", 60)] {
        place.write("sweep.toml", sweep.replace("'test.tsv'", test));
        assert_eq!(place.json("sweep sweep.toml --out swept --dry-run")["done"], 1);
        let judged = place.json("sweep sweep.toml --out swept");
        assert_eq!(judged["pairs"], pairs);
    }
    let alone = place.json(&format!("eval {run} --data other.tsv"));
    let judged: Value = serde_json::from_str(&place.read("swept/sweep.json")).unwrap();
    let mean = |of: &Value| of["mean"].as_f64().unwrap();
    assert!((mean(&alone["mean"]) - mean(&judged["rows"][0]["recall"])).abs() < 1e-9, "{alone} {judged}");
    place.write("both.toml", sweep.replace("'test.tsv'", "['test.tsv', 'other.tsv']"));
    let planned = place.json("sweep both.toml --out both --dry-run");
    assert_eq!((&planned["variations"], &planned["fits"]), (&2.into(), &1.into()), "{planned}");
    let both = place.json("sweep both.toml --out both");
    let pairs: Vec<u64> = both["rows"].as_array().unwrap().iter().map(|row| row["pairs"].as_u64().unwrap()).collect();
    assert_eq!((pairs, runs(&place.path("both"))), (vec![40, 60], [1, 1]));
    // The easier rows are no better setting.
    assert!(both["best"].is_null() && both["rows"][1]["behind"].is_null(), "{both}");
    place.run("sweep both.toml --out both").fails(0, "none is called the best, because not all are judged on the same");
    assert!(!place.read("both/index.html").contains("Best: "));

    // So are other rows for validation, whichever are judged on; where they stop a training, they are another one.
    let validated = format!("on = 'validation'\n{}", sweep.replace("test = ", "validation = 'other.tsv'\ntest = "));
    place.write("sweep.toml", &validated);
    assert_eq!(place.json("sweep sweep.toml --out swept --dry-run")["done"], 1);
    assert_eq!(place.json("sweep sweep.toml --out swept")["pairs"], 60);
    assert_eq!(fitted(), time, "nothing was fitted again");
    place.write("sweep.toml", validated.replace("epochs = 40", "epochs = 40\npatience = 3"));
    place.json("sweep sweep.toml --out swept");
    assert_eq!(place.json("sweep sweep.toml --out swept --dry-run")["done"], 1);
    place.write("other.tsv", table(300, 50));
    assert_eq!(place.json("sweep sweep.toml --out swept --dry-run")["done"], 0);

    // A project that was copied is judged on its own rows, and one that was moved on those that it has.
    place.write("sweep.toml", &sweep);
    let moved = Place::new("");
    copy_folder(&place.path(""), &moved.path(""));
    moved.write("test.tsv", table(340, 20));
    assert_eq!(moved.json("sweep sweep.toml --out swept --dry-run")["done"], 1);
    assert_eq!(moved.json("sweep sweep.toml --out swept")["pairs"], 20);
    drop(place);
    assert_eq!(moved.json("sweep sweep.toml --out swept")["pairs"], 20);
}

#[test]
fn towers_of_latents_are_fitted_once_from_wherever_the_sweep_is_started() {
    let place = Place::new("");
    place.write("deep/plugins.toml", "");
    precomputed(&place, "deep/train.safetensors", 400, 1);
    precomputed(&place, "deep/test.safetensors", 50, 2);
    let towers = "[tower.image]\nprecomputed = true\n[tower.text]\nprecomputed = true\n";
    let files = "[[pairs]]\ntrain = 'train.safetensors'\ntest = 'test.safetensors'\n";
    let pairs = format!("{files}image = 'z_image'\ntext = 'z_text'\n");
    place.write("deep/sweep.toml", format!("{towers}{pairs}[fit]\nmethod = ['ridge', 'procrustes']\n"));
    place.json("sweep deep/sweep.toml --out deep/swept");
    let mut inside = place.command("sweep sweep.toml --out swept --dry-run --json");
    let planned = crate::common::Ran::from(inside.current_dir(place.path("deep")).output().unwrap()).json_code(0);
    assert_eq!((&planned["fits"], &planned["done"]), (&2.into(), &2.into()), "{planned}");
    // Others of the same name are other fits.
    precomputed(&place, "deep/train.safetensors", 300, 3);
    assert_eq!(place.json("sweep deep/sweep.toml --out deep/swept --dry-run")["done"], 0);
}

#[test]
fn times_of_fits_tell_those_of_the_others() {
    let place = place();
    let seconds = || place.json("sweep sweep.toml --out swept --dry-run")["seconds"].as_f64().unwrap();
    let reckoned = seconds();
    place.write("swept/times.jsonl", "{\"method\": \"fusemix\", \"reckoned\": 1.0, \"taken\": 1e4}\n");
    assert!((seconds() / reckoned / 1e4 - 1.0).abs() < 1e-6, "{} {reckoned}", seconds());
    place.run("sweep sweep.toml --out swept --dry-run").fails(0, "they take about ");
    // Of long trainings, a few steps are timed.
    std::fs::remove_dir_all(place.path("swept")).unwrap();
    place.write("sweep.toml", SWEEP.replace("epochs = 40", "epochs = 40000"));
    assert!(seconds() > 0.0 && !place.path("swept").exists());
}
