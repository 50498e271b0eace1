//! Run folders: what they hold, and what replaces it.

use super::*;
use crate::whole_file::beside;

fn info(seed: u64) -> RunInfo {
    RunInfo {
        method: crate::config::Method::Fusemix,
        fusemix: "0".into(),
        seed,
        device: "cpu".into(),
        pairs: 2,
        towers: vec![],
        adapters: None,
        anchors: None,
        seen: None,
    }
}

fn trained(path: &Path, seed: u64) {
    let run = RunFolder::create(path, true).unwrap();
    fs::write(run.metrics(), seed.to_string()).unwrap();
    run.finish(&info(seed)).unwrap();
}

fn seed(path: &Path) -> u64 {
    let (run, info) = RunFolder::open(path).unwrap();
    assert_eq!(fs::read_to_string(run.metrics()).unwrap(), info.seed.to_string());
    info.seed
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_finished_run_is_not_overwritten_by_accident() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunFolder::create(&path, false).unwrap();
    assert!(matches!(RunFolder::open(&path), Err(RunError::NoRun { .. })));
    fs::write(run.metrics(), "1").unwrap();
    run.finish(&info(1)).unwrap();
    assert_eq!(seed(&path), 1);
    assert!(matches!(RunFolder::create(&path, false), Err(RunError::Exists { .. })));
    // As a shell completes it.
    let run = RunFolder::create(&folder.path().join("run/"), true).unwrap();
    fs::write(run.metrics(), "2").unwrap();
    assert_eq!(seed(&path), 1, "the old run stays until the new one is there");
    run.finish(&info(2)).unwrap();
    assert_eq!(seed(&path), 2);
    assert_eq!(names(folder.path()), ["run"]);
    assert_eq!(names(&path), ["metrics.jsonl", "run.json"]);
    fs::write(path.join(INFO), [0xff, 0xfe, 0]).unwrap();
    assert!(matches!(RunFolder::open(&path), Err(RunError::Corrupt { .. })));
}

#[test]
fn a_recipe_is_written_whole_or_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&folder.path().join("run"), false).unwrap();
    run.write_recipe("first").unwrap();
    // Another name of the file that is there: a new one takes its place, and nothing is written into it.
    let kept = folder.path().join("kept");
    fs::hard_link(run.recipe(), &kept).unwrap();
    run.write_recipe("second").unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(read(&kept), format!("{RESOLVED}\nfirst"));
    assert_eq!(read(&run.recipe()), format!("{RESOLVED}\nsecond"));
    assert_eq!(names(run.path()), ["recipe.toml"]);
}

#[test]
fn one_process_trains_into_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let first = RunFolder::create(&path, false).unwrap();
    assert!(matches!(RunFolder::create(&path, true), Err(RunError::InUse { .. })));
    assert!(matches!(RunFolder::resume(&path), Err(RunError::InUse { .. })));
    drop(first);
    trained(&path, 1);
    let first = RunFolder::create(&path, true).unwrap();
    assert!(matches!(RunFolder::create(&path, true), Err(RunError::InUse { .. })));
    first.write_recipe("").unwrap();
    drop(first);
    drop(RunFolder::resume(&path).unwrap());
}

/// Every moment at which a replacement can be stopped, with an exchange and with two renames.
#[test]
fn a_replacement_that_was_stopped_is_completed_or_taken_back() {
    let place = || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        trained(&path, 1);
        let run = RunFolder::create(&path, true).unwrap();
        fs::write(run.metrics(), "2").unwrap();
        (folder, path, run)
    };
    let finished = |run: &RunFolder| {
        fs::write(run.made.join(INFO), serde_json::to_string(&info(2)).unwrap()).unwrap();
    };
    // As `rename` does it, in steps.
    let exchange = |path: &Path, made: &Path| {
        let aside = beside(path, ".aside");
        fs::write(path.join("replaced"), "").unwrap();
        fs::rename(path, &aside).unwrap();
        fs::rename(made, path).unwrap();
        fs::rename(&aside, made).unwrap();
    };
    type Stop<'a> = &'a dyn Fn(&Path, &RunFolder);
    let moments: [Stop<'_>; 5] = [
        &|_, _| {},
        &|path, run| exchange(path, &run.made),
        &|path, run| {
            exchange(path, &run.made);
            fs::remove_file(run.made.join(INFO)).unwrap();
        },
        &|path, _| {
            fs::write(path.join("replaced"), "").unwrap();
            fs::rename(path, beside(path, ".old")).unwrap();
        },
        &|path, run| {
            fs::write(path.join("replaced"), "").unwrap();
            fs::rename(path, beside(path, ".old")).unwrap();
            fs::rename(&run.made, path).unwrap();
        },
    ];
    for (moment, stop) in moments.into_iter().enumerate() {
        let (folder, path, run) = place();
        // What is not the program's goes with the name of the run.
        fs::write(path.join("notes.txt"), "precious").unwrap();
        fs::create_dir(path.join("figures")).unwrap();
        fs::write(path.join("figures/one.png"), "a picture").unwrap();
        finished(&run);
        stop(&path, &run);
        drop(run);
        // Whoever only reads finds a whole run, and moves nothing.
        let before = names(folder.path());
        assert!((1..=2).contains(&seed(&path)), "moment {moment}");
        assert_eq!(names(folder.path()), before, "moment {moment}");
        assert!(matches!(RunFolder::create(&path, false), Err(RunError::Exists { .. })), "moment {moment}");
        assert_eq!(seed(&path), 2, "moment {moment}");
        assert!(matches!(RunFolder::resume(&path), Err(RunError::Finished { .. })), "moment {moment}");
        trained(&path, 3);
        assert_eq!(seed(&path), 3, "moment {moment}");
        assert_eq!(names(folder.path()), ["run"], "moment {moment}");
        assert_eq!(names(&path), ["figures", "metrics.jsonl", "notes.txt", "run.json"], "moment {moment}");
        assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "precious", "moment {moment}");
        assert_eq!(fs::read_to_string(path.join("figures/one.png")).unwrap(), "a picture", "moment {moment}");
    }
    // Not finished: the old run stays.
    let (_folder, path, run) = place();
    drop(run);
    assert_eq!(seed(&path), 1);
    drop(RunFolder::resume(&path).unwrap());
    assert_eq!(seed(&path), 1);
}

#[test]
fn folders_of_others_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (path, new, old) = ["run", "run.new", "run.old"].map(|name| folder.path().join(name)).into();
    trained(&path, 1);
    trained(&old, 7);
    fs::create_dir(&new).unwrap();
    fs::write(new.join("notes.txt"), "precious").unwrap();
    assert!(matches!(RunFolder::create(&path, false), Err(RunError::Exists { .. })));
    assert!(matches!(RunFolder::create(&path, true), Err(RunError::Taken { .. })));
    assert!(matches!(RunFolder::resume(&path), Err(RunError::Finished { .. })));
    assert_eq!((seed(&path), seed(&old), names(&new)), (1, 7, vec!["notes.txt".to_owned()]));
    fs::rename(&path, folder.path().join("moved")).unwrap();
    assert!(matches!(RunFolder::open(&path), Err(RunError::NoRun { .. })));
    assert_eq!(seed(&old), 7);
}

/// Of two of one name, neither is lost.
#[test]
fn what_is_in_the_new_folder_already_stays_beside_what_is_carried_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    trained(&path, 1);
    fs::write(path.join("notes.txt"), "old").unwrap();
    let run = RunFolder::create(&path, true).unwrap();
    fs::write(run.metrics(), "2").unwrap();
    fs::write(run.made.join("notes.txt"), "new").unwrap();
    run.finish(&info(2)).unwrap();
    assert_eq!(names(&path), ["metrics.jsonl", "notes.txt", "notes.txt.old", "run.json"]);
    assert_eq!(["notes.txt", "notes.txt.old"].map(|name| fs::read_to_string(path.join(name)).unwrap()), ["new", "old"]);
}

/// One that waits while another finishes finds what it left.
#[test]
fn what_was_finished_meanwhile_is_found() {
    for overwrite in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        if overwrite {
            trained(&path, 1);
        }
        let first = RunFolder::create(&path, overwrite).unwrap();
        fs::write(first.metrics(), "2").unwrap();
        std::thread::scope(|scope| {
            let create = scope.spawn(|| RunFolder::create(&path, false).map(drop));
            let resume = scope.spawn(|| RunFolder::resume(&path).map(drop));
            std::thread::sleep(std::time::Duration::from_millis(200));
            first.finish(&info(2)).unwrap();
            assert!(matches!(create.join().unwrap(), Err(RunError::Exists { .. })));
            assert!(matches!(resume.join().unwrap(), Err(RunError::Finished { .. })));
        });
        assert_eq!((seed(&path), names(folder.path())), (2, vec!["run".to_owned()]));
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_run_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder.path().join("elsewhere"), 1);
    let link = folder.path().join("run");
    std::os::unix::fs::symlink("elsewhere", &link).unwrap();
    trained(&link, 2);
    assert!(link.is_symlink());
    assert_eq!((seed(&link), seed(&folder.path().join("elsewhere"))), (2, 2));
    assert_eq!(names(folder.path()), ["elsewhere", "run"]);
}

#[test]
fn a_folder_that_stayed_empty_goes_unless_it_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/run");
    drop(RunFolder::create(&path, false).unwrap());
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    drop(RunFolder::create(&path, false).unwrap());
    assert!(path.is_dir());
    fs::remove_dir(&path).unwrap();
    let held = RunFolder::create(&path, false).unwrap();
    let other = held.clone();
    drop(held);
    other.write_recipe("").unwrap();
    drop(other);
    assert!(path.is_dir());
    // That of a run which was to replace another.
    trained(&path, 1);
    let new = beside(&path, ".new");
    let held = RunFolder::create(&path, true).unwrap();
    assert!(new.is_dir());
    drop(held);
    assert!(!new.exists());
    RunFolder::create(&path, true).unwrap().write_recipe("").unwrap();
    assert!(new.is_dir() && seed(&path) == 1);
}
