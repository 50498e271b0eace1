//! SVG: drawings that are drawn, and drawings that are refused.

use image::{Rgb, RgbImage};

use super::decoding::{pixels, refused, small};
use super::{encode, golden, open, png};

pub(super) fn svg(attributes: &str, content: &str) -> Vec<u8> {
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
    assert!(refused(svg(r#"width="60" height="20""#, "<g>")).contains("cannot read the drawing as SVG"));
    let thin = refused(svg(r#"width="100000000" height="1""#, RED));
    assert!(thin.contains("more than `max_pixels = 100000000`"), "{thin}");
    // Ten references to ten references to ten ..
    let lines = (1..12)
        .map(|n| format!(r##"<g id="a{n}">{}</g>"##, format!(r##"<use xlink:href="#a{}"/>"##, n - 1).repeat(10)));
    let bomb = format!(r##"<defs><g id="a0">{RED}</g>{}</defs><use xlink:href="#a11"/>"##, lines.collect::<String>());
    assert!(refused(svg(r#"width="60" height="20""#, &bomb)).contains("cannot read the drawing as SVG"));
}

fn drawing(content: &str) -> Vec<u8> {
    svg(r#"width="60" height="20""#, content)
}

#[test]
fn groups_nest_as_deep_as_their_layers_fit() {
    let nested = |depth, width| {
        let wide = format!(r#"<rect width="{width}" height="20" fill="red"/>"#);
        let groups = format!("{}{wide}{}", r#"<g opacity="0.9">"#.repeat(depth), "</g>".repeat(depth));
        svg(r#"width="6000" height="20""#, &groups)
    };
    assert!(encode(&open(&small()), &[nested(900, 60)])[0].is_ok());
    assert!(refused(&nested(900, 6000)).contains("take too much memory together"));
    assert!(refused(&nested(100_000, 60)).contains("cannot read the drawing as SVG"));
}

#[test]
fn references_are_followed_as_far_as_the_stack_goes() {
    let patterns = |count: usize| {
        let one = |at: usize| {
            let next = format!(r##"<rect width="9" height="9" fill="url(#p{})"/>"##, at + 1);
            format!(r#"<pattern id="p{at}" width="9" height="9" patternUnits="userSpaceOnUse">{next}</pattern>"#)
        };
        let chain: String = (0..count).map(one).collect();
        drawing(&format!(r##"<defs>{chain}</defs><rect width="30" height="20" fill="url(#p0)"/>"##))
    };
    assert!(encode(&open(&small()), &[patterns(10_000)])[0].is_ok());
    assert!(refused(&patterns(10_001)).contains("10001 patterns, masks, clips, filters and markers are too many"));
}

#[test]
fn a_pattern_has_no_more_pixels_than_fit() {
    let tile = r#"<rect width="9" height="9"/>"#;
    let pattern = format!(r#"<pattern id="p" width="1e6" height="1e6" patternUnits="userSpaceOnUse">{tile}</pattern>"#);
    let refused = refused(&drawing(&format!(r#"<defs>{pattern}</defs><rect width="30" height="20" fill="url(#p)"/>"#)));
    assert!(refused.contains("cannot read the drawing as SVG: it draws over itself too often"), "{refused}");
}

#[test]
fn a_filter_does_no_more_work_than_a_drawing_may() {
    let filtered = |primitive: &str| {
        let filter = format!(r#"<filter id="f" x="-2" y="-2" width="5" height="5">{primitive}</filter>"#);
        drawing(&format!(r##"<defs>{filter}</defs><rect width="60" height="20" filter="url(#f)"/>"##))
    };
    let matrix = "1 ".repeat(300 * 300);
    for (primitive, much) in [
        (r#"<feTurbulence baseFrequency="0.05" numOctaves="4"/>"#.to_owned(), false),
        (r#"<feTurbulence baseFrequency="0.05" numOctaves="100000000"/>"#.to_owned(), true),
        (r#"<feMorphology radius="2"/>"#.to_owned(), false),
        (r#"<feMorphology radius="1000"/>"#.to_owned(), true),
        (r#"<feConvolveMatrix order="3" kernelMatrix="1 1 1 1 1 1 1 1 1"/>"#.to_owned(), false),
        (format!(r#"<feConvolveMatrix order="300" kernelMatrix="{matrix}"/>"#), true),
    ] {
        let outcome = encode(&open(&small()), &[filtered(&primitive)]).remove(0);
        let refused = outcome.err().map(|error| error.message).unwrap_or_default();
        assert_eq!(refused.contains("it draws over itself too often"), much, "{}: {refused}", &primitive[..40]);
    }
}

#[test]
fn pictures_within_a_drawing_are_bounded() {
    let header = super::png_header(20_000, 6000);
    let image = |kind: &str, file: &[u8]| {
        format!(r#"<image width="60" height="20" xlink:href="data:{kind};base64,{}"/>"#, base64(file))
    };
    let large = refused(&drawing(&image("image/png", &header)));
    assert!(large.starts_with("the pictures in the drawing are 120000000 pixels, more than `max_pixels"), "{large}");
    let nested = refused(&drawing(&image("image/svg+xml", &drawing(RED))));
    assert!(nested.contains("a drawing within a drawing is not supported"), "{nested}");
    let broken = pixels(&drawing(&image("image/png", b"no picture")));
    assert_eq!(broken, pixels(&drawing("")));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        (0..4)
            .map(move |at| DIGITS[(bits >> (18 - 6 * at)) as usize % 64] as char)
            .take(three.len() + 1)
            .collect::<Vec<_>>()
    };
    let text: String = bytes.chunks(3).flat_map(digits).collect();
    format!("{text}{}", "=".repeat(text.len().wrapping_neg() % 4))
}
