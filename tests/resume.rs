//! `fusemix train --resume`: a training that is stopped anywhere ends as if it had never stopped.

use std::time::Duration;

use crate::common::{Place, Ran, interrupt};
use crate::seed::Random;
use crate::train::{ENCODERS, RECIPE, place};

/// A place whose training takes some thousand steps, with checkpoints in between.
fn long() -> Place {
    let place = place();
    let recipe = RECIPE.replace("epochs = 60", "epochs = 4000\neval_every = 100\nema = 0.99\ncheckpoint_steps = 20");
    place.write("fusion.toml", recipe);
    place
}

fn epochs(place: &Place, run: &str) -> usize {
    place.read(&format!("{run}/metrics.jsonl")).lines().count()
}

/// The metrics without timings.
fn metrics(place: &Place, run: &str) -> Vec<serde_json::Value> {
    let line = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("pairs_per_second");
        line
    };
    place.read(&format!("{run}/metrics.jsonl")).lines().map(line).collect()
}

#[test]
fn killed_at_twenty_moments_the_weights_are_those_of_an_uninterrupted_run() {
    let place = long();
    place.json("train fusion.toml --out whole --device cpu");
    let (mut resumed, random) = (0, Random::new("kills of a training"));
    for kill in 0..100 {
        // A machine that is busy takes longer until its first checkpoint.
        if kill >= 20 && resumed > 0 {
            break;
        }
        // Moments all over a run.
        let moment = Duration::from_millis(60 + 7 * kill + random.below(90));
        place.kill_after("train fusion.toml --out run --device cpu --resume", moment);
        resumed += usize::from(place.path("run/checkpoint.safetensors").exists());
    }
    assert!(resumed > 0, "no checkpoint was written between the kills");
    place.run("train fusion.toml --out run --device cpu --resume");
    let adapters = |run: &str| std::fs::read(place.path(run).join("adapters.safetensors")).unwrap();
    assert!(adapters("run") == adapters("whole"), "other weights");
    assert!(metrics(&place, "run") == metrics(&place, "whole"), "other metrics");
    assert!(!place.path("run/checkpoint.safetensors").exists(), "a finished run needs no checkpoint");
    place.run("train fusion.toml --out run --device cpu --resume").fails(1, "there is nothing to resume");
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_checkpoint_and_an_old_run_stays_until_the_new_one_is_there() {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    let old = place.read("run/run.json");
    place.write("fusion.toml", RECIPE.replace("epochs = 60", "epochs = 100000"));
    let mut running = place.start("train fusion.toml --out run --device cpu --overwrite --seed 7");
    while epochs(&place, "run.new") < 5 {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&running);
    assert_eq!(running.wait().unwrap().code(), Some(130));
    assert_eq!(place.read("run/run.json"), old);
    place.run("eval run").fails(0, "run.new holds a training that was stopped before its run could replace run; go on");
    let message = "run already holds a run, and run.new a training that was to replace it";
    place.run("train fusion.toml --out run --device cpu").fails(1, message);

    place.run("train fusion.toml --out run --device cpu --resume --seed 1").fails(1, "then seed = 7; now seed = 1");
    place.write("plugins.toml", ENCODERS.replace("'two'\nwidth", "'other'\nwidth"));
    place.run("train fusion.toml --out run --device cpu --resume").fails(1, "it belongs to another training");
    place.write("plugins.toml", ENCODERS);
    place.write("fusion.toml", RECIPE.replace("epochs = 60", "epochs = 100000\nlr_end = 1e-5"));
    place.run("train fusion.toml --out run --device cpu --resume").fails(1, "lr_end = 0.00001");
    place.write("fusion.toml", RECIPE);
    place.json("train fusion.toml --out run --device cpu --overwrite");
    assert!(!place.path("run.new").exists());
}

#[test]
fn a_training_that_is_resumed_keeps_its_seed_and_needs_no_metrics() {
    let place = place();
    place.json("train fusion.toml --out whole --device cpu --seed 7");
    place.write("fusion.toml", RECIPE.to_owned() + "checkpoint_steps = 5\n");
    let mut running = place.start("train fusion.toml --out run --device cpu --seed 7");
    while !place.path("run/checkpoint.previous.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(1));
        assert!(running.try_wait().unwrap().is_none(), "the training was over too soon");
    }
    running.kill().unwrap();
    running.wait().unwrap();
    std::fs::remove_file(place.path("run/metrics.jsonl")).unwrap();
    // The machine went down between two writes.
    std::fs::remove_file(place.path("run/checkpoint.safetensors")).unwrap();
    place.run("train fusion.toml --out run --device cpu").fails(1, "run holds an unfinished training");
    let recipe = place.read("fusion.toml");
    place.write("fusion.toml", recipe.replace("left = 'a'", "left = 'a'\nweight = 2.0"));
    place.run("train fusion.toml --out run --device cpu --resume").fails(1, "weight of pairs 1 = 2");
    place.write("fusion.toml", recipe);
    assert_eq!(place.json("train fusion.toml --out run --device cpu --resume")["seed"], 7);
    let weights = |run: &str| std::fs::read(place.path(&format!("{run}/adapters.safetensors"))).unwrap();
    assert!(weights("run") == weights("whole"));
}

#[test]
fn a_training_goes_on_from_the_closed_form_that_it_began_from() {
    goes_on_with_its_closed_form(RECIPE.to_owned() + "start = 'kernel-cca'\n");
}

#[test]
fn a_training_goes_on_with_the_teacher_that_it_began_with() {
    let unpaired = "[[unpaired]]\ntrain = 'test.tsv'\nleft = 'a'\n[train]\nunpaired_batch = 16\n";
    goes_on_with_its_closed_form(RECIPE.replace("[train]\n", unpaired));
}

fn goes_on_with_its_closed_form(recipe: String) {
    let place = place();
    place.write("fusion.toml", &recipe);
    place.json("train fusion.toml --out whole --device cpu");
    place.write("fusion.toml", recipe + "checkpoint_steps = 5\n");
    let mut running = place.start("train fusion.toml --out run --device cpu");
    while !place.path("run/checkpoint.previous.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(1));
        assert!(running.try_wait().unwrap().is_none(), "the training was over too soon");
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(place.path("run/start.safetensors").exists());
    let mut resumed = place.command("train fusion.toml --out run --device cpu --resume");
    // With other threads a closed form comes out otherwise in its last digits.
    let ran = Ran::from(resumed.env("RAYON_NUM_THREADS", "1").output().unwrap());
    ran.fails(0, "");
    let weights = |run: &str| std::fs::read(place.path(&format!("{run}/adapters.safetensors"))).unwrap();
    assert!(weights("run") == weights("whole"));
    assert!(!place.path("run/start.safetensors").exists(), "a finished run needs none");
}

/// Killed before its first checkpoint.
#[test]
fn a_training_that_has_just_begun_keeps_its_seed() {
    let place = place();
    place.json("train fusion.toml --out whole --device cpu --seed 7");
    place.write("fusion.toml", RECIPE.replace("epochs = 60", "epochs = 100000"));
    let mut running = place.start("train fusion.toml --out run --device cpu --seed 7");
    while !place.path("run/training.json").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(!place.path("run/checkpoint.safetensors").exists());
    place.write("fusion.toml", RECIPE);
    assert_eq!(place.json("train fusion.toml --out run --device cpu --resume")["seed"], 7);
    let weights = |run: &str| std::fs::read(place.path(&format!("{run}/adapters.safetensors"))).unwrap();
    assert!(weights("run") == weights("whole"));
    let mut files: Vec<_> =
        std::fs::read_dir(place.path("run")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["adapters.safetensors", "metrics.jsonl", "recipe.toml", "run.json", "seen.safetensors"]);
}

#[test]
fn two_trainings_into_one_folder_are_refused_and_so_is_what_was_changed() {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    place.write("long.toml", RECIPE.replace("epochs = 60", "epochs = 1000000"));
    let mut running = place.start("train long.toml --out run --device cpu --overwrite");
    while place.read("run.new/metrics.jsonl").lines().count() < 5 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let message = "another process is training into run";
    place.run("train fusion.toml --out run/ --device cpu --overwrite").fails(1, message);
    place.run("train fusion.toml --out run --device cpu --resume").fails(1, message);
    running.kill().unwrap();
    running.wait().unwrap();
    place.json("train fusion.toml --out run --device cpu --overwrite");
    let path = place.path("run/adapters.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    place.run("eval run").fails(1, "run/adapters.safetensors is not the file that the training wrote");
    place.write("run/run.json", [0xff, 0xfe, 0x00]);
    place.run("eval run").fails(1, "cannot read run/run.json");
}

#[test]
fn the_folder_that_one_is_in_is_filled_but_not_replaced() {
    let place = place();
    place.json("train fusion.toml --out . --device cpu");
    place.json("eval .");
    place.run("train fusion.toml --out . --device cpu").fails(1, "already holds a run");
    place.run("train fusion.toml --out . --device cpu --overwrite").fails(1, "the folder that you are in");
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_training() {
    let place = place();
    place.write("fusion.toml", RECIPE.replace("epochs = 60", "epochs = 1000000"));
    let mut running = place.start("train fusion.toml --out run --device cpu");
    while place.read("run/metrics.jsonl").lines().count() < 5 {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&running);
    assert_eq!(running.wait().unwrap().code(), Some(130));
    place.run("eval run").fails(3, "holds no finished run");
    place.run("train fusion.toml --out run --device cpu").fails(1, "use --resume to continue it");
}
