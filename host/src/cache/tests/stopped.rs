//! A writer that is stopped at any byte of any file.

use super::*;
use rand::{RngExt, SeedableRng};

/// The states that a store and a reader must report, and the store's numbers.
type Told = (Vec<Option<Known>>, Counts, u64, bool);

fn told(store: &Store) -> Told {
    let keys: Vec<Key> = (0..40).map(key).collect();
    let counts = Counts { bytes: 0, ..store.counts().unwrap() };
    (store.known(&keys).unwrap(), counts, store.next_row(), store.is_doubted())
}

/// The steps of a life.
fn step(store: &Store, number: usize) {
    match number {
        0 => {
            store.doubt();
            append(store, 0..3);
        }
        1 => store.append(&[(key(3), &latent(3))], &[(key(20), "corrupt"), (key(21), "empty")]).map(drop).unwrap(),
        2 => store.confirm().unwrap(),
        3 => append(store, 4..9),
        4 => store.forget(&[key(1), key(5)]).unwrap(),
        5 => store.append(&[], &[(key(5), "gone")]).map(drop).unwrap(),
        6 => append(store, 20..21),
        _ => append(store, 1..2),
    }
}

/// After each step, each file is cut at the end and in the middle of each record that the step added; after the last
/// step, anywhere. Everything that the log has complete must survive, the rest must leave no trace, and everything can
/// be stored again.
#[test]
fn whatever_is_cut_the_rest_is_whole() {
    let cache = tempfile::tempdir().unwrap();
    let mut lengths = [0; 4];
    for number in 0..8 {
        let store = open(&cache);
        step(&store, number);
        let stopped = crashed(&cache);
        let expected = told(&store);
        drop(store);
        assert_eq!(told(&open(&crashed(&stopped))), expected, "step {number}");
        let files = [("rows.log", 56), ("reasons.log", 20), ("segment-000000.f32", 20), ("index.redb", 16_000)];
        for ((file, record), before) in files.into_iter().zip(&mut lengths) {
            let length = std::fs::metadata(path(&stopped, file)).map_or(0, |file| file.len());
            let first = if number == 7 || file == "index.redb" { 0 } else { std::mem::replace(before, length) };
            for cut in (first..length).step_by(record / 2) {
                let stopped = crashed(&stopped);
                std::fs::File::options().write(true).open(path(&stopped, file)).unwrap().set_len(cut).unwrap();
                cut_entry_holds(&stopped, file, &expected, &format!("step {number}, {file} cut at {cut}"));
            }
        }
    }
}

fn cut_entry_holds(stopped: &TempDir, file: &str, expected: &Told, what: &str) {
    let store = open(stopped);
    let of_store = told(&store);
    let reader = Reader::open(stopped.path(), &fingerprint()).unwrap().unwrap();
    let known = reader.known(&(0..40).map(key).collect::<Vec<_>>()).unwrap();
    assert_eq!(Counts { bytes: 0, ..reader.counts().unwrap() }, of_store.1, "{what}");
    for (index, (known, of_store)) in known.iter().zip(&of_store.0).enumerate() {
        match (known, of_store) {
            // The index still has the text.
            (Some(Known::Failed(_)), Some(Known::Failed(_))) if file == "reasons.log" => {}
            (known, of_store) => assert_eq!(known, of_store, "{what}"),
        }
        match known {
            Some(Known::Row(_)) => assert_eq!(read(&store, index), latent(index), "{what}"),
            Some(Known::Damaged) => assert_eq!(file, "segment-000000.f32", "{what}"),
            Some(Known::Failed(_)) | None => {}
        }
    }
    if file == "index.redb" {
        assert_eq!(of_store, *expected, "{what}");
    }
    append(&store, 0..40);
    assert!((0..40).all(|index| read(&store, index) == latent(index)), "{what}");
    drop(store);
    let store = open(stopped);
    assert!((0..40).all(|index| read(&store, index) == latent(index)), "{what}");
}

/// A crash of the machine may keep any part of what was not synced.
#[test]
fn a_log_of_which_any_part_is_noise_tells_the_rest() {
    let cache = tempfile::tempdir().unwrap();
    append(&open(&cache), 0..200);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(12);
    for _ in 0..20 {
        let noisy = crashed(&cache);
        let mut log = std::fs::read(path(&noisy, "rows.log")).unwrap();
        // Behind header and width.
        let first = random.random_range(112..log.len() - 56);
        let end = random.random_range(first..log.len());
        log[first..end].iter_mut().for_each(|byte| *byte = random.random());
        std::fs::write(path(&noisy, "rows.log"), &log).unwrap();
        let reader = Reader::open(noisy.path(), &fingerprint()).unwrap().unwrap();
        let lost = (first - 112) / 56..(end - 112).div_ceil(56);
        let known = reader.known(&(0..200).map(key).collect::<Vec<_>>()).unwrap();
        for (index, known) in known.into_iter().enumerate() {
            let expected = (!lost.contains(&index)).then_some(Known::Row(index as u64));
            assert_eq!(known, expected, "{index}, {first}..{end}");
        }
        // The index has all of it.
        let store = open(&noisy);
        assert!((0..200).all(|index| read(&store, index) == latent(index)));
    }
}
