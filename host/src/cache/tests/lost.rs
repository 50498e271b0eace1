//! A lost index, and entries that predate logs.

use super::*;
use crate::cache::record::RECORD;
use rand::{RngExt, SeedableRng};

type Told = (Vec<Option<Known>>, Counts, u64, bool);

fn told(store: &Store) -> Told {
    let keys: Vec<Key> = (0..700).map(key).collect();
    let counts = Counts { bytes: 0, ..store.counts().unwrap() };
    (store.known(&keys).unwrap(), counts, store.next_row(), store.is_doubted())
}

/// An entry with rows, one of length 1 among them, failures, and rows that were forgotten.
fn entry() -> (TempDir, Told) {
    let cache = tempfile::tempdir().unwrap();
    let store = open(&cache);
    append(&store, 0..300);
    let failures: Vec<(Key, String)> = (500..600).map(|index| (key(index), format!("reason {index}"))).collect();
    let failures: Vec<(Key, &str)> = failures.iter().map(|(key, reason)| (*key, reason.as_str())).collect();
    store.append(&[(key(300), &[0.0, 0.0, 1.0, 0.0, 0.0])], &failures).unwrap();
    store.forget(&[key(7), key(299)]).unwrap();
    store.append(&[], &[(key(7), "gone")]).unwrap();
    append(&store, 550..560);
    let told = told(&store);
    assert_eq!((told.1.rows, told.1.failures, told.1.normalized, told.2), (309, 91, None, 311));
    (cache, told)
}

#[test]
fn an_index_that_is_missing_is_made_again() {
    let (cache, expected) = entry();
    std::fs::remove_file(path(&cache, "index.redb")).unwrap();
    let reader = Reader::open(cache.path(), &fingerprint()).unwrap().unwrap();
    assert_eq!(reader.counts().unwrap().rows, 309);
    assert_eq!(told(&open(&cache)), expected);
    assert_eq!(list(cache.path()).unwrap().len(), 1);
}

/// The log ends after a whole record, and nothing else tells what followed.
#[test]
fn rows_that_nobody_knows_any_more_are_told() {
    let (cache, _) = entry();
    std::fs::remove_file(path(&cache, "index.redb")).unwrap();
    let log = std::fs::read(path(&cache, "rows.log")).unwrap();
    let half = log.len() / 2 / RECORD * RECORD;
    std::fs::write(path(&cache, "rows.log"), &log[..half]).unwrap();
    let checked = list(cache.path()).unwrap()[0].verify().unwrap();
    assert!(checked.lost_rows > 0, "{checked:?}");
    assert!(checked.rows + checked.lost_rows <= 311 && checked.rows > 0, "{checked:?}");
    let repaired = list(cache.path()).unwrap()[0].repair().unwrap();
    assert_eq!(repaired.lost_rows, checked.lost_rows);
    let again = list(cache.path()).unwrap()[0].verify().unwrap();
    assert_eq!((again.lost_rows, again.is_intact()), (0, true));
}

/// At 40 places from a seed: noise of up to 4 KiB, and a cut.
#[test]
fn an_index_that_is_damaged_is_made_again() {
    let (cache, expected) = entry();
    let index = std::fs::read(path(&cache, "index.redb")).unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(40);
    for round in 0..40 {
        let at = if round == 0 { 0 } else { random.random_range(0..index.len()) };
        let mut noisy = index.clone();
        let end = index.len().min(at + random.random_range(1..4096));
        noisy[at..end].iter_mut().for_each(|byte| *byte = random.random());
        for (how, bytes) in [("noise", noisy.as_slice()), ("cut", &index[..at])] {
            std::fs::write(path(&cache, "index.redb"), bytes).unwrap();
            // A damaged index is no damage of what readers read.
            let checked = list(cache.path()).unwrap()[0].verify().unwrap();
            assert!(checked.is_intact(), "{how} from {at} of {}: {checked:?}", index.len());
            assert_eq!(told(&open(&cache)), expected, "{how} from {at} of {}", index.len());
            // And it is an index again.
            assert_eq!(told(&open(&cache)), expected, "{how} from {at} of {}", index.len());
        }
    }
    assert_eq!(open(&cache).verify().unwrap(), []);
}

/// Killed while the entry was made, and its index damaged since.
#[test]
fn an_entry_that_was_just_being_made_is_made_again() {
    for bytes in [&b""[..], b"noise", &[7; 30_000]] {
        let cache = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(path(&cache, "")).unwrap();
        std::fs::write(path(&cache, "index.redb"), bytes).unwrap();
        let entries = list(cache.path()).unwrap();
        assert_eq!(entries[0].verify().unwrap().rows, 0);
        let store = open(&cache);
        append(&store, 0..10);
        assert!((0..10).all(|index| read(&store, index) == latent(index)));
    }
}

#[test]
fn a_log_that_is_lost_is_made_again() {
    let (cache, expected) = entry();
    let log = std::fs::read(path(&cache, "rows.log")).unwrap();
    for bytes in [None, Some(&log[..0]), Some(&log[..60]), Some(&log[..log.len() - 30]), Some(&[7; 5000])] {
        match bytes {
            None => std::fs::remove_file(path(&cache, "rows.log")).unwrap(),
            Some(bytes) => std::fs::write(path(&cache, "rows.log"), bytes).unwrap(),
        }
        assert_eq!(told(&open(&cache)), expected);
        // And it has everything.
        let copy = crashed(&cache);
        std::fs::remove_file(path(&copy, "index.redb")).unwrap();
        assert_eq!(told(&open(&copy)), expected);
    }
}

/// Damage in the middle and at the end, found beside the entry's reader.
#[test]
fn a_damaged_log_is_told_and_mended() {
    let (cache, expected) = entry();
    let checked = || list(cache.path()).unwrap()[0].verify().unwrap().lost_records;
    assert_eq!(checked(), 0);
    let log = std::fs::read(path(&cache, "rows.log")).unwrap();
    let mut flipped = log.clone();
    flipped[56 * 100 + 3] ^= 1;
    let mut headless = log.clone();
    headless[20] ^= 1;
    let index = std::fs::read(path(&cache, "index.redb")).unwrap();
    for (bytes, lost) in [(&flipped[..], 1), (&headless, 1), (&log[..log.len() - 56 * 4], 4)] {
        std::fs::write(path(&cache, "index.redb"), &index).unwrap();
        std::fs::write(path(&cache, "rows.log"), bytes).unwrap();
        assert_eq!(checked(), lost);
        let mended = list(cache.path()).unwrap()[0].repair().unwrap();
        assert_eq!((mended.rows, mended.damaged, mended.lost_records), (expected.1.rows, 0, lost));
        assert_eq!(checked(), 0);
        assert_eq!(told(&open(&cache)), expected);
    }
    // What a stopped program was writing is no damage.
    std::fs::write(
        path(&cache, "rows.log"),
        [&std::fs::read(path(&cache, "rows.log")).unwrap()[..], &[7; 80]].concat(),
    )
    .unwrap();
    assert_eq!(checked(), 0);
}

/// A run that read a damaged log goes on once the log is made again.
#[test]
fn a_shelf_mends_its_log_on_the_way() {
    for keep in [0, 30, 56 * 50 + 7] {
        let (cache, expected) = entry();
        let log = std::fs::read(path(&cache, "rows.log")).unwrap();
        std::fs::write(path(&cache, "rows.log"), &log[..keep]).unwrap();
        let shelf = Shelf::open(cache.path(), fingerprint(), "mock").unwrap();
        let keys: Vec<Key> = (0..700).map(key).collect();
        let before = shelf.known(&keys).unwrap();
        assert_eq!(told(shelf.store().unwrap()), expected, "{keep}");
        // What was known stays where it was, unless it was forgotten later.
        let rows = |known: &[Option<Known>], index| matches!(known[index], Some(Known::Row(_)));
        let both = (0..700).filter(|&index| rows(&before, index) && rows(&expected.0, index));
        assert!(both.clone().all(|index| before[index] == expected.0[index]));
        assert_eq!(both.count(), if keep > 100 { 47 } else { 0 });
    }
}

/// The index is behind the log, as a kill leaves it, and the log's header is damaged.
#[test]
fn what_only_a_damaged_log_knows_is_saved() {
    let (cache, _) = entry();
    let store = open(&cache);
    append(&store, 700..720);
    let copy = crashed(&cache);
    let expected = told(&store);
    assert!(store.newest() > 0);
    for at in [20, 56 * 100] {
        let copy = crashed(&copy);
        let mut log = std::fs::read(path(&copy, "rows.log")).unwrap();
        log[at] ^= 1;
        std::fs::write(path(&copy, "rows.log"), log).unwrap();
        let store = open(&copy);
        assert_eq!(told(&store), expected, "byte {at}");
        assert!((700..720).all(|index| read(&store, index) == latent(index)));
    }
}

/// The header is damaged, and the index with it.
#[test]
fn a_log_without_its_header_still_tells_all() {
    let (cache, expected) = entry();
    let mut log = std::fs::read(path(&cache, "rows.log")).unwrap();
    log[20] ^= 1;
    std::fs::write(path(&cache, "rows.log"), log).unwrap();
    std::fs::remove_file(path(&cache, "index.redb")).unwrap();
    assert_eq!(told(&open(&cache)), expected);
    std::fs::remove_file(path(&cache, "index.redb")).unwrap();
    assert_eq!(told(&open(&cache)), expected);
}

#[test]
fn a_log_of_a_newer_version_is_refused_and_left_alone() {
    let (cache, _) = entry();
    let mut log = std::fs::read(path(&cache, "rows.log")).unwrap();
    let mut header: [u8; 56] = *log.first_chunk().unwrap();
    header[8] = 2;
    log[..56].copy_from_slice(&crate::cache::records::seal(header));
    std::fs::write(path(&cache, "rows.log"), &log).unwrap();
    let error = Store::open(cache.path(), &fingerprint(), "mock").err().unwrap().to_string();
    assert!(error.contains("was written by a newer version of fusemix"), "{error}");
    assert!(Reader::open(cache.path(), &fingerprint()).is_err());
    assert_eq!(std::fs::read(path(&cache, "rows.log")).unwrap(), log);
}

/// Somebody stopped between the two steps of clearing.
#[test]
fn a_clearing_that_did_not_reach_the_index_has_happened() {
    let (cache, _) = entry();
    let (before, store) = (crashed(&cache), open(&cache));
    store.clear().unwrap();
    let expected = told(&store);
    assert_eq!((expected.1.rows, expected.1.failures, store.next_row(), store.width()), (0, 91, 0, None));
    for file in ["rows.log", "reasons.log"] {
        std::fs::copy(path(&cache, file), path(&before, file)).unwrap();
    }
    let store = open(&before);
    assert_eq!(told(&store), expected);
    append(&store, 0..10);
    assert!((0..10).all(|index| read(&store, index) == latent(index)));
}

/// An entry as version 0.1 left it when it was stopped: see the README there.
fn old() -> TempDir {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/cache-0.1/572b0de94e231073");
    let cache = tempfile::tempdir().unwrap();
    std::fs::create_dir(cache.path().join("572b0de94e231073")).unwrap();
    for file in std::fs::read_dir(golden).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), cache.path().join("572b0de94e231073").join(file.file_name())).unwrap();
    }
    cache
}

/// The items of the old entry, in the order in which they came.
fn old_keys() -> Vec<Key> {
    let early = ["a cat", "a dog", "a bird", "a red flower", "a blue flag"].map(String::from);
    let late = (1..=4).map(|item| format!("late item {item}"));
    let key = |text: String| Key::of(&fusemix_sdk::Modality::Text, text.as_bytes());
    early.into_iter().chain(late).chain([" ".into(), "late item 5".into()]).map(key).collect()
}

#[test]
fn an_entry_from_before_there_were_logs_opens() {
    let mut expected: Vec<Option<Known>> = (0..9).map(|row| Some(Known::Row(row))).collect();
    expected.extend([Some(Known::Failed("empty text".into())), None]);
    let cache = old();
    let folder = cache.path().join("572b0de94e231073");
    // A machine that stopped leaves an index that only a writer can open; who may write repairs it on the way.
    let error = Store::to_read(&folder).err().unwrap();
    assert!(matches!(error, CacheError::Unclean { .. }), "{error}");
    assert_eq!(list(cache.path()).unwrap()[0].reader().unwrap().known(&old_keys()).unwrap(), expected);

    let store = Store::at(&folder).unwrap();
    assert_eq!(store.known(&old_keys()).unwrap(), expected);
    assert_eq!((store.width(), store.next_row()), (Some(16), 9));
    assert_eq!((store.counts().unwrap().rows, store.counts().unwrap().failures), (9, 1));
    assert_eq!(store.verify().unwrap(), []);
    // Beside it, by its log.
    assert_eq!(list(cache.path()).unwrap()[0].reader().unwrap().known(&old_keys()).unwrap(), expected);
    assert!(!folder.join("journal").exists());
    drop(store);
    // Nothing is sent whose latents could not be stored.
    assert!(Store::to_read(&folder).unwrap().check_room(1, 16).is_err());
    std::fs::remove_file(folder.join("index.redb")).unwrap();
    assert_eq!(Store::at(&folder).unwrap().known(&old_keys()).unwrap(), expected);
}

/// An index that was closed, with a journal still beside it.
#[test]
fn an_entry_from_before_there_were_logs_is_read_without_writing() {
    let cache = old();
    let folder = cache.path().join("572b0de94e231073");
    let journal = std::fs::read(folder.join("journal")).unwrap();
    let index = crate::cache::index::Index::open(&folder).unwrap().unwrap();
    assert_eq!(index.numbers().unwrap().0.rows, 5);
    drop(index);
    let reader = Reader::at(&folder).unwrap();
    assert_eq!(reader.known(&old_keys()[3..10]).unwrap()[..2], [Some(Known::Row(3)), Some(Known::Row(4))]);
    assert_eq!((reader.width().unwrap(), reader.counts().unwrap().rows), (Some(16), 9));
    let mut row = [0.0; 16];
    reader.latents(vec![8]).unwrap().copy_row(0, &mut row);
    assert!(row.iter().any(|value| *value != 0.0));
    assert!(!folder.join("rows.log").exists());
    assert_eq!(std::fs::read(folder.join("journal")).unwrap(), journal);
}

/// The index has items that the log lacks, because an older version used the entry after this one.
#[test]
fn what_an_older_version_added_comes_to_the_log() {
    let cache = old();
    let folder = cache.path().join("572b0de94e231073");
    drop(Store::at(&folder).unwrap());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/cache-0.1/572b0de94e231073");
    // It makes a journal, and tells the index.
    let index = crate::cache::index::Index::open(&folder).unwrap().unwrap();
    let (mut numbers, learnt) = index.numbers().unwrap();
    let segments = folder.join("segment-000000.f32");
    let mut bytes = std::fs::read(&segments).unwrap();
    bytes.extend([0; 64]);
    std::fs::write(&segments, bytes).unwrap();
    let row = crate::cache::record::Row { at: 9, sum: crate::cache::segments::checksum(&[0.0; 16]) };
    numbers.rows = 10;
    let state = crate::cache::record::State::Row(row);
    index.put(&[(old_keys()[10], state)], |_, _| String::new(), numbers, learnt).unwrap();
    drop(index);
    std::fs::copy(golden.join("journal"), folder.join("journal")).unwrap();
    drop(Store::at(&folder).unwrap());
    let reader = Reader::at(&folder).unwrap();
    assert_eq!(reader.known(&old_keys()[10..]).unwrap(), [Some(Known::Row(9))]);
    assert_eq!(reader.counts().unwrap().rows, 10);
}
