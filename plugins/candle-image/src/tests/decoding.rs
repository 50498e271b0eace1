//! Pictures in every form: tests/golden/pictures.py made the files, and what Pillow reads of them.

use fusemix_sdk::Options;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use super::{encode, file, golden, gradient, open, png};

/// A small encoder; nothing here depends on which.
fn small() -> Options {
    Options::default().with("model", golden().join("checkpoints/vit").to_str()).with("fit", "whole")
}

fn pixels(file: &[u8]) -> Vec<f32> {
    open(&small()).input.pixels(file).unwrap()
}

fn refused(file: &[u8]) -> String {
    encode(&open(&small()), &[file.to_vec()]).remove(0).unwrap_err().message
}

#[test]
fn files_read_as_pillow_reads_them() {
    let read = |name: &str| std::fs::read(golden().join("pictures").join(name)).unwrap();
    // The standard leaves the last bits of JPEG to its decoders; vit's values are 127.5 units long.
    for (name, allowed) in [
        ("cmyk.jpg", 3.0),
        ("ycck.jpg", 4.0),
        ("turned.jpg", 3.0),
        ("cmyk.tiff", 1.0),
        ("lzw.tiff", 0.0),
        ("palette.bmp", 0.0),
        ("film.webp", 0.0),
        ("film.png", 0.0),
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

fn svg(attributes: &str, content: &str) -> Vec<u8> {
    let namespaces = r#"xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink""#;
    format!("<?xml version=\"1.0\"?>\n<!-- a drawing -->\n<svg {namespaces} {attributes}>{content}</svg>").into_bytes()
}

const RED: &str = r#"<rect width="30" height="20" fill="red"/>"#;

#[test]
fn a_drawing_is_what_it_draws_on_white() {
    let half = RgbImage::from_fn(60, 20, |x, _| if x < 30 { Rgb([255, 0, 0]) } else { Rgb([255; 3]) });
    // Squares of any size are the same after the squash to the model's.
    let seen = pixels(&svg(r#"width="60" height="20""#, RED));
    let apart = seen.iter().zip(pixels(&png(half))).map(|(a, b)| (a - b).abs()).sum::<f32>() / seen.len() as f32;
    assert!(apart < 0.01, "{apart}");
    // Vectors have no size of their own: large and small are the same.
    for size in [r#"width="600" height="200" viewBox="0 0 60 20""#, r#"width="6" height="2" viewBox="0 0 60 20""#] {
        assert_eq!(pixels(&svg(size, RED)), seen, "{size}");
    }
}

#[test]
fn a_drawing_reads_no_other_file_and_no_font() {
    let size = r#"width="60" height="20""#;
    let blank = pixels(&svg(size, ""));
    let outside = golden().join("images/rgb.png");
    for (what, content) in [
        ("another file", format!(r#"<image width="60" height="20" xlink:href="{}"/>"#, outside.display())),
        ("a file's address", format!(r#"<image width="60" height="20" xlink:href="file://{}"/>"#, outside.display())),
        ("the network", r#"<image width="60" height="20" xlink:href="http://localhost:9/a.png"/>"#.to_owned()),
        ("text", r#"<text x="5" y="15">red</text>"#.to_owned()),
    ] {
        assert_eq!(pixels(&svg(size, &content)), blank, "{what}");
    }
    let embedded = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
    let embedded = format!(r#"<image width="60" height="20" xlink:href="data:image/png;base64,{embedded}"/>"#);
    assert_ne!(pixels(&svg(size, &embedded)), blank, "a picture within");
}

#[test]
fn a_bad_drawing_is_refused() {
    let refused = |file: Vec<u8>| refused(&file);
    assert!(refused(svg(r#"width="60" height="20""#, "<g>")).contains("does not read as SVG"));
    let thin = refused(svg(r#"width="100000000" height="1""#, RED));
    assert!(thin.contains("more than `max_pixels = 100000000`"), "{thin}");
    // As deep as it gets, and deeper.
    for depth in [900, 100_000] {
        let groups = format!("{}{RED}{}", r#"<g opacity="0.9">"#.repeat(depth), "</g>".repeat(depth));
        let outcome = encode(&open(&small()), &[svg(r#"width="60" height="20""#, &groups)]).remove(0);
        assert!(depth < 1000 || outcome.is_err(), "{depth}");
    }
    // Ten references to ten references to ten ..
    let lines = (1..12)
        .map(|n| format!(r##"<g id="a{n}">{}</g>"##, format!(r##"<use xlink:href="#a{}"/>"##, n - 1).repeat(10)));
    let bomb = format!(r##"<defs><g id="a0">{RED}</g>{}</defs><use xlink:href="#a11"/>"##, lines.collect::<String>());
    assert!(refused(svg(r#"width="60" height="20""#, &bomb)).contains("does not read as SVG"));
}

#[test]
fn what_is_not_supported_says_so() {
    assert!(refused(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf").contains("convert the picture to PNG or JPEG"));
    assert!(refused(b"\0\0\x01\0\x01\0\x10\x10").contains("does not decode"));
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
        (Vec::new(), "not a picture"),
        (b"a red flower".to_vec(), "not a picture"),
        (good[..good.len() / 2].to_vec(), "does not decode"),
        (flipped(good.clone(), good.len() / 2), "does not decode"),
        (jpeg[..jpeg.len() / 2].to_vec(), "the file ends within the picture"),
        (gif[..20].to_vec(), "does not decode"),
        (webp[..webp.len() / 2].to_vec(), "does not decode"),
        (bmp[..bmp.len() / 2].to_vec(), "does not decode"),
        (tiff[..tiff.len() / 2].to_vec(), "does not decode"),
        (svg(r#"width="60" height="20""#, "<rect"), "does not read as SVG"),
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
            (Some(reason), Err(error)) => assert!(error.message.contains(reason), "file {at}: {}", error.message),
            (None, Err(error)) => panic!("file {at} failed with the others: {}", error.message),
            (Some(reason), Ok(_)) => panic!("file {at} has a latent, and should say {reason}"),
        }
    }
}
