//! Pictures in every form, made by tests/golden/pictures.py together with Pillow's readings of them.

use fusemix_sdk::Options;
use image::{DynamicImage, ImageFormat};

use super::drawings::svg;
use super::{encode, file, golden, gradient, open, png};

/// A small encoder, chosen arbitrarily.
pub(super) fn small() -> Options {
    Options::default().with("model", golden().join("checkpoints/vit").to_str()).with("fit", "whole")
}

pub(super) fn pixels(file: &[u8]) -> Vec<f32> {
    open(&small()).input.pixels(file).unwrap()
}

pub(super) fn refused(file: &[u8]) -> String {
    encode(&open(&small()), &[file.to_vec()]).remove(0).unwrap_err().message
}

#[test]
fn files_read_as_pillow_reads_them() {
    let read = |name: &str| std::fs::read(golden().join("pictures").join(name)).unwrap();
    // vit's values are 127.5 units long.
    for (name, allowed) in [
        ("cmyk.jpg", 0.0),
        ("deep.png", 0.0),
        ("deep_alpha.png", 0.0),
        ("progressive.jpg", 0.0),
        ("half.jpg", 0.0),
        ("lossy.webp", 0.0),
        ("ycck.jpg", 0.0),
        ("turned.jpg", 0.0),
        ("cmyk.tiff", 0.0),
        ("lzw.tiff", 0.0),
        ("palette.bmp", 0.0),
        ("film.webp", 0.0),
        ("film.png", 0.0),
        ("smaller.gif", 0.0),
        ("beyond.gif", 0.0),
        ("hole.gif", 0.0),
        ("greys.gif", 0.0),
        ("p.tiff", 0.0),
        ("pa.tiff", 0.0),
        ("l.tiff", 0.0),
        ("la.tiff", 0.0),
        ("grey2.tiff", 0.0),
        ("grey4.tiff", 0.0),
        ("ycbcr.tiff", 0.0),
        ("jpeg.tiff", 0.0),
    ] {
        let (seen, expected) = (pixels(&read(name)), pixels(&read(&format!("{name}.png"))));
        let apart = seen.iter().zip(&expected).map(|(a, b)| (a - b).abs() * 127.5).fold(0.0, f32::max);
        assert!(apart <= allowed + 1e-3, "{name}: {apart} units of 8 bits");
    }
}

#[test]
fn the_same_picture_in_formats_without_loss() {
    let picture = DynamicImage::from(gradient(50, 37));
    let expected = pixels(&png(picture.clone()));
    let others = [
        ("BMP", file(picture.clone(), ImageFormat::Bmp)),
        ("TIFF", file(picture.clone(), ImageFormat::Tiff)),
        ("TIFF, 16 bits", file(picture.to_rgb16(), ImageFormat::Tiff)),
        ("PNG, 16 bits", png(picture.to_rgb16())),
    ];
    for (kind, file) in others {
        assert_eq!(pixels(&file), expected, "{kind}");
    }
}

/// A TIFF of 3 x 2 whole or floating-point numbers of `bits`.
fn tiff(bits: u32, format: u32, photometric: u32) -> Vec<u8> {
    let size = 6 * bits / 8;
    let tags: [[u32; 3]; 10] = [
        [256, 3, 3],
        [257, 3, 2],
        [258, 3, bits],
        [259, 3, 1],
        [262, 3, photometric],
        [273, 4, 8],
        [277, 3, 1],
        [278, 3, 2],
        [279, 4, size],
        [339, 3, format],
    ];
    let mut file = [b"II*\0", &(8 + size).to_le_bytes()[..], &vec![0; size as usize], &[10, 0]].concat();
    for [tag, kind, value] in tags {
        file.extend([&(tag as u16).to_le_bytes()[..], &(kind as u16).to_le_bytes(), &[1, 0, 0, 0]].concat());
        file.extend(value.to_le_bytes());
    }
    [file, vec![0; 4]].concat()
}

#[test]
fn samples_without_black_and_white_are_named() {
    for (bits, format, says) in [
        (32, 3, "floating-point numbers of 32 bits"),
        (64, 3, "floating-point numbers of 64 bits"),
        (16, 3, "floating-point numbers of 16 bits"),
        (32, 2, "signed whole numbers of 32 bits"),
        (16, 2, "signed whole numbers of 16 bits"),
        (8, 2, "signed whole numbers of 8 bits"),
        (32, 1, "whole numbers of 32 bits"),
    ] {
        let message = refused(&tiff(bits, format, 1));
        let expected = format!("the picture's samples are {says}, and nothing says which are black and white: convert");
        assert!(message.starts_with(&expected), "{message}");
    }
    for (photometric, name) in [(8, "CIELab"), (32803, "a camera's sensor"), (32845, "LogLuv"), (4, "kind 4")] {
        let message = refused(&tiff(8, 1, photometric));
        assert!(message.contains(name) && message.contains("convert it to PNG"), "{message}");
    }
    for (method, name) in
        [(6, "JPEG in TIFF's first form"), (34925, "LZMA"), (50001, "WebP"), (34887, "LERC"), (9, "number 9")]
    {
        let mut file = tiff(8, 1, 1);
        let place = file.windows(2).rposition(|tag| tag == 259u16.to_le_bytes()).unwrap() + 8;
        file[place..place + 2].copy_from_slice(&(method as u16).to_le_bytes());
        let message = refused(&file);
        assert!(
            message.contains(&format!("its compression is {name}, which is not read; convert it to PNG")),
            "{message}"
        );
    }
    assert!(!pixels(&tiff(8, 1, 1)).is_empty());
}

#[test]
fn what_is_not_supported_says_so() {
    for (brands, format) in [
        ("avif\0\0\0\0avifmif1miaf", "AVIF"),
        ("heic\0\0\0\0mif1heic", "HEIC"),
        ("mif1\0\0\0\0mif1heix", "HEIC"),
        ("mif1\0\0\0\0mif1avif", "AVIF"),
        ("mif1\0\0\0\0mif1miaf", "HEIF"),
    ] {
        let file =
            [b"\0\0\0", &[brands.len() as u8 + 8][..], b"ftyp", brands.as_bytes(), b"\0\0\0\x0cmetaheic"].concat();
        assert_eq!(refused(&file), format!("the picture is {format}: convert it to JPEG or PNG first"), "{brands}");
    }
    let endless = [b"\xff\xd8", &b"\xff\xda\0\x02".repeat(201)[..], b"\xff\xd9"].concat();
    assert_eq!(refused(&endless), "cannot decode the picture: it has 201 scans; at most 200 are allowed");
    assert!(refused(b"\0\0\0\x14ftypisom\0\0\0\0mp41").contains("not a picture"));
    assert!(refused(b"\0\0\x01\0\x01\0\x10\x10").contains("cannot decode the picture"));
    assert!(refused(b"<html><body>404</body></html>").contains("not a picture"));
}

/// Ninety good files and ten that are broken, each in its own way.
#[test]
fn of_a_hundred_files_exactly_the_broken_ones_fail() {
    let picture = || gradient(64, 48);
    let [good, jpeg, gif, webp, bmp, tiff] =
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff]
            .map(|format| file(DynamicImage::from(picture()), format));
    let flipped = |mut file: Vec<u8>, at: usize| {
        file[at] = !file[at];
        file
    };
    let broken = [
        (Vec::new(), "an empty file"),
        (b"a red flower".to_vec(), "not a picture"),
        (good[..good.len() / 2].to_vec(), "cannot decode the picture"),
        (flipped(good.clone(), good.len() / 2), "cannot decode the picture"),
        (jpeg[..jpeg.len() / 2].to_vec(), "the file is truncated: it ends within the picture"),
        (gif[..20].to_vec(), "cannot decode the picture"),
        (webp[..webp.len() / 2].to_vec(), "cannot decode the picture"),
        (bmp[..bmp.len() / 2].to_vec(), "cannot decode the picture"),
        (tiff[..tiff.len() / 2].to_vec(), "cannot decode the picture"),
        (svg(r#"width="60" height="20""#, "<rect"), "cannot read the drawing as SVG"),
    ];
    let mut files: Vec<(Vec<u8>, Option<&str>)> = (0..90).map(|_| (good.clone(), None)).collect();
    for (number, (file, reason)) in broken.iter().enumerate() {
        files.insert(number * 10 + number % 3, (file.clone(), Some(reason)));
    }
    let encoder = open(&small());
    let alone = encode(&encoder, &[good]).remove(0).unwrap().values;
    let outcomes = encode(&encoder, &files.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>());
    assert_eq!(outcomes.len(), 100);
    for (at, ((_, reason), outcome)) in files.iter().zip(outcomes).enumerate() {
        match (reason, outcome) {
            (None, Ok(latent)) => assert!(super::cosine(&latent.values, &alone) > 0.999_999, "file {at}"),
            (Some(reason), Err(error)) => {
                assert!(error.message.contains(reason), "file {at}: {}", error.message);
                assert!(error.message.lines().count() == 1 && error.message.trim_end() == error.message, "file {at}");
            }
            (None, Err(error)) => panic!("file {at} failed with the others: {}", error.message),
            (Some(reason), Ok(_)) => panic!("file {at} has a latent, and should say {reason}"),
        }
    }
}
