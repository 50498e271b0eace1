//! Readers alongside a writer: intact rows or none, without a lock.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn reader(cache: &TempDir) -> Reader {
    Reader::open(cache.path(), &fingerprint()).unwrap().unwrap()
}

/// The latents of `indices` that the reader knows; it must know those below `at_least`, and be right.
fn hold(reader: &Reader, indices: std::ops::Range<usize>, at_least: usize) -> usize {
    let keys: Vec<Key> = indices.clone().map(key).collect();
    let known = reader.known(&keys).unwrap();
    let mut rows = Vec::new();
    for (index, known) in indices.zip(known) {
        match known {
            Some(Known::Row(row)) => rows.push((index, row)),
            None => assert!(index >= at_least, "{index} of {at_least} is not known"),
            other => panic!("{index}: {other:?}"),
        }
    }
    let latents = reader.latents(rows.iter().map(|(_, row)| *row).collect()).unwrap();
    let mut out = vec![0.0; 5];
    for (place, (index, _)) in rows.iter().enumerate() {
        latents.copy_row(place, &mut out);
        assert_eq!(out, latent(*index));
    }
    rows.len()
}

#[test]
fn a_reader_knows_what_the_store_knows() {
    let cache = tempfile::tempdir().unwrap();
    assert!(Reader::open(cache.path(), &fingerprint()).unwrap().is_none());
    let store = open(&cache);
    let early = reader(&cache);
    assert_eq!((early.width().unwrap(), early.known(&[key(0)]).unwrap()), (None, vec![None]));
    append(&store, 0..100);
    store.append(&[], &[(key(200), "corrupt"), (key(201), "too long"), (key(7), "not so")]).unwrap();
    store.forget(&[key(3), key(4)]).unwrap();
    store.append(&[], &[(key(4), "gone")]).unwrap();
    append(&store, 201..202);
    let keys: Vec<Key> = (0..203).map(key).collect();
    for reader in [&early, &reader(&cache)] {
        assert_eq!(reader.width().unwrap(), Some(5));
        // Few keys, by reading the log; then many, by their names.
        assert_eq!(reader.known(&keys[..8]).unwrap(), store.known(&keys[..8]).unwrap());
        assert_eq!(reader.known(&keys).unwrap(), store.known(&keys).unwrap());
        assert_eq!(reader.known(&keys[3..5]).unwrap(), [None, Some(Known::Failed("gone".into()))]);
        assert_eq!(reader.counts().unwrap(), store.counts().unwrap());
        assert_eq!((reader.counts().unwrap().rows, reader.counts().unwrap().failures), (99, 2));
        assert_eq!(reader.verify().unwrap(), []);
    }
    drop(store);
    let file = path(&cache, "segment-000000.f32");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[20 * 6 + 3] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let reader = reader(&cache);
    assert_eq!(reader.known(&keys[5..7]).unwrap(), [Some(Known::Row(5)), Some(Known::Damaged)]);
    assert_eq!(reader.verify().unwrap(), [key(6)]);
}

#[test]
fn names_are_told_apart_as_they_grow() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    append(&store, 0..1);
    let reader = reader(&cache);
    for rows in [10, 100, 3_000, 3_001, 50_000] {
        append(&store, 0..rows);
        assert_eq!(hold(&reader, 0..rows + 50, rows), rows);
        assert_eq!(reader.counts().unwrap().rows, rows as u64);
    }
}

#[test]
fn a_reader_beside_a_busy_writer_sees_whole_rows_only() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    append(&store, 0..1);
    let (written, done) = (AtomicUsize::new(1), AtomicBool::new(false));
    let reader = reader(&cache);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in 0..400 {
                let first = written.load(Ordering::SeqCst);
                append(&store, first..first + 1 + batch % 97);
                written.store(first + 1 + batch % 97, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        });
        for fresh in [false, true] {
            let (reader, cache, written, done) = (&reader, &cache, &written, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let sure = written.load(Ordering::SeqCst);
                    if fresh {
                        // By reading the log.
                        let reader = super::beside::reader(cache);
                        hold(&reader, sure.saturating_sub(8)..sure + 8, sure);
                    } else {
                        hold(reader, 0..sure + 200, sure);
                    }
                }
            });
        }
    });
    let all = written.load(Ordering::SeqCst);
    assert_eq!(hold(&reader, 0..all + 1, all), all);
}

/// Six values per row: the cleared rows have another width.
fn append_wider(store: &Store, indices: std::ops::Range<usize>) {
    let rows: Vec<(Key, Vec<f32>)> = indices.map(|index| (key(index), vec![index as f32; 6])).collect();
    let rows: Vec<(Key, &[f32])> = rows.iter().map(|(key, row)| (*key, row.as_slice())).collect();
    store.append(&rows, &[]).unwrap();
}

#[test]
fn what_is_cleared_meanwhile_stays_as_it_was() {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    store.append(&[], &[(key(1000), "corrupt")]).unwrap();
    append(&store, 0..50);
    let (seen, unseen) = (reader(&cache), reader(&cache));
    assert_eq!(hold(&seen, 0..50, 50), 50);
    store.clear().unwrap();
    append_wider(&store, 0..80);
    assert!(!seen.is_current().unwrap());
    assert_eq!(hold(&seen, 0..60, 50), 50);
    // Its rows were gone when it came to map them.
    let keys: Vec<Key> = (0..50).map(key).collect();
    assert_eq!(unseen.known(&keys).unwrap(), vec![Some(Known::Damaged); 50]);
    let now = reader(&cache);
    assert!(now.is_current().unwrap());
    assert_eq!((now.width().unwrap(), now.counts().unwrap().rows), (Some(6), 80));
    assert_eq!(now.known(&[key(79), key(1000)]).unwrap(), store.known(&[key(79), key(1000)]).unwrap());
    assert_eq!(store.known(&[key(1000)]).unwrap(), [Some(Known::Failed("corrupt".into()))]);
}

#[test]
fn a_reader_goes_between_threads() {
    fn goes<T: Send + Sync>() {}
    goes::<Reader>();
    goes::<FileStamps>();
}
