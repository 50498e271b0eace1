//! Appending, replacing, removing, and the right to do so.

use super::*;
use std::time::{Duration, Instant};

#[test]
fn what_is_appended_reads_back() {
    for (width, dtype) in [(1, Dtype::F32), (3, Dtype::F32), (7, Dtype::F16)] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = create(folder.path(), width, dtype);
        assert!(writer.is_empty() && contents(folder.path()).is_empty());
        assert_eq!(append(&mut writer, &["a", "b", "c"], 0.0), Appended { new: 3, replaced: 0 });
        assert_eq!(append(&mut writer, &[], 0.0), Appended::default());
        drop(writer);
        let mut writer = Writer::open(folder.path()).unwrap();
        assert_eq!(writer.info(), &info(width, dtype));
        let names = ["d", "e", "f", "g", "h", "i", "j"];
        assert_eq!(append(&mut writer, &names, 100.0), Appended { new: 7, replaced: 0 });
        assert_eq!(writer.len(), 10);
        let vector = |start: f32, row: usize| (0..width).map(|at| start + (row * width + at) as f32).collect();
        let first = exhibits(&["a", "b", "c"]).into_iter().enumerate().map(|(row, one)| (one, vector(0.0, row)));
        let second = exhibits(&names).into_iter().enumerate().map(|(row, one)| (one, vector(100.0, row)));
        assert_eq!(contents(folder.path()), first.chain(second).collect::<Vec<_>>());
    }
}

#[test]
fn eight_bits_a_value_are_as_near_as_they_can_be() {
    for (rows, width) in [(1, 1), (9, 63), (130, 512)] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = create(folder.path(), width, Dtype::I8);
        let mut values: Vec<f32> = (0..rows * width).map(|at| ((at * 7919 % 1009) as f32 - 504.0) * 1e-4).collect();
        let names: Vec<String> = (0..rows).map(|row| row.to_string()).collect();
        let zeros = vec![0.0; width];
        // A term against hubs, which is far from what the other values are.
        values.iter_mut().skip(width - 1).step_by(width).for_each(|value| *value = 1.0);
        writer.append(&exhibits(&names.iter().map(String::as_str).collect::<Vec<_>>()), &values).unwrap();
        writer.append(&exhibits(&["zeros"]), &zeros).unwrap();
        let gallery = Gallery::open(folder.path()).unwrap();
        for (row, expected) in values.chunks(width).enumerate() {
            let stored = gallery.vector(row).unwrap();
            for (stored, expected) in stored.chunks(32).zip(expected.chunks(32)) {
                let step = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / 127.0;
                assert!(stored.iter().zip(expected).all(|(stored, value)| (stored - value).abs() <= 0.501 * step));
            }
            let product: f32 = stored.iter().zip(expected).map(|(stored, value)| stored * value).sum();
            let hit = gallery.search(expected, rows + 1, None).unwrap()[0].iter().find(|hit| hit.row == row).copied();
            assert!((hit.unwrap().score - product).abs() < 1e-4 * (1.0 + product), "{hit:?} {product}");
        }
        assert_eq!(gallery.vector(rows).unwrap(), zeros);
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        let segments = files.filter(|path| path.extension().is_some_and(|ending| ending == "i8"));
        let bytes: u64 = segments.map(|path| path.metadata().unwrap().len()).sum();
        assert_eq!(bytes as usize, (rows + 1) * (width + 4 * width.div_ceil(32)));
    }
}

#[test]
fn an_id_that_comes_again_replaces_its_item() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), 2, Dtype::F32);
    append(&mut writer, &["a", "b", "c"], 0.0);
    let before = Gallery::open(folder.path()).unwrap();
    assert_eq!(append(&mut writer, &["d", "b"], 50.0), Appended { new: 1, replaced: 1 });
    assert_eq!(ids(folder.path()), ["a", "c", "d", "b"]);
    assert_eq!(contents(folder.path())[3].1, [52.0, 53.0]);
    let removal = writer.remove(&["c", "x", "c", "b", "y"]).unwrap();
    assert_eq!(removal, Removal { removed: 2, unknown: vec!["x".into(), "y".into()] });
    assert_eq!(writer.remove(&["c"]).unwrap().unknown, ["c"]);
    drop(writer);
    let mut writer = Writer::open(folder.path()).unwrap();
    assert!(writer.len() == 2 && writer.contains("a").unwrap() && !writer.contains("b").unwrap());
    append(&mut writer, &["b"], 70.0);
    assert_eq!(ids(folder.path()), ["a", "d", "b"]);
    // Who opened it before still sees what was there then.
    assert_eq!(before.rows().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((before.exhibit(1).unwrap(), before.vector(1).unwrap()), (exhibit("b", 1), vec![2.0, 3.0]));
}

#[test]
fn ids_may_be_any_text() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["\"", "a\nb", "a\\", "[\"a\",1]", "\u{0}", "ünï/\u{1F33B}", " ", "null", "\u{2028}"];
    let mut writer = create(folder.path(), 1, Dtype::F32);
    append(&mut writer, &names, 0.0);
    drop(writer);
    let mut writer = Writer::open(folder.path()).unwrap();
    assert_eq!(append(&mut writer, &names, 10.0), Appended { new: 0, replaced: names.len() });
    assert_eq!(ids(folder.path()), names);
    assert_eq!(writer.remove(&names).unwrap().removed, names.len());
    assert!(contents(folder.path()).is_empty());
}

#[test]
fn what_must_not_be_in_a_gallery_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), 2, Dtype::F16);
    let mut refused = |exhibits: &[Exhibit], vectors: &[f32], words: &[&str]| {
        let message = writer.append(exhibits, vectors).unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    let two = exhibits(&["a", "b"]);
    refused(&two, &[1.0, 2.0, 3.0], &["3 values", "2 vectors", "2 values"]);
    refused(&two, &[1.0, 2.0, f32::NAN, 4.0], &["`b`", "NaN"]);
    refused(&two, &[1.0, f32::NEG_INFINITY, 3.0, 4.0], &["`a`", "infinity"]);
    refused(&two, &[1.0, 2.0, 3.0, 1e5], &["`b`", "100000", "f32"]);
    refused(&exhibits(&["a", ""]), &[0.0; 4], &["item 1", "empty id"]);
    refused(&exhibits(&["a", "b", "a"]), &[0.0; 6], &["items 0 and 2", "`a`"]);
    refused(&[exhibit("a", json!([1]))], &[0.0; 2], &["`a`", "a list", "`price`"]);
    refused(&[Exhibit { id: "a".into(), metadata: vec![] }], &[0.0; 2], &["`a`", "0 metadata values", "2 columns"]);
    assert!(contents(folder.path()).is_empty());

    let refused = |info: GalleryInfo, words: &str| {
        let message = Writer::create(&folder.path().join("new"), info).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    };
    refused(info(0, Dtype::F32), "vectors of 0 values");
    refused(
        GalleryInfo { columns: vec!["x".into(), "x".into()], ..info(1, Dtype::F32) },
        "two metadata columns are called `x`",
    );
    refused(GalleryInfo { columns: vec![String::new()], ..info(1, Dtype::F32) }, "no name");
    assert!(!folder.path().join("new").exists());
}

#[test]
fn a_second_writer_waits_and_is_refused_and_readers_do_not_care() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), 1, Dtype::F32);
    append(&mut writer, &["a"], 0.0);
    let start = Instant::now();
    let message = Writer::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("another process is writing to"), "{message}");
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_eq!(ids(folder.path()), ["a"]);
    // One that finishes meanwhile lets the other in.
    std::thread::scope(|scope| {
        let second = scope.spawn(|| append(&mut Writer::open(folder.path()).unwrap(), &["b"], 0.0));
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(append(&mut writer, &["c"], 0.0), Appended { new: 1, replaced: 0 });
        drop(writer);
        assert_eq!(second.join().unwrap(), Appended { new: 1, replaced: 0 });
    });
    assert_eq!(ids(folder.path()), ["a", "c", "b"]);
}

#[test]
fn a_gallery_is_made_only_where_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let make = |path: &Path| Writer::create(path, info(1, Dtype::F32));
    drop(make(folder.path()).unwrap());
    assert!(matches!(make(folder.path()), Err(GalleryError::Exists { .. })));
    // What a creation left that was killed before gallery.json was there.
    std::fs::rename(folder.path().join("gallery.json"), folder.path().join("gallery.json.part")).unwrap();
    assert!(matches!(Writer::open(folder.path()), Err(GalleryError::Absent { .. })));
    append(&mut make(folder.path()).unwrap(), &["a"], 0.0);
    assert_eq!(ids(folder.path()), ["a"]);
    std::fs::remove_file(folder.path().join("gallery.json")).unwrap();
    assert!(matches!(make(folder.path()), Err(GalleryError::NotEmpty { .. })));
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("photo.jpg"), "x").unwrap();
    assert!(make(other.path()).unwrap_err().to_string().contains("`photo.jpg`"));
    assert!(matches!(Gallery::open(other.path()), Err(GalleryError::Absent { .. })));
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1);
}

#[test]
fn one_of_several_builders_makes_the_gallery() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("gallery");
    let build = |id: &str| {
        let mut building = Building::start(&out, info(1, Dtype::F32))?;
        append(building.writer(), &[id], 0.0);
        std::thread::sleep(Duration::from_millis(20));
        building.finish()
    };
    // What one left that was killed.
    let left = parent.path().join("gallery.building");
    append(&mut Writer::create(&left, info(1, Dtype::F32)).unwrap(), &["old"], 0.0);
    let outcomes: Vec<Result<(), GalleryError>> = std::thread::scope(|scope| {
        let builders: Vec<_> = ["a", "b", "c", "d"].map(|id| scope.spawn(move || build(id))).into();
        builders.into_iter().map(|builder| builder.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let others = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(others.clone().all(|error| matches!(error, GalleryError::Exists { .. })), "{outcomes:?}");
    assert_eq!(ids(&out).len(), 1);
    assert!(!left.exists());
    // One that gives up leaves nothing.
    let other = parent.path().join("other");
    drop(Building::start(&other, info(1, Dtype::F32)).unwrap());
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
}

/// On a disk that is full.
#[cfg(target_os = "linux")]
#[test]
fn after_a_commit_that_failed_halfway_nothing_more_is_written() {
    let folder = tempfile::tempdir().unwrap();
    drop(create(folder.path(), 1, Dtype::F32));
    let log = folder.path().join("log");
    std::fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let mut writer = Writer::open(folder.path()).unwrap();
    let fails = |writer: &mut Writer| writer.append(&exhibits(&["a"]), &[1.0]).unwrap_err();
    assert!(matches!(fails(&mut writer), GalleryError::Io { .. }));
    assert!(matches!(fails(&mut writer), GalleryError::Unsettled { .. }));
    drop(writer);
    std::fs::remove_file(&log).unwrap();
    std::fs::write(&log, "").unwrap();
    append(&mut Writer::open(folder.path()).unwrap(), &["b"], 1.0);
    assert_eq!(ids(folder.path()), ["b"]);
}

#[test]
fn a_commit_that_failed_takes_no_room() {
    let folder = tempfile::tempdir().unwrap();
    append(&mut create(folder.path(), 1, Dtype::F32), &["a"], 0.0);
    let sizes = || {
        ["vectors-000000.f32", "items.jsonl", "offsets", "removed"]
            .map(|file| folder.path().join(file).metadata().unwrap().len())
    };
    let before = sizes();
    let mut writer = Writer::open(folder.path()).unwrap();
    // As if another gallery had taken its place, which is found once all is written.
    let info = folder.path().join("gallery.json");
    let known = std::fs::read(&info).unwrap();
    std::fs::rename(&info, folder.path().join("aside")).unwrap();
    std::fs::write(&info, known).unwrap();
    assert!(matches!(writer.append(&exhibits(&["a", "b"]), &[1.0, 2.0]).unwrap_err(), GalleryError::Rebuilt { .. }));
    assert_eq!(sizes(), before);
}
