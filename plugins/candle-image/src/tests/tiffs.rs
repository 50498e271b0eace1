//! TIFF files of the forms that are in the wild, made by tests/golden/tiffs.py together with Pillow's readings of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

use super::golden;
use crate::picture::decode;

/// Files, and as Pillow reads them.
fn cases() -> BTreeMap<String, [Vec<u8>; 2]> {
    let json = std::fs::read(golden().join("tiffs.json")).unwrap();
    let cases: BTreeMap<String, [String; 2]> = serde_json::from_slice(&json).unwrap();
    cases.into_iter().map(|(name, files)| (name, files.map(|file| STANDARD.decode(file).unwrap()))).collect()
}

pub(super) fn file(name: &str) -> Vec<u8> {
    cases().remove(name).unwrap_or_else(|| panic!("no file {name}"))[0].clone()
}

#[test]
fn tiffs_read_as_pillow_reads_them_to_the_bit() {
    let cases = cases();
    assert!(cases.len() > 230);
    for (name, [file, expected]) in cases {
        let picture = decode(&file, 1000, 100).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = image::load_from_memory(&expected).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), expected.dimensions(), "{name}");
        let apart = picture.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert_eq!(apart, Some(0), "{name}");
    }
}

/// Whatever is cut off, or larger than it may be, is told.
#[test]
fn cut_tiffs_are_told() {
    for name in
        ["rgb, strips, None", "rgb, tiles, lzw", "rgb in planes, tiles, lzw", "jpeg 420", "black and white, group4"]
    {
        let file = file(name);
        assert!(decode(&file, 200, 100).unwrap_err().message.contains("more than `max_pixels = 200`"), "{name}");
        for end in [8, file.len() / 3, file.len() / 2] {
            let message = decode(&file[..end], 1000, 100).unwrap_err().message;
            assert!(message.starts_with("cannot decode the picture: "), "{name}, {end}: {message}");
        }
    }
}
