//! Files that are recognised, and those that must not be.

use super::*;
use fusemix_sdk::Modality;
use std::fs::{File, FileTimes, Metadata};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A file in the folder, and the time from which it may count as unchanged: its times cannot be set back.
fn file(folder: &TempDir, name: &str, content: &str) -> (PathBuf, Metadata, SystemTime) {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    (path, metadata, SystemTime::now() + Duration::from_secs(3))
}

#[test]
fn a_file_is_recognised_until_it_changes() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stamps = FileStamps::open(cache.path());
    let (path, metadata, later) = file(&folder, "a.png", "picture");
    assert_eq!(stamps.get(&Modality::Image, &path, &metadata), None);
    stamps.put(&Modality::Image, &path, &metadata, later, key(1));
    for _ in 0..2 {
        assert_eq!(stamps.get(&Modality::Image, &path, &metadata), Some(key(1)));
        assert_eq!(stamps.get(&Modality::Audio, &path, &metadata), None);
        stamps.flush();
    }
    let again = FileStamps::open(cache.path());
    assert_eq!(again.get(&Modality::Image, &path, &metadata), Some(key(1)));

    // Touched.
    let written = metadata.modified().unwrap();
    let set = |time| File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(time));
    set(written + Duration::from_secs(1)).unwrap();
    assert_eq!(again.get(&Modality::Image, &path, &std::fs::metadata(&path).unwrap()), None);
    // Another content of the same size, and the time as it was.
    std::fs::write(&path, "erutcip").unwrap();
    set(written).unwrap();
    let replaced = std::fs::metadata(&path).unwrap();
    assert_eq!((replaced.len(), replaced.modified().unwrap()), (metadata.len(), written));
    if cfg!(unix) {
        assert_eq!(again.get(&Modality::Image, &path, &replaced), None);
    }
    // Another size.
    std::fs::write(&path, "a larger picture").unwrap();
    let larger = std::fs::metadata(&path).unwrap();
    assert_eq!(again.get(&Modality::Image, &path, &larger), None);
    again.put(&Modality::Image, &path, &larger, later + Duration::from_secs(3), key(2));
    drop(again);
    let again = FileStamps::open(cache.path());
    assert_eq!(again.get(&Modality::Image, &path, &larger), Some(key(2)));
    assert_eq!(again.get(&Modality::Image, &path, &metadata), None);
}

#[test]
fn a_file_that_has_just_changed_is_not_remembered() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stamps = FileStamps::open(cache.path());
    let (path, metadata, later) = file(&folder, "a.png", "picture");
    let second = Duration::from_secs(1);
    for read in [later - 3 * second, later - 2 * second, later - 10 * second] {
        stamps.put(&Modality::Image, &path, &metadata, read, key(1));
        assert_eq!(stamps.get(&Modality::Image, &path, &metadata), None);
    }
    // Its content is old, but it came here just now.
    if cfg!(unix) {
        let long_ago = FileTimes::new().set_modified(later - 1000 * second);
        File::options().write(true).open(&path).unwrap().set_times(long_ago).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        stamps.put(&Modality::Image, &path, &metadata, later - 3 * second, key(1));
        assert_eq!(stamps.get(&Modality::Image, &path, &metadata), None);
    }
    drop(stamps);
    assert!(!cache.path().join("files.log").exists());
}

#[test]
fn damage_costs_what_is_damaged() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files: Vec<_> = (0..300).map(|index| file(&folder, &index.to_string(), &"x".repeat(index))).collect();
    let put = |stamps: &FileStamps, indices: std::ops::Range<usize>| {
        for (index, (path, metadata, later)) in files.iter().enumerate().take(indices.end).skip(indices.start) {
            stamps.put(&Modality::Image, path, metadata, *later, key(index));
        }
    };
    let found = |stamps: &FileStamps| -> Vec<usize> {
        let get = |index: &usize| match stamps.get(&Modality::Image, &files[*index].0, &files[*index].1) {
            Some(found) => found == key(*index) || panic!("another file's key"),
            None => false,
        };
        (0..300).filter(get).collect()
    };
    for index in 0..200 {
        put(&FileStamps::open(cache.path()), index..index + 1);
    }
    let log = cache.path().join("files.log");
    let bytes = std::fs::read(&log).unwrap();
    assert_eq!(bytes.len(), 201 * 96);
    assert_eq!(found(&FileStamps::open(cache.path())), (0..200).collect::<Vec<_>>());

    let mut noisy = bytes.clone();
    noisy[96 * 11 + 40] ^= 1;
    // Stamp 10 is damaged, the last was not completed.
    std::fs::write(&log, &noisy[..201 * 96 - 1]).unwrap();
    let expected: Vec<usize> = (0..199).filter(|index| *index != 10).collect();
    let stamps = FileStamps::open(cache.path());
    assert_eq!(found(&stamps), expected);
    put(&stamps, 199..300);
    drop(stamps);
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 301 * 96);
    let expected: Vec<usize> = (0..300).filter(|index| *index != 10).collect();
    assert_eq!(found(&FileStamps::open(cache.path())), expected);

    // Without a header it is nothing, and begins again.
    std::fs::write(&log, &bytes[50..]).unwrap();
    let stamps = FileStamps::open(cache.path());
    assert_eq!(found(&stamps), [0; 0]);
    put(&stamps, 0..3);
    drop(stamps);
    assert_eq!(found(&FileStamps::open(cache.path())), [0, 1, 2]);
}

#[test]
fn a_cache_that_is_not_written_to_is_read() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, metadata, later) = file(&folder, "a.png", "picture");
    FileStamps::open(cache.path()).put(&Modality::Image, &path, &metadata, later, key(1));
    let log = cache.path().join("files.log");
    let mut newer = std::fs::read(&log).unwrap();
    let mut header: [u8; 96] = *newer.first_chunk().unwrap();
    header[8] = 2;
    newer[..96].copy_from_slice(&crate::cache::records::seal(header));
    // A newer version's, and one in a folder that is none.
    std::fs::write(&log, &newer).unwrap();
    for stamps in [FileStamps::open(cache.path()), FileStamps::open(&log)] {
        stamps.put(&Modality::Image, &path, &metadata, later, key(2));
        stamps.flush();
        stamps.put(&Modality::Image, &path, &metadata, later, key(2));
        assert_eq!(stamps.get(&Modality::Image, &path, &metadata), None);
    }
    assert_eq!(std::fs::read(&log).unwrap(), newer);
}

const CACHE: &str = "FUSEMIX_TEST_STAMPS";

/// The stamp of the file `name` in the folder of another's stamps.
fn add(cache: &Path, names: std::ops::Range<usize>) {
    for name in names {
        let path = cache.join(name.to_string());
        std::fs::write(&path, "x").unwrap();
        let (metadata, later) = (std::fs::metadata(&path).unwrap(), SystemTime::now() + Duration::from_secs(3));
        FileStamps::open(cache).put(&Modality::Image, &path, &metadata, later, key(name));
    }
}

/// The process that [`two_processes_add_theirs`] starts.
#[test]
#[ignore = "started by another test"]
fn another_process() {
    add(Path::new(&std::env::var_os(CACHE).unwrap()), 1000..1300);
}

#[test]
fn two_processes_add_theirs() {
    let cache = tempfile::tempdir().unwrap();
    let name = format!("{}::another_process", module_path!().split_once("::").unwrap().1);
    let mut other = std::process::Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--ignored"])
        .env(CACHE, cache.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    add(cache.path(), 0..300);
    assert!(other.wait().unwrap().success());
    let stamps = FileStamps::open(cache.path());
    for name in (0..300).chain(1000..1300) {
        let path = cache.path().join(name.to_string());
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(stamps.get(&Modality::Image, &path, &metadata), Some(key(name)), "{name}");
    }
}
