//! The cache's contract: committed data is intact, and uncommitted data leaves no trace.

mod beside;
mod lost;
mod stamps;
mod stopped;

use super::*;
use crate::latents::Latents;
use std::collections::BTreeMap;
use tempfile::TempDir;

fn fingerprint() -> Fingerprint {
    Fingerprint::new(BTreeMap::from([("plugin".into(), "mock".into())]))
}

fn open(cache: &TempDir) -> Store {
    Store::open(cache.path(), &fingerprint(), "mock").unwrap()
}

fn key(index: usize) -> Key {
    Key::of(&fusemix_sdk::Modality::Text, &index.to_le_bytes())
}

fn latent(index: usize) -> Vec<f32> {
    (0..5).map(|column| (index * 5 + column) as f32).collect()
}

/// Those of them that have no latent.
fn append(store: &Store, indices: std::ops::Range<usize>) {
    let known = store.known(&indices.clone().map(key).collect::<Vec<_>>()).unwrap();
    let missing = indices.zip(known).filter(|(_, known)| !matches!(known, Some(Known::Row(_))));
    let rows: Vec<(Key, Vec<f32>)> = missing.map(|(index, _)| (key(index), latent(index))).collect();
    let rows: Vec<(Key, &[f32])> = rows.iter().map(|(key, row)| (*key, row.as_slice())).collect();
    store.append(&rows, &[]).unwrap();
}

fn read(store: &Store, index: usize) -> Vec<f32> {
    let Some(Known::Row(row)) = store.known(&[key(index)]).unwrap()[0].clone() else { panic!("not stored") };
    let mut out = vec![0.0; 5];
    store.latents(vec![row]).unwrap().copy_row(0, &mut out);
    out
}

#[test]
fn rows_are_found_again_after_reopening() {
    let cache = tempfile::tempdir().unwrap();
    append(&open(&cache), 0..300);
    append(&open(&cache), 300..450);
    let store = open(&cache);
    assert!((0..450).all(|index| read(&store, index) == latent(index)));
    assert_eq!(store.known(&[key(450)]).unwrap(), [None]);
    assert_eq!(store.counts().unwrap().rows, 450);
}

#[test]
fn what_is_known_takes_no_other_row() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    append(&store, 0..10);
    append(&store, 5..16);
    assert_eq!(store.counts().unwrap().rows, 16);
    assert_eq!(
        std::fs::metadata(cache.path().join(fingerprint().hex()).join("segment-000000.f32")).unwrap().len(),
        16 * 20
    );
}

/// After some absent keys a filter tells which are absent, and follows additions.
#[test]
fn many_that_are_not_there_hide_none_that_are() {
    let cache = tempfile::tempdir().unwrap();
    append(&open(&cache), 0..3000);
    let store = open(&cache);
    store.append(&[], &[(key(100_000), "corrupt")]).unwrap();
    let none =
        |from: usize| store.known(&(from..from + 3000).map(key).collect::<Vec<_>>()).unwrap() == vec![None; 3000];
    for (from, rows) in [(200_000, 3000), (300_000, 5000), (400_000, 20_000)] {
        append(&store, 3000..rows);
        // The index learns of the rows with the failure.
        store.append(&[], &[(key(100_000 + rows), "corrupt too")]).unwrap();
        assert!((0..rows).all(|index| read(&store, index) == latent(index)), "of {rows} rows");
        let failed = store.known(&[key(100_000), key(100_000 + rows)]).unwrap();
        assert!(failed.iter().all(|known| matches!(known, Some(Known::Failed(_)))), "of {rows} rows: {failed:?}");
        assert!(none(from), "of {rows} rows");
    }
    store.clear().unwrap();
    assert!(none(0));
    append(&store, 0..1);
    assert_eq!(read(&store, 0), latent(0));
}

#[test]
fn rows_that_no_commit_followed_are_overwritten() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    append(&store, 0..3);
    // A crash between the two steps of an append: whole rows and a torn one, which no index knows.
    let path = cache.path().join(fingerprint().hex()).join("segment-000000.f32");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend([0xab; 20 + 20 + 7]);
    std::fs::write(&path, bytes).unwrap();
    drop(store);
    let store = open(&cache);
    append(&store, 3..9);
    assert!((0..9).all(|index| read(&store, index) == latent(index)));
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn verify_finds_the_row_that_changed() {
    let cache = tempfile::tempdir().unwrap();
    append(&open(&cache), 0..8);
    let path = cache.path().join(fingerprint().hex()).join("segment-000000.f32");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20 * 6 + 3] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let store = open(&cache);
    assert_eq!(store.verify().unwrap(), [key(6)]);
    store.forget(&[key(6)]).unwrap();
    assert_eq!(store.known(&[key(6)]).unwrap(), [None]);
    append(&store, 6..7);
    assert_eq!(read(&store, 6), latent(6));
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn failures_are_remembered_until_a_latent_comes() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    store.append(&[], &[(key(1), "corrupt")]).unwrap();
    assert_eq!(store.known(&[key(1)]).unwrap(), [Some(Known::Failed("corrupt".into()))]);
    append(&store, 1..2);
    store.append(&[], &[(key(1), "again")]).unwrap();
    assert_eq!(store.known(&[key(1)]).unwrap(), [Some(Known::Row(0))]);
    assert_eq!(store.counts().unwrap().failures, 0);
}

#[test]
fn another_width_is_refused_with_both_numbers() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    append(&store, 0..1);
    let error = store.append(&[(key(1), &[1.0, 2.0])], &[]).unwrap_err().to_string();
    assert!(error.contains("holds latents of 5 values, but got one of 2"), "{error}");
}

#[test]
fn a_second_process_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let _store = open(&cache);
    let error = Store::open(cache.path(), &fingerprint(), "mock").err().unwrap();
    assert!(matches!(error, CacheError::InUse { .. }), "{error}");
}

#[test]
fn a_cut_segment_loses_what_was_cut_and_nothing_else() {
    let cache = tempfile::tempdir().unwrap();
    append(&open(&cache), 0..8);
    let path = cache.path().join(fingerprint().hex()).join("segment-000000.f32");
    std::fs::File::options().write(true).open(&path).unwrap().set_len(30).unwrap();
    let store = open(&cache);
    assert_eq!(store.verify().unwrap().len(), 7);
    let known = store.known(&(0..9).map(key).collect::<Vec<_>>()).unwrap();
    assert_eq!((&known[0], &known[1], &known[8]), (&Some(Known::Row(0)), &Some(Known::Damaged), &None));
    append(&store, 0..8);
    assert!((0..8).all(|index| read(&store, index) == latent(index)));
    assert!(store.verify().unwrap().is_empty());
}

#[test]
fn the_list_names_every_store() {
    let cache = tempfile::tempdir().unwrap();
    append(&open(&cache), 0..2);
    std::fs::create_dir(cache.path().join("something else")).unwrap();
    let stores = list(cache.path()).unwrap();
    assert_eq!(stores.len(), 1);
    assert_eq!(stores[0].fingerprint, fingerprint().hex());
    assert!(stores[0].info.encoders.contains("mock"));
    assert!(list(&cache.path().join("nowhere")).unwrap().is_empty());
}

/// A copy of what a machine that stops now would leave behind.
fn crashed(cache: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let folder = copy.path().join(fingerprint().hex());
    std::fs::create_dir(&folder).unwrap();
    for file in std::fs::read_dir(cache.path().join(fingerprint().hex())).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    copy
}

fn path(cache: &TempDir, name: &str) -> std::path::PathBuf {
    cache.path().join(fingerprint().hex()).join(name)
}

#[test]
fn what_only_the_log_knows_survives_a_crash() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    append(&store, 0..3);
    append(&store, 3..10);
    append(&store, 8..20);
    let (whole, cut) = (crashed(&cache), crashed(&cache));
    drop(store);
    let store = open(&whole);
    assert!((0..20).all(|index| read(&store, index) == latent(index)));
    assert_eq!((store.counts().unwrap().rows, store.next_row()), (20, 20));
    drop(store);

    // The last record was not completed.
    let log = path(&cut, "rows.log");
    let length = std::fs::metadata(&log).unwrap().len();
    // A header, the width, 20 rows.
    assert_eq!(length, 22 * 56);
    std::fs::File::options().write(true).open(&log).unwrap().set_len(length - 1).unwrap();
    let store = open(&cut);
    assert_eq!(store.known(&[key(18), key(19)]).unwrap(), [Some(Known::Row(18)), None]);
    append(&store, 15..30);
    let again = crashed(&cut);
    for store in [store, open(&again)] {
        assert!((0..30).all(|index| read(&store, index) == latent(index)));
        assert_eq!(store.counts().unwrap().rows, 30);
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn the_index_learns_of_many_rows_at_a_time() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    append(&store, 0..1);
    append(&store, 1..210_000);
    append(&store, 210_000..210_010);
    let crashed = crashed(&cache);
    assert_eq!(store.newest(), 10);
    for store in [store, open(&crashed)] {
        assert_eq!(store.counts().unwrap().rows, 210_010);
        assert_eq!(read(&store, 209_999), latent(209_999));
        assert_eq!(read(&store, 210_009), latent(210_009));
    }
}

#[test]
fn a_record_that_is_torn_hides_no_other() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    append(&store, 0..3);
    append(&store, 3..20);
    let torn = crashed(&cache);
    let mut log = std::fs::read(path(&torn, "rows.log")).unwrap();
    // Behind header and width.
    log[(2 + 4) * 56..][..14].fill(0);
    std::fs::write(path(&torn, "rows.log"), log).unwrap();
    let store = open(&torn);
    assert_eq!(store.known(&[key(3), key(4), key(5)]).unwrap(), [Some(Known::Row(3)), None, Some(Known::Row(5))]);
    append(&store, 4..5);
    assert_eq!(store.known(&[key(4), key(19)]).unwrap(), [Some(Known::Row(20)), Some(Known::Row(19))]);
    let again = crashed(&torn);
    assert!((0..20).all(|index| read(&open(&again), index) == latent(index)));
}

#[test]
fn a_doubted_width_can_be_taken_back() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    store.doubt();
    append(&store, 0..3);
    drop(store);
    let store = open(&cache);
    assert!(store.is_doubted());
    store.clear().unwrap();
    assert_eq!((store.width(), store.next_row(), store.is_doubted()), (None, 0, false));
    assert_eq!(store.known(&[key(0)]).unwrap(), [None]);
    store.append(&[(key(0), &[1.0, 2.0])], &[]).unwrap();
    store.doubt();
    store.confirm().unwrap();
    drop(store);
    let store = open(&cache);
    assert_eq!((store.width(), store.is_doubted()), (Some(2), false));
}
