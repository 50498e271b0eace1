//! Interrupted commits: whatever part of them reached the disk, they exist entirely or not at all.

use super::*;
use std::collections::BTreeSet;
use std::fs;

type Files = BTreeMap<String, Vec<u8>>;

fn read(folder: &Path) -> Files {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())).collect()
}

fn write(files: &Files) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
    folder
}

/// A step of a gallery's life.
type Step = fn(&mut Writer);

/// Appends that end segments or not, replacements and removals.
const STEPS: [Step; 6] = [
    |writer| _ = append(writer, &["a", "b", "c"], 0.0),
    |writer| _ = append(writer, &["d", "a", "e"], 20.0),
    |writer| _ = writer.remove(&["b", "e"]).unwrap(),
    |writer| _ = append(writer, &["f", "g", "h", "i", "j"], 40.0),
    |writer| _ = append(writer, &["f", "d"], 60.0),
    |writer| _ = writer.remove(&["a"]).unwrap(),
];

/// Checks a folder whose next commit was interrupted against its contents `before`: for a reader and the next writer.
fn is_as_before(files: &Files, before: &[(Exhibit, Vec<f32>)], what: &str) {
    let folder = write(files);
    assert_eq!(contents(folder.path()), before, "{what}");
    let mut writer = Writer::open(folder.path()).unwrap();
    append(&mut writer, &["new"], 90.0);
    let after = contents(folder.path());
    assert_eq!(after[..before.len()], *before, "{what}");
    assert_eq!(after[before.len()..], [(exhibit("new", 3), vec![90.0, 91.0])], "{what}");
}

#[test]
fn a_commit_that_is_killed_at_any_byte_does_not_count() {
    // In the order in which a commit writes them; segments come first.
    const ORDER: [&str; 4] = ["items.jsonl", "offsets", "removed", "log"];
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), 2, Dtype::F32);
    let mut killed = 0;
    for (number, step) in STEPS.iter().enumerate() {
        let (old, before) = (read(folder.path()), contents(folder.path()));
        step(&mut writer);
        let new = read(folder.path());
        let segments = new.keys().filter(|name| name.starts_with("vectors")).map(String::as_str);
        let mut files = old.clone();
        for name in segments.chain(ORDER) {
            let (start, end) = (old.get(name).map_or(0, Vec::len), new[name].len());
            for length in start..end {
                files.insert(name.to_owned(), new[name][..length].to_vec());
                is_as_before(&files, &before, &format!("step {number}, {name} of {length} bytes"));
                killed += 1;
            }
            files.insert(name.to_owned(), new[name].clone());
        }
        assert_eq!(files, new);
        assert_eq!(contents(write(&files).path()), contents(folder.path()));
    }
    assert!(killed > 800, "{killed}");
}

#[test]
fn a_power_cut_may_lose_any_of_the_files_of_a_commit_that_has_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), 2, Dtype::F32);
    for (number, step) in STEPS.iter().enumerate() {
        let (old, before) = (read(folder.path()), contents(folder.path()));
        step(&mut writer);
        let new = read(folder.path());
        let changed: Vec<&String> =
            new.keys().filter(|name| *name != "log" && old.get(*name) != new.get(*name)).collect();
        for subset in 0..1 << changed.len() {
            let mut files = old.clone();
            let kept: BTreeSet<_> =
                (0..changed.len()).filter(|bit| subset >> bit & 1 == 1).map(|bit| changed[bit]).collect();
            kept.iter().for_each(|name| drop(files.insert((*name).clone(), new[*name].clone())));
            // The log may have grown without its record.
            files.get_mut("log").unwrap().resize(new["log"].len(), 0);
            is_as_before(&files, &before, &format!("step {number}, with {kept:?}"));
        }
    }
}

/// As `rm -r` does, beside a writer.
#[test]
fn nothing_is_written_into_a_folder_that_is_being_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let mut writer = Writer::create(&path, info(2, Dtype::F32)).unwrap();
    writer.append(&[exhibit("a", 1)], &[1.0, 0.0]).unwrap();
    for file in std::fs::read_dir(&path).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let error = writer.append(&[exhibit("b", 1)], &[1.0, 0.0]).unwrap_err();
    assert!(matches!(error, GalleryError::Rebuilt { .. }), "{error}");
    writer.remove(&["a"]).unwrap_err();
    std::fs::remove_dir(&path).unwrap();
}

/// Each in the place of the other, as `mv` does it.
#[test]
fn a_gallery_that_takes_the_place_of_another_gets_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let made = |name: &str, id: &str| {
        let mut writer = Writer::create(&at(name), info(2, Dtype::F32)).unwrap();
        writer.append(&[exhibit(id, 1)], &[1.0, 0.0]).unwrap();
        writer
    };
    let (mut writer, other) = (made("gallery", "a"), made("other", "b"));
    drop(other);
    let before = read(&at("other"));
    fs::rename(at("gallery"), at("aside")).unwrap();
    fs::rename(at("other"), at("gallery")).unwrap();
    let error = writer.append(&[exhibit("c", 1)], &[0.0, 1.0]).unwrap_err();
    assert!(matches!(error, GalleryError::Rebuilt { .. }), "{error}");
    assert!(read(&at("gallery")) == before);
    assert!(Gallery::open(&at("aside")).unwrap().verify().is_ok());
    // One that is opened has not begun in the other.
    assert!(Writer::open(&at("gallery")).unwrap().contains("b").unwrap());
}
