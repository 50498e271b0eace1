use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::session::Setup;

fn survey(path: &Path, read: bool) -> Survey {
    let session = Session::new(Setup::new(path.join("plugins.toml")));
    session.survey(&Source::new(path), &SurveyOptions { read, ..SurveyOptions::default() }).unwrap()
}

/// A column of a hub's pictures: bytes, or a path in their stead.
fn pictures(rows: &[(Option<&[u8]>, Option<&str>)]) -> ArrayRef {
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter(rows.iter().map(|(bytes, _)| *bytes)));
    let paths: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|(_, path)| *path)));
    let fields = [("bytes", DataType::Binary), ("path", DataType::Utf8)];
    let fields = fields.map(|(name, of)| Arc::new(Field::new(name, of, true)));
    Arc::new(StructArray::from(fields.into_iter().zip([bytes, paths]).collect::<Vec<_>>()))
}

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn nulls_and_files_elsewhere_are_known_of_parquet_without_reading_all() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("there.jpg"), "x").unwrap();
    std::fs::write(at("empty.jpg"), "").unwrap();
    let rows: [(Option<&[u8]>, Option<&str>); 6] = [
        (Some(b"JPEG"), Some("inside.jpg")),
        (None, Some("there.jpg")),
        (None, Some("gone.jpg")),
        (None, None),
        (Some(b"more"), None),
        (None, Some("empty.jpg")),
    ];
    let captions: ArrayRef = Arc::new(StringArray::from_iter_values((0..6).map(|row| format!("c{row}"))));
    parquet(&at("a.parquet"), vec![("image", pictures(&rows)), ("caption", captions.clone())]);
    for read in [false, true] {
        let found = survey(&at("a.parquet"), read);
        let items = found.items.unwrap();
        assert_eq!((items.column.as_str(), items.distinct, items.unknown), ("image", 6, 0));
        assert_eq!(items.missing + items.empty.unwrap_or(0), 3, "{:?}", found.problems);
        assert_eq!(found.problems.iter().map(|problem| problem.row).collect::<Vec<_>>(), [3, 4, 6]);
        assert!(found.problems[0].reason.contains("gone.jpg"), "{:?}", found.problems);
    }
    // A column of bytes alone, and one of paths alone.
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter([Some(&b"x"[..]), None, None, Some(b"x"), None, Some(b"y")]));
    parquet(&at("b.parquet"), vec![("image", bytes), ("caption", captions.clone())]);
    let found = survey(&at("b.parquet"), false);
    assert_eq!((found.items.unwrap().missing, found.problems[0].row), (3, 2));
    let paths: ArrayRef = Arc::new(StringArray::from_iter_values([
        "there.jpg",
        "gone.jpg",
        "there.jpg",
        "gone.jpg",
        "nowhere.jpg",
        "there.jpg",
    ]));
    parquet(&at("c.parquet"), vec![("image", paths), ("caption", captions)]);
    assert_eq!(survey(&at("c.parquet"), false).items.unwrap().missing, 2);
}

#[test]
fn cells_that_say_nothing_are_counted_with_their_first_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let mut lines = vec!["file,caption".to_owned()];
    std::fs::write(folder.path().join("a.png"), "x").unwrap();
    for row in 1..=40 {
        let file = if row % 10 == 0 { "" } else { "a.png" };
        let caption = match row {
            1..=15 => String::new(),
            20 | 30 => "\" \t\"".to_owned(),
            row => format!("caption {row}"),
        };
        lines.push(format!("{file},{caption}"));
    }
    std::fs::write(&path, lines.join("\n")).unwrap();
    let found = survey(&path, false);
    let gap =
        |column: &str, what, rows, first: &[usize]| Gap { column: column.into(), what, rows, first: first.to_vec() };
    let first: Vec<usize> = (1..=10).collect();
    let expected = [
        gap("file", "empty", 4, &[10, 20, 30, 40]),
        gap("caption", "empty", 15, &first),
        gap("caption", "blank", 2, &[20, 30]),
    ];
    assert_eq!(found.gaps, expected);
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let items = found.items.unwrap();
    assert_eq!((items.distinct, items.missing), (1, 0));
}

#[test]
fn rows_of_latents_are_told_by_what_they_are() {
    use crate::array_file::{ArrayFile, Matrix};
    let folder = tempfile::tempdir().unwrap();
    for name in ["z.npy", "z.safetensors"] {
        let path = folder.path().join(name);
        let matrix = Matrix { name: "latents", width: 2, present: vec![true, false, true, true, true, true] };
        let mut file = ArrayFile::create(&path, None).unwrap().begin(matrix).unwrap();
        let rows = [[1.0, 2.0], [0.0, 0.0], [f32::INFINITY, 0.0], [1.0, 2.0], [3.0, 1.0]];
        rows.iter().for_each(|row| file.row(row).unwrap());
        file.finish().unwrap();
        let header = survey(&path, false);
        let tensor = if name == "z.npy" { "" } else { "latents" };
        assert_eq!((header.rows, header.latents[0].tensor.as_str()), (6, tensor));
        assert_eq!((&header.latents[0].shape[..], header.latents[0].values), (&[6, 2][..], None));
        assert!(["<f4", "F32"].contains(&header.latents[0].stored.as_str()), "{:?}", header.latents);
        let read = survey(&path, true);
        let values = SurveyedValues { failed: 1, not_finite: 1, far: 0, zeros: 1, repeated: 1 };
        assert_eq!(read.latents[0].values, Some(values), "{name}");
        assert_eq!(read.problems.iter().map(|problem| problem.row).collect::<Vec<_>>(), [2, 3, 4]);
    }
    let session = Session::new(Setup::new(folder.path().join("plugins.toml")));
    std::fs::write(folder.path().join("bad.npy"), "x").unwrap();
    let error = session.survey(&Source::new(folder.path().join("bad.npy")), &SurveyOptions::default()).err().unwrap();
    assert!(error.to_string().contains("not a .npy file"), "{error}");
}

/// A member of a tar archive.
fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

#[test]
fn an_archive_without_its_end_is_told_once_for_all_shards() {
    let folder = tempfile::tempdir().unwrap();
    for shard in 0..5 {
        let mut tar = [member("a.jpg", b"x"), member("a.txt", b"a dog")].concat();
        // Two were cut behind a member, and one before its first.
        match shard {
            1 | 3 => {}
            4 => tar.clear(),
            _ => tar.resize(tar.len() + 1024, 0),
        }
        std::fs::write(folder.path().join(format!("{shard}.tar")), tar).unwrap();
    }
    let found = survey(&folder.path().join("{0..4}.tar"), false);
    assert_eq!((found.rows, found.notes.len()), (4, 1));
    assert!(
        found.notes[0].starts_with("in 3 of 5 files, the first is 1.tar: the archive has no end mark"),
        "{:?}",
        found.notes
    );
    let one = survey(&folder.path().join("3.tar"), false);
    assert!(one.notes[0].starts_with("the archive has no end mark"), "{:?}", one.notes);
    assert!(survey(&folder.path().join("0.tar"), false).notes.is_empty());
}

#[test]
fn items_of_one_name_in_several_folders_are_several() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    for of in ["train", "test"] {
        let tar = [member("0.jpg", of.as_bytes()), member("0.txt", b"a dog"), vec![0; 1024]].concat();
        write(&format!("tars/{of}/00000.tar"), &tar);
        write(&format!("tables/{of}/captions.csv"), b"file,caption\n1.jpg,a dog\n1.jpg,the dog\n2.jpg,a cat\n");
        write(&format!("tables/{of}/1.jpg"), of.as_bytes());
    }
    write("tables/test/2.jpg", b"a cat");
    let found = survey(&folder.path().join("tars"), true);
    let items = found.items.unwrap();
    assert_eq!((found.rows, items.distinct, items.contents), (2, 2, Some(2)));
    assert_eq!(found.captions.unwrap().per_item, Some((1, 1, 1.0)));
    let found = survey(&folder.path().join("tables"), true);
    let items = found.items.unwrap();
    assert_eq!((found.rows, items.distinct, items.contents, items.missing), (6, 4, Some(3), 1));
    assert_eq!(found.captions.unwrap().per_item, Some((1, 2, 1.5)));
    assert!(found.problems[0].reason.contains("train/2.jpg"), "{:?}", found.problems);
}
