//! Files that were cut or changed by others: an error that names the file, never a panic.

use super::*;
use std::fs;

/// A gallery with two segments and all kinds of records.
fn gallery(dtype: Dtype) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), 2, dtype);
    append(&mut writer, &["a", "b", "c"], 0.0);
    append(&mut writer, &["d", "a"], 10.0);
    writer.remove(&["b"]).unwrap();
    folder
}

/// Every operation on a gallery.
fn use_it(folder: &Path) -> Result<(), GalleryError> {
    let gallery = Gallery::open(folder)?;
    for row in gallery.rows() {
        gallery.exhibit(row)?;
        gallery.vector(row)?;
    }
    gallery.search(&[1.0, 1.0], 3, Some(&"price > 0 and name ~ a".parse().unwrap()))?;
    gallery.verify()?;
    append(&mut Writer::open(folder)?, &["new"], 0.0);
    Ok(())
}

#[test]
fn a_changed_byte_is_named_with_its_file() {
    for dtype in [Dtype::F32, Dtype::F16] {
        let whole = gallery(dtype);
        let names = ["items.jsonl", "offsets", "removed", "log"].map(str::to_owned);
        let segments = (0..2).map(|segment| format!("vectors-{segment:06}.{}", dtype.name()));
        for name in names.into_iter().chain(segments) {
            let path = whole.path().join(&name);
            let bytes = fs::read(&path).unwrap();
            for at in 0..bytes.len() {
                for change in [1, 0x80, 0xFF] {
                    let mut changed = bytes.clone();
                    changed[at] ^= change;
                    fs::write(&path, changed).unwrap();
                    let message = use_it(whole.path()).unwrap_err().to_string();
                    // A commit that went on in the next segment is named by its first.
                    let name = if name.starts_with("vectors") { "vectors-00000" } else { &name };
                    assert!(message.contains(name) && message.contains("build the gallery again"), "{at}: {message}");
                }
            }
            fs::write(&path, bytes).unwrap();
        }
        use_it(whole.path()).unwrap();
    }
}

#[test]
fn a_file_that_is_cut_or_gone_is_named() {
    let whole = gallery(Dtype::F32);
    for name in ["items.jsonl", "offsets", "removed", "vectors-000000.f32", "vectors-000001.f32", "gallery.json"] {
        let path = whole.path().join(name);
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            // The line break at the end of gallery.json says nothing.
            if name == "gallery.json" && length + 1 == bytes.len() {
                continue;
            }
            let message = use_it(whole.path()).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("build the gallery again"), "{length}: {message}");
        }
        fs::remove_file(&path).unwrap();
        let message = use_it(whole.path()).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
        fs::write(&path, bytes).unwrap();
    }
    // A log that was cut to whole commits is a log; what it no longer counts is told.
    let log = fs::read(whole.path().join("log")).unwrap();
    let uncounted = || Gallery::open(whole.path()).unwrap().verify().unwrap();
    assert_eq!(uncounted(), 0);
    fs::write(whole.path().join("log"), &log[..log.len() - 64]).unwrap();
    assert_eq!(uncounted(), 8);
    let counted = || Gallery::open(whole.path()).unwrap().check_counted();
    counted().unwrap();
    fs::write(whole.path().join("log"), "").unwrap();
    assert!(uncounted() > 6 * (8 + 8));
    let message = counted().unwrap_err().to_string();
    assert!(message.contains("has no commit") && message.contains("build the gallery again"), "{message}");
    fs::remove_file(whole.path().join("log")).unwrap();
    assert!(use_it(whole.path()).unwrap_err().to_string().contains("log"));
}

#[test]
fn a_score_that_is_no_number_is_an_error() {
    let whole = gallery(Dtype::F32);
    let path = whole.path().join("vectors-000000.f32");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    // The NaN is in row 1, which is removed.
    let mut gallery = Gallery::open(whole.path()).unwrap();
    assert!(gallery.search(&[1.0, 1.0], 3, None).is_ok());
    let mut bytes = fs::read(&path).unwrap();
    bytes[16..20].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    gallery = Gallery::open(whole.path()).unwrap();
    let message = gallery.search(&[1.0, 1.0], 3, None).unwrap_err().to_string();
    assert!(message.contains("row 2 has the impossible score inf") && message.contains("verify"), "{message}");
}

#[test]
fn another_format_is_refused() {
    let whole = gallery(Dtype::F32);
    let path = whole.path().join("gallery.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"digest\": \"", "\"digest\": \"0")).unwrap();
    assert!(Gallery::open(whole.path()).unwrap_err().to_string().contains("does not match its checksum"));
    for (from, to, words) in [
        ("\"version\": 1", "\"version\": 3, \"more\": 3", "newer version of fusemix (format 3)"),
        ("fusemix gallery", "something", "its format is not"),
        ("\"segment\": 4", "\"segment\": 0", "a segment cannot hold 0 rows"),
        ("\"segment\": 4", "\"segment\": 1000000000", "a segment cannot hold 1000000000 rows"),
        ("\"width\": 2", "\"width\": 0", "vectors of 0 values"),
        ("\"dtype\": \"f32\"", "\"dtype\": \"f64\"", "unknown variant `f64`"),
    ] {
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
        let message = Gallery::open(whole.path()).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains("gallery.json"), "{message}");
    }
}
