//! Folders as the world has them: exactly the broken items fail, each with its reason.

use std::path::{Path, PathBuf};

use crate::common::{Place, repository};

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
}

/// What is written as a broken file of some kind: a name, and its content.
type Broken<'a> = &'a dyn Fn(usize) -> (String, Vec<u8>);

/// A table of 1,000 files of which each twentieth is broken, in one of `kinds` of ways; the rows and kinds of those.
fn mixed(place: &Place, good: &[PathBuf], broken: Broken<'_>) -> Vec<(usize, usize)> {
    let (mut table, mut expected) = ("file\n".to_owned(), Vec::new());
    for row in 0..1000 {
        let file = &good[row % good.len()];
        if row % 20 == 19 {
            let kind = row / 20 % 10;
            let (name, content) = broken(kind);
            if !content.is_empty() || kind == 0 {
                place.write(&format!("broken/{row}-{name}"), content);
            }
            table += &format!("broken/{row}-{name}\n");
            expected.push((row + 1, kind));
        } else {
            table += &format!("{}\n", file.display());
        }
    }
    place.write("items.tsv", table);
    expected
}

fn check(place: &Place, encoder: &str, expected: &[(usize, usize)], reasons: [&str; 10]) {
    let ran = place.run(&format!("encode --data items.tsv --encoder {encoder} --json"));
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let summary = ran.json();
    let failures = summary["failures"].as_array().unwrap();
    let rows: Vec<u64> = failures.iter().map(|failure| failure["row"].as_u64().unwrap()).collect();
    assert_eq!(rows, expected.iter().map(|(row, _)| *row as u64).collect::<Vec<_>>(), "{}", ran.stderr);
    for (failure, (_, kind)) in failures.iter().zip(expected) {
        let reason = failure["reason"].as_str().unwrap();
        assert!(reason.contains(reasons[*kind]), "kind {kind}: {reason}");
    }
    assert_eq!(summary["rows"], 1000);
}

#[test]
fn a_folder_of_pictures_and_drawings_with_broken_ones_among_them() {
    let assets = repository().join("target/assets");
    let mut good = Vec::new();
    files(&assets.join("stamps"), "png", &mut good);
    files(&assets.join("stamps"), "svg", &mut good);
    assert!(good.len() > 950, "run ./check, which fetches the pictures");
    let place = Place::new(&format!(
        "[[plugin]]\nname = 'candle-image'\n[encoder.pictures]\nplugin = 'candle-image'\nmodel = '{}'\n",
        assets.join("efficientnet-lite0").display()
    ));
    let jpeg = std::fs::read(repository().join("tests/golden/images/rgb.jpg")).unwrap();
    let png = std::fs::read(repository().join("sdk/samples/disc.png")).unwrap();
    let expected = mixed(&place, &good, &|kind| match kind {
        0 => ("empty.png".to_owned(), Vec::new()),
        1 => ("cut.png".to_owned(), png[..png.len() / 2].to_vec()),
        2 => ("cut.jpg".to_owned(), jpeg[..jpeg.len() / 2].to_vec()),
        3 => ("not-there.png".to_owned(), Vec::new()),
        4 => ("page.png".to_owned(), b"<!doctype html><html><body>404 Not Found</body></html>".to_vec()),
        5 => ("cut.svg".to_owned(), b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect".to_vec()),
        6 => ("text.png".to_owned(), b"a red flower".to_vec()),
        7 => {
            // A sum that does not fit.
            let mut png = png.clone();
            let middle = png.len() / 2;
            png[middle] = !png[middle];
            ("flipped.png".to_owned(), png)
        }
        8 => ("zeros.png".to_owned(), vec![0; 1000]),
        _ => ("sound.png".to_owned(), b"OggS\0\x02\0\0\0\0\0\0\0\0".to_vec()),
    });
    let decode = "does not decode";
    check(
        &place,
        "pictures",
        &expected,
        [
            "",
            decode,
            decode,
            "cannot read",
            "not a picture",
            "",
            "not a picture",
            decode,
            "not a picture",
            "not a picture",
        ],
    );
}
