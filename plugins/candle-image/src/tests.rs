//! Tests on the real weights of EfficientNet-Lite0, in `FUSEMIX_EFFICIENTNET` or as fetched by `./check`.

use candle_core::{DType, Device, Tensor};
use candle_kit::{Layer, Pooling, Source};
use fusemix_sdk::{Encoder, Host, Item, Modality, Options, Outcome, check};
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use std::collections::HashMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use crate::{CandleImage, model};

mod aligned;
mod decoding;
mod drawings;
mod families;
mod fuzz;
mod orientation;
mod preprocessing;
mod tiffs;

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/assets")
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn efficientnet() -> Options {
    let fetched = || assets().join("efficientnet-lite0");
    let folder = std::env::var_os("FUSEMIX_EFFICIENTNET").map_or_else(fetched, PathBuf::from);
    assert!(folder.is_dir(), "{} is not there; run ./check, which fetches it", folder.display());
    Options::default().with("model", folder.to_str())
}

fn open(options: &Options) -> CandleImage {
    CandleImage::open(options, &Host::detached()).unwrap()
}

fn encode(encoder: &CandleImage, files: &[Vec<u8>]) -> Vec<Outcome> {
    let items: Vec<Item<'_>> = files.iter().map(|bytes| Item::new(&Modality::Image, bytes)).collect();
    check::encode(encoder, &items).unwrap().outcomes
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// A picture as a file of `format`.
fn file(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    file(picture, ImageFormat::Png)
}

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7 % 256) as u8, (y * 5 % 256) as u8, ((x + y) % 256) as u8]))
}

/// The pictures that the golden latents are of, and the tensors.
fn stamps() -> (Vec<Vec<u8>>, HashMap<String, Tensor>) {
    let names = std::fs::read(golden().join("efficientnet_lite0.json")).unwrap();
    let names: Vec<String> = serde_json::from_slice(&names).unwrap();
    let read = |name: &String| {
        let path = assets().join("stamps").join(name);
        std::fs::read(&path).unwrap_or_else(|_| panic!("no {}; run ./check, which fetches it", path.display()))
    };
    let tensors = candle_core::safetensors::load(golden().join("efficientnet_lite0.safetensors"), &Device::Cpu);
    (names.iter().map(read).collect(), tensors.unwrap())
}

#[test]
fn latents_are_those_of_pytorch() {
    let (stamps, tensors) = stamps();
    assert!(stamps.len() >= 20);
    for fit in ["crop", "whole"] {
        let expected = tensors[&format!("stamps.{fit}")].to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
        let outcomes = encode(&open(&efficientnet().with("fit", fit)), &stamps);
        assert_eq!(outcomes.len(), expected.len());
        for (stamp, (outcome, expected)) in outcomes.iter().zip(&expected).enumerate() {
            let cosine = cosine(&outcome.as_ref().unwrap().values, expected);
            assert!(cosine > 0.9999, "{fit}, stamp {stamp}: {cosine}");
        }
    }
}

/// Rows 16, 48 .. 208 of the network's input, for each kind of file.
#[test]
fn pixels_are_those_of_pillow() {
    let (stamps, tensors) = stamps();
    let names = "grey.jpg grey_alpha.png palette.gif palette.png rgb.jpg rgb.png rgba.png rgba.webp";
    let drawn = names.split(' ').map(|name| (name, std::fs::read(golden().join("images").join(name)).unwrap()));
    let stamps = stamps.into_iter().take(4).map(|file| ("stamp", file));
    let sets = [("stamp", stamps.collect::<Vec<_>>()), ("image", drawn.collect())];
    for (fit, (set, files)) in ["crop", "whole"].into_iter().flat_map(|fit| sets.iter().map(move |set| (fit, set))) {
        let input = open(&efficientnet().with("fit", fit)).input;
        let expected = tensors[&format!("{set}_pixels.{fit}")].flatten_from(1).unwrap().to_vec2::<u8>().unwrap();
        assert_eq!(files.len(), expected.len());
        for (index, ((name, file), expected)) in files.iter().zip(&expected).enumerate() {
            let pixels = input.pixels(file).unwrap();
            let rows = pixels.chunks(224 * 3).skip(16).step_by(32).flatten();
            let apart = rows.zip(expected).map(|(x, &e)| (x * 128.0 + 127.0 - f32::from(e)).abs());
            let most = apart.fold(0.0, f32::max);
            assert!(most <= 1e-3, "{fit}, {name} {index}: {most} units of 8 bits");
        }
    }
}

#[test]
fn keeps_the_promises_of_every_encoder() {
    for fit in ["crop", "whole"] {
        check::conforms::<CandleImage>(&efficientnet().with("fit", fit), None);
    }
}

/// In f64 the layers take candle's kernels, as on a GPU.
#[test]
fn the_fast_path_is_the_portable_one() {
    let source = Source::locate(&efficientnet(), &Host::detached()).unwrap();
    let x = Tensor::rand(-1f32, 1.0, (3, 224, 224, 3), &Device::Cpu).unwrap();
    let [fast, portable] = [DType::F32, DType::F64].map(|dtype| {
        let model = model::load(&source, false, dtype, &Device::Cpu).unwrap().model;
        let latents = model.forward(&x.to_dtype(dtype).unwrap(), Layer::Last, Pooling::Mean).unwrap();
        latents.to_vec2::<f32>().unwrap()
    });
    for (picture, (fast, portable)) in fast.iter().zip(&portable).enumerate() {
        let apart = fast.iter().zip(portable).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "picture {picture}: {apart}");
    }
}

#[test]
fn bad_pictures_fail_alone() {
    let encoder = open(&efficientnet());
    let (good, jpeg) = (png(gradient(64, 48)), file(gradient(64, 48), ImageFormat::Jpeg));
    let with = |mut file: Vec<u8>, at: usize, bytes: &[u8]| {
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let middle = good.len() / 2;
    let bad = [
        (good[..middle].to_vec(), "cannot decode the picture"),
        (with(good.clone(), middle, &[!good[middle]]), "cannot decode the picture"),
        (jpeg[..200].to_vec(), "cannot decode the picture"),
        (jpeg[..jpeg.len() / 2].to_vec(), "cannot decode the picture"),
        (with(jpeg.clone(), 20, &[0; 100]), "cannot decode the picture"),
        (b"a red flower".to_vec(), "neither PNG, JPEG, WebP, GIF, BMP, TIFF nor SVG"),
        (Vec::new(), "an empty file"),
    ];
    let files: Vec<Vec<u8>> = bad.iter().flat_map(|(file, _)| [good.clone(), file.clone()]).collect();
    let alone = encode(&encoder, &[good]).remove(0).unwrap().values;
    for (index, ((_, message), pair)) in bad.iter().zip(encode(&encoder, &files).chunks(2)).enumerate() {
        assert_eq!(pair[0].as_ref().unwrap().values, alone, "beside bad file {index}");
        let error = pair[1].as_ref().err().unwrap_or_else(|| panic!("bad file {index} has a latent"));
        assert!(error.message.contains(message), "bad file {index}: {}", error.message);
        assert!(!error.message.contains('\n'), "bad file {index}: {}", error.message);
    }
}

/// The header of a PNG of 8-bit RGBA, and the beginning of its pixels.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
    chunk.extend([8, 6, 0, 0, 0]);
    let crc = !chunk.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    [b"\x89PNG\r\n\x1a\n\0\0\0\x0d", &chunk[..], &crc.to_be_bytes(), b"\0\0\0\0IDAT\x35\xaf\x06\x1e"].concat()
}

#[test]
fn large_pictures_are_refused_by_their_headers() {
    let refused = |options: &Options, file: Vec<u8>| {
        let error = encode(&open(options), &[file]).remove(0).unwrap_err();
        assert!(!error.transient && error.retry_ms.is_none(), "{error} would be tried again");
        error.message
    };
    assert_eq!(
        refused(&efficientnet(), png_header(30_000, 20_000)),
        "30000x20000 is 600000000 pixels, more than `max_pixels = 100000000`; shrink the picture, or raise the limit \
         in plugins.toml and encode with --retry-failed"
    );
    let strict = efficientnet().with("max_pixels", 1000);
    for format in
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff]
    {
        assert!(refused(&strict, file(gradient(77, 13), format)).contains("77x13 is 1001 pixels"), "{format:?}");
        assert!(encode(&open(&strict), &[file(gradient(40, 25), format)])[0].is_ok(), "{format:?}");
    }
}

/// The network's input for a file.
fn pixels(file: &[u8]) -> Vec<f32> {
    open(&efficientnet()).input.pixels(file).unwrap()
}

#[test]
fn the_same_picture_in_any_kind_of_file() {
    // Few colours, so that a palette holds them all.
    let picture =
        DynamicImage::from(RgbImage::from_fn(90, 60, |x, y| Rgb([(x / 30 * 90) as u8, (y / 20 * 70) as u8, 200])));
    let expected = pixels(&png(picture.clone()));
    let same = [
        ("16 bits", png(picture.to_rgb16())),
        ("16 bits and alpha", png(picture.to_rgba16())),
        ("alpha", png(picture.to_rgba8())),
        ("WebP", file(picture.clone(), ImageFormat::WebP)),
        ("GIF", file(picture.to_rgba8(), ImageFormat::Gif)),
    ];
    for (kind, file) in same {
        assert_eq!(pixels(&file), expected, "{kind}");
    }
    let grey = picture.to_luma8();
    let as_rgb = pixels(&png(DynamicImage::from(grey.clone()).to_rgb8()));
    for (kind, file) in [("grey", png(grey.clone())), ("grey, 16 bits", png(DynamicImage::from(grey).to_luma16()))] {
        assert_eq!(pixels(&file), as_rgb, "{kind}");
    }
}

#[test]
fn transparency_is_white_and_a_film_its_first_frame() {
    let plain = |rgba: [u8; 4]| RgbaImage::from_pixel(50, 50, Rgba(rgba));
    let white = pixels(&png(plain([255; 4])));
    assert_eq!(pixels(&png(plain([200, 10, 10, 0]))), white);
    // 200 * 0.4 + 255 * 0.6, and so on.
    assert_eq!(pixels(&png(plain([200, 10, 100, 102]))), pixels(&png(plain([233, 157, 193, 255]))));
    let (red, blue) = (plain([255, 0, 0, 255]), plain([0, 0, 255, 255]));
    let mut film = Vec::new();
    GifEncoder::new(&mut film).encode_frames([red.clone(), blue].map(Frame::new)).unwrap();
    assert_eq!(pixels(&film), pixels(&png(red)));
}

#[test]
fn pictures_of_any_shape_encode() {
    // The last would take 2 GB between the two directions, were it always resized across first.
    let shapes = [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (3000, 5), (224, 224), (1, 3_000_000)];
    let files = shapes.map(|(width, height)| png(gradient(width, height)));
    for fit in ["crop", "whole"] {
        for (shape, outcome) in shapes.iter().zip(encode(&open(&efficientnet().with("fit", fit)), &files)) {
            let latent = outcome.unwrap_or_else(|error| panic!("{fit}, {shape:?}: {}", error.message)).values;
            assert!(latent.len() == 1280 && latent.iter().all(|value| value.is_finite()), "{fit}, {shape:?}");
        }
    }
}

#[test]
fn mistakes_name_what_to_change() {
    let refused = |options: Options| CandleImage::open(&options, &Host::detached()).err().unwrap().message;
    assert!(refused(efficientnet().with("fit", "croop")).contains("`fit = \"croop\"`"));
    for (value, shown) in [(0.into(), "0"), ((-1).into(), "-1"), ("many".into(), "\"many\""), (2.5.into(), "2.5")] {
        let value: serde_json::Value = value;
        let message = refused(efficientnet().with("max_pixels", value));
        assert!(message.contains(&format!("`max_pixels = {shown}`")), "{message}");
    }
    assert!(refused(efficientnet().with("device", "tpu")).contains("choose \"cpu\""));
    let golden = golden().to_str().unwrap().to_owned();
    let nowhere = refused(Options::default().with("model", golden.as_str()));
    assert!(nowhere.contains("there is neither a config.json nor a state dict"), "{nowhere}");
    let two = tempfile::tempdir().unwrap();
    ["a.pt", "b.pth"].iter().for_each(|name| std::fs::write(two.path().join(name), "").unwrap());
    let many = refused(Options::default().with("model", two.path().to_str()));
    assert!(many.contains("and more than one state dict: a.pt, b.pth; set `model` to the path of one"), "{many}");
    let other = refused(Options::default().with("model", format!("{golden}/efficientnet_lite0.json")));
    assert!(other.contains("efficientnet_lite0.json has no config.json next to it"), "{other}");
}

#[test]
fn a_fingerprint_tells_how_pictures_were_seen() {
    let of = |options: Options| open(&options).describe().fingerprint;
    assert_ne!(of(efficientnet().with("fit", "whole")), of(efficientnet()));
    // What is refused has no latent, so the limit changes none.
    assert_eq!(of(efficientnet().with("max_pixels", 5000)), of(efficientnet()));
}
