//! Pictures with an orientation in every place where one may stand, made by tests/golden/orientations.py, and the
//! orientation that Pillow turns them by.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

use super::golden;
use crate::picture::decode;

const WIDTH: u32 = 3;
const HEIGHT: u32 = 2;
/// The picture's greys, row by row.
const GREYS: [u8; 6] = [0, 90, 180, 40, 130, 240];
/// What JPEG changes of a grey.
const ALLOWED: u8 = 20;

/// The grey at `x` and `y` of the picture, turned by an orientation of EXIF.
fn turned(orientation: u8, x: u32, y: u32) -> u8 {
    let (right, down) = (WIDTH - 1, HEIGHT - 1);
    let (x, y) = match orientation {
        1 => (x, y),
        2 => (right - x, y),
        3 => (right - x, down - y),
        4 => (x, down - y),
        5 => (y, x),
        6 => (y, down - x),
        7 => (right - y, down - x),
        8 => (right - y, x),
        other => panic!("orientation {other}"),
    };
    GREYS[(y * WIDTH + x) as usize]
}

#[test]
fn pictures_are_turned_as_pillow_turns_them() {
    let json = std::fs::read(golden().join("orientations.json")).unwrap();
    let cases: BTreeMap<String, (String, u8)> = serde_json::from_slice(&json).unwrap();
    assert!(cases.len() > 80);
    for (name, (file, orientation)) in cases {
        let picture =
            decode(&STANDARD.decode(file).unwrap(), 1000, 100).unwrap_or_else(|error| panic!("{name}: {error}"));
        let size = if orientation < 5 { (WIDTH, HEIGHT) } else { (HEIGHT, WIDTH) };
        assert_eq!(picture.dimensions(), size, "{name}");
        for (x, y, pixel) in picture.enumerate_pixels() {
            let expected = turned(orientation, x, y);
            let found = pixel.0[0];
            assert!(found.abs_diff(expected) <= ALLOWED, "{name}, orientation {orientation}, {x} {y}: {found}");
        }
    }
}
