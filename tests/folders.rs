//! Realistic folders: exactly the broken items fail, each with its reason; and files of one name are told apart.

use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::common::{Place, Ran, repository};
use crate::formats::{ENCODERS, KARPATHY, add, words};

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

/// A table of 1,000 cells of which each twentieth is broken, in one of 10 ways; the rows and kinds of those.
fn mixed(place: &Place, good: &[Vec<u8>], broken: impl Fn(usize, usize) -> Vec<u8>) -> Vec<(usize, usize)> {
    let (mut table, mut expected) = (b"item\n".to_vec(), Vec::new());
    for row in 0..1000 {
        if row % 20 == 19 {
            let kind = row / 20 % 10;
            table.extend(broken(row, kind));
            expected.push((row + 1, kind));
        } else {
            table.extend(&good[row % good.len()]);
        }
        table.push(b'\n');
    }
    place.write("items.tsv", table);
    expected
}

/// The same for files: `broken` gives a file its name and content.
fn mixed_files(place: &Place, good: &[PathBuf], broken: impl Fn(usize) -> (String, Vec<u8>)) -> Vec<(usize, usize)> {
    let good: Vec<Vec<u8>> = good.iter().map(|file| file.display().to_string().into_bytes()).collect();
    mixed(place, &good, |row, kind| {
        let (name, content) = broken(kind);
        let file = format!("broken/{row}-{name}");
        if !content.is_empty() || kind == 0 {
            place.write(&file, content);
        }
        file.into_bytes()
    })
}

fn check(place: &Place, encoder: &str, expected: &[(usize, usize)], reasons: [&str; 10]) {
    let ran = place.run(&format!("encode --data items.tsv --column item --encoder {encoder} --json"));
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
    let expected = mixed_files(&place, &good, |kind| match kind {
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
    let decode = "cannot decode the picture";
    check(
        &place,
        "pictures",
        &expected,
        [
            "an empty file",
            decode,
            decode,
            "cannot read",
            "not a picture",
            "cannot read the drawing as SVG",
            "not a picture",
            decode,
            "not a picture",
            "not a picture",
        ],
    );
}

#[test]
fn a_table_of_texts_with_broken_ones_among_them() {
    let place = Place::new(&format!(
        "[[plugin]]\nname = 'candle-text'\n[encoder.captions]\nplugin = 'candle-text'\nmodel = '{}'\n",
        repository().join("target/assets/minilm").display()
    ));
    // Odd, and yet texts.
    let odd: [&[u8]; 10] = [
        b"a",
        b"?!",
        b"  a red flower  ",
        b"a red\0flower",
        b"\"a\" 'red', flower; <b>bold</b> &amp;",
        "\u{feff}caf\u{e9}, cafe\u{301}".as_bytes(),
        "\u{1f339}\u{1f469}\u{200d}\u{1f680}".as_bytes(),
        "\u{8d64}\u{3044}\u{82b1} \u{648}\u{631}\u{62f}\u{629}".as_bytes(),
        &b"flower ".repeat(150_000),
        &b"x".repeat(1_000_000),
    ];
    let plain = (0..190).map(|number| format!("{number} red flowers").into_bytes());
    let good: Vec<Vec<u8>> = odd.iter().map(|text| text.to_vec()).chain(plain).collect();
    let expected = mixed(&place, &good, |_, kind| match kind {
        0 => Vec::new(),
        1 => b"   ".to_vec(),
        2 => "\u{a0}\u{3000}\u{2003}".into(),
        3 => b"caf\xe9".to_vec(),
        // UTF-16, and a character that was cut.
        4 => b"\xff\xfea\0 \0".to_vec(),
        5 => b"a red flower \xf0\x9f\x8c".to_vec(),
        6 => b"\0\0\0".to_vec(),
        7 => b"\x01\x02\x1b\x7f".to_vec(),
        8 => "\u{200b}\u{200d}".into(),
        _ => "\u{feff}".into(),
    });
    let (empty, invalid, nothing) = ("empty text", "invalid UTF-8 at byte", "finds nothing in it");
    check(
        &place,
        "captions",
        &expected,
        [empty, empty, empty, invalid, invalid, invalid, nothing, nothing, nothing, nothing],
    );
}

/// Noise as a WAV file: `format` is 1 for whole numbers and 3 for floating point.
fn wav((format, bits): (u16, u16), rate: u32, channels: u16, seed: u32) -> Vec<u8> {
    let (width, frames) = (bits / 8, rate / 10);
    let bytes = frames * u32::from(channels * width);
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0");
    file.extend([format, channels].map(u16::to_le_bytes).concat());
    file.extend([rate, rate * u32::from(channels * width)].map(u32::to_le_bytes).concat());
    file.extend([channels * width, bits].map(u16::to_le_bytes).concat());
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    for at in 0..frames * u32::from(channels) {
        // The highest bytes are the last ones.
        let sample = (at + seed).wrapping_mul(2_654_435_761);
        match format {
            3 => file.extend((sample as f32 / u32::MAX as f32 - 0.5).to_le_bytes()),
            _ => file.extend(&sample.to_le_bytes()[4 - usize::from(width)..]),
        }
    }
    file
}

#[test]
fn a_folder_of_sounds_with_broken_ones_among_them() {
    let golden = repository().join("tests/golden");
    let place = Place::new(&format!(
        "[[plugin]]\nname = 'candle-audio'\n[encoder.sounds]\nplugin = 'candle-audio'\nmodel = '{}'\n",
        golden.join("checkpoints/whisper").display()
    ));
    let mut good = Vec::new();
    for ending in ["flac", "mp3", "m4a", "aac", "webm", "aiff", "caf", "ogg", "wav"] {
        files(&golden.join("sounds"), ending, &mut good);
    }
    assert_eq!(good.len(), 11);
    files(&repository().join("target/assets/stamps"), "ogg", &mut good);
    assert!(good.len() > 400, "run ./check, which fetches the sounds");
    good.truncate(400);
    let formats = [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32)];
    for (rate, channels) in [8_000, 11_025, 22_050, 44_100, 48_000, 96_000]
        .into_iter()
        .flat_map(|rate| [1, 2, 6].map(|channels| (rate, channels)))
    {
        for (seed, format) in formats.into_iter().cycle().take(30).enumerate() {
            let name = format!("good/{rate}-{channels}-{seed}.wav");
            place.write(&name, wav(format, rate, channels, seed as u32));
            good.push(place.path(&name));
        }
    }
    let read = |name: &str| std::fs::read(golden.join(name)).unwrap();
    // Rows of the last kind.
    for row in (199..1000).step_by(200) {
        place.write(&format!("broken/{row}-folder.wav/sound.wav"), "");
    }
    let expected = mixed_files(&place, &good, |kind| match kind {
        0 => ("empty.wav".to_owned(), Vec::new()),
        1 => ("text.wav".to_owned(), b"a bird that sings".to_vec()),
        2 => ("header.wav".to_owned(), wav((1, 16), 8_000, 1, 0)[..30].to_vec()),
        3 => ("not-there.wav".to_owned(), Vec::new()),
        4 => {
            let flac = read("sounds/rattle.flac");
            ("cut.flac".to_owned(), flac[..flac.len() / 2].to_vec())
        }
        5 => ("codec.ogg".to_owned(), read("sounds/sine.opus")),
        6 => ("picture.mp3".to_owned(), read("images/rgb.jpg")),
        7 => {
            let mut slow = wav((1, 16), 8_000, 1, 0);
            slow[24..28].fill(0);
            ("no-rate.wav".to_owned(), slow)
        }
        8 => {
            let mut wav = wav((3, 32), 8_000, 1, 0);
            wav[1044..1048].copy_from_slice(&f32::NAN.to_le_bytes());
            ("nan.wav".to_owned(), wav)
        }
        _ => ("folder.wav".to_owned(), Vec::new()),
    });
    check(
        &place,
        "sounds",
        &expected,
        [
            "an empty file",
            "not a sound",
            "the file is truncated",
            "cannot read",
            "the file is truncated",
            "its codec is Opus, which is not supported",
            "not a sound",
            "its sample rate is 0 Hz",
            "not a number",
            "cannot read",
        ],
    );
}

#[test]
fn files_of_one_name_in_several_folders_are_items_of_their_own() {
    let place = Place::new(ENCODERS);
    for (of, rows) in [("train", 0..20), ("test", 20..40)] {
        let (mut table, mut tar) = ("file,caption\n".to_owned(), Vec::new());
        for row in rows {
            let name = row % 20;
            writeln!(table, "{name}.jpg,{}", words(row)).unwrap();
            place.write(&format!("tables/{of}/{name}.jpg"), words(row));
            add(&mut tar, &format!("{name}.jpg"), words(row));
            add(&mut tar, &format!("{name}.txt"), words(row));
        }
        tar.extend([0; 1024]);
        place.write(&format!("tables/{of}/captions.csv"), table);
        place.write(&format!("tars/{of}/00000.tar"), tar);
    }
    let towers = KARPATHY.split("[[pairs]]").next().unwrap();
    let pairs = "[[pairs]]\ntrain = 'tables'\nimage = 'file'\ntext = 'caption'\n[fit]\nmethod = 'kernel-cca'\n";
    place.write("recipe.toml", format!("{towers}{pairs}"));
    place.run("train recipe.toml --out run --device cpu").fails(0, "");
    // The picture of each pair is its own: what is paired rightly is the same words.
    let all = [("tables", "file"), ("tables/{train,test}/captions.csv", "file"), ("tars", "jpg")];
    for (at, (data, column)) in all.into_iter().enumerate() {
        let encoded = place.json(&format!("encode --data {data} --column {column} --encoder picture"));
        let found = ["rows", "failed", "duplicates"].map(|key| encoded[key].as_u64().unwrap());
        assert_eq!(found, [40, 0, 0], "{data}");
        let items = &place.json(&format!("data {data} --read"))["items"];
        assert_eq!((&items["distinct"], &items["contents"]), (&json!(40), &json!(40)), "{data}");
        let built =
            place.json(&format!("gallery build run --tower image --data {data} --column {column} --out gallery{at}"));
        assert_eq!((&built["new"], &built["repeated"]), (&json!(40), &json!(0)), "{data}");
    }
    let mut search = place.command("search run --from text --gallery gallery0 -k 40 --json");
    let found = Ran::from(search.arg(words(25)).output().unwrap()).json()["found"].clone();
    let ids: BTreeSet<&str> = found.as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap()).collect();
    assert!(ids.len() == 40 && ids.contains("train/5.jpg") && ids.contains("test/5.jpg"), "{ids:?}");
}
