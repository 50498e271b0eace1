//! Each family by a small random checkpoint, made by tests/golden/image_families.py together with the results of
//! transformers.

use candle_core::{Device, Tensor};
use candle_kit::{Layer, Pooling};
use fusemix_sdk::{Encoder, Host, Options, check};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::input::Input;

use super::{CandleImage, assets, cosine, encode, golden, open, png};

const FAMILIES: [&str; 9] =
    ["clip", "convnext", "convnextv2", "dinov2", "dinov2_with_registers", "efficientnet", "siglip", "unicom", "vit"];

pub(super) fn folder(family: &str) -> PathBuf {
    golden().join("checkpoints").join(family)
}

pub(super) fn model(folder: &Path) -> Options {
    Options::default().with("model", folder.to_str())
}

pub(super) fn family(family: &str) -> Options {
    model(&folder(family))
}

/// The pictures that the expected tensors are of, and the tensors.
pub(super) fn expected(folder: &Path) -> (Vec<Vec<u8>>, HashMap<String, Tensor>) {
    const PICTURES: [&str; 4] = [
        "animals/mammals/bovines/yak.png",
        "vehicles/race/indycar.png",
        "symbols/faces/mad.png",
        "food/nuts/walnut_shelled.png",
    ];
    let read = |name: &str| {
        let path = assets().join("stamps").join(name);
        std::fs::read(&path).unwrap_or_else(|_| panic!("no {}; run ./check, which fetches it", path.display()))
    };
    let tensors = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
    (PICTURES.map(read).to_vec(), tensors)
}

/// The options in plugins.toml for `layer.LAYER.POOLING`.
fn choice(options: Options, key: &str) -> Options {
    let [_, layer, pooling] = key.split('.').collect::<Vec<_>>()[..] else { panic!("no layer and pooling: {key}") };
    let options = options.with("pooling", pooling);
    match layer.parse::<u64>() {
        Ok(after) => options.with("layer", after),
        Err(_) => options.with("layer", layer),
    }
}

/// The pictures as resized and cropped by transformers' processor, normalised here.
pub(super) fn seen(tensors: &HashMap<String, Tensor>, input: &Input) -> Vec<Vec<f32>> {
    let rows = tensors["pixels"].flatten_from(1).unwrap().to_vec2::<u8>().unwrap();
    rows.iter().map(|rgb| input.normalised(rgb.as_chunks().0.iter().copied())).collect()
}

/// The worst cosine and the worst relative error of a checkpoint's pictures, for each layer and pooling, from the
/// pixels that transformers had.
fn compare(folder: &Path) -> Vec<(String, f64, f64)> {
    let (_, tensors) = expected(folder);
    let mut keys: Vec<&String> = tensors.keys().filter(|key| key.starts_with("layer.")).collect();
    keys.sort();
    let mut encoder = open(&model(folder));
    let pixels = seen(&tensors, &encoder.input);
    let pixels: Vec<&[f32]> = pixels.iter().map(Vec::as_slice).collect();
    let mut worst = |key: &String| {
        let chosen = choice(Options::default(), key);
        encoder.layer = Layer::choose(&chosen, encoder.model.blocks()).unwrap();
        encoder.pooling = Pooling::choose(&chosen, encoder.model.poolings(), encoder.layer).unwrap();
        let rows = tensors[key].to_vec2::<f32>().unwrap();
        let pairs = encoder.forward(&pixels).unwrap().into_iter().zip(&rows).map(|(latent, row)| {
            assert_eq!([latent.len(), row.len()], [encoder.describe().width.unwrap(); 2], "{key}");
            let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
            let apart = square(&mut latent.iter().zip(row).map(|(a, b)| f64::from(a - b)));
            (cosine(&latent, row), (apart / square(&mut row.iter().map(|&value| f64::from(value)))).sqrt())
        });
        let (cosine, error) = pairs.fold((1f64, 0f64), |worst, pair| (worst.0.min(pair.0), worst.1.max(pair.1)));
        (key.clone(), cosine, error)
    };
    keys.into_iter().map(&mut worst).collect()
}

#[test]
fn latents_are_those_of_transformers() {
    for family in FAMILIES {
        for (key, cosine, error) in compare(&folder(family)) {
            assert!(cosine > 0.9999 && error < 1e-3, "{family}, {key}: cosine {cosine}, relative error {error:.1e}");
        }
    }
}

/// A manual test of a folder from image_families.py, in FUSEMIX_CHECKPOINT; see tests/reference/full_size_image.py.
#[test]
#[ignore = "tests/reference/full_size_image.py runs it"]
fn a_checkpoint_of_ones_own() {
    let folder = PathBuf::from(std::env::var_os("FUSEMIX_CHECKPOINT").expect("FUSEMIX_CHECKPOINT, a folder"));
    for (key, cosine, error) in compare(&folder) {
        println!("{key:<24} cosine {cosine:.7}  relative error {error:.1e}");
        assert!(cosine > 0.9999 && error < 1e-3, "{key}");
    }
}

#[test]
fn every_layer_and_pooling_on_offer_has_been_compared() {
    for name in FAMILIES {
        let choices = open(&family(name)).describe().choices;
        let numbers = choices["layer"].iter().filter(|layer| *layer != "penultimate");
        let all = numbers.flat_map(|layer| choices["pooling"].iter().map(move |pooling| (layer, pooling)));
        // A model's own pooling is of its last layer.
        let offered = all.filter(|(layer, pooling)| *pooling != "pooler" || *layer == "last");
        let offered: BTreeSet<String> = offered.map(|(layer, pooling)| format!("layer.{layer}.{pooling}")).collect();
        let (_, tensors) = expected(&folder(name));
        let compared = tensors.into_keys().filter(|key| key.starts_with("layer.")).collect();
        assert_eq!(offered, compared, "{name}");
    }
}

#[test]
fn pixels_are_those_of_transformers() {
    for name in FAMILIES {
        let (pictures, tensors) = expected(&folder(name));
        let input = open(&family(name)).input;
        for (picture, (file, expected)) in pictures.iter().zip(seen(&tensors, &input)).enumerate() {
            let pixels = input.pixels(file).unwrap();
            assert_eq!(pixels.len(), expected.len(), "{name}");
            let apart = pixels.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-6, "{name}, picture {picture}: {apart}");
        }
    }
}

/// Compares latents of whole files; the rounding of pixels shows in small networks.
#[test]
fn latents_of_files_are_those_of_transformers() {
    for name in FAMILIES {
        let (pictures, tensors) = expected(&folder(name));
        let encoder = open(&family(name));
        let rows = tensors[&format!("layer.last.{}", encoder.pooling)].to_vec2::<f32>().unwrap();
        for (outcome, row) in encode(&encoder, &pictures).iter().zip(&rows) {
            let cosine = cosine(&outcome.as_ref().unwrap().values, row);
            assert!(cosine > 0.9999, "{name}: {cosine}");
        }
    }
}

#[test]
fn every_family_keeps_the_promises_of_every_encoder() {
    for name in FAMILIES {
        check::conforms::<CandleImage>(&family(name), None);
        check::conforms::<CandleImage>(&family(name).with("layer", "penultimate").with("normalize", true), None);
    }
}

/// Half precision takes candle's kernels, as a GPU does.
#[test]
fn half_precision_is_near() {
    for name in FAMILIES {
        let (pictures, _) = expected(&folder(name));
        let full = encode(&open(&family(name)), &pictures);
        for dtype in ["bf16", "f16"] {
            let encoder = open(&family(name).with("dtype", dtype));
            assert_ne!(encoder.describe().fingerprint, open(&family(name)).describe().fingerprint);
            for (full, half) in full.iter().zip(encode(&encoder, &pictures)) {
                let cosine = cosine(&full.as_ref().unwrap().values, &half.unwrap().values);
                assert!(cosine > 0.99, "{name}, {dtype}: {cosine}");
            }
        }
    }
}

#[test]
fn normalized_latents_have_length_one() {
    let latent = |options: &Options| encode(&open(options), &[png(super::gradient(40, 30))]).remove(0).unwrap().values;
    let (plain, unit) = (latent(&family("vit")), latent(&family("vit").with("normalize", true)));
    assert!((cosine(&plain, &unit) - 1.0).abs() < 1e-6);
    assert!((unit.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
}

/// A copy of a checkpoint, its config.json and preprocessor_config.json with other values.
pub(super) fn changed(family: &str, file: &str, change: impl Fn(&mut serde_json::Value)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder(family)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = copy.path().join(file);
    let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
    copy
}

#[test]
fn mistakes_name_what_to_change() {
    let refused = |options: &Options| CandleImage::open(options, &Host::detached()).err().unwrap().message;
    let other = changed("vit", "config.json", |config| config["model_type"] = "resnet".into());
    let message = refused(&model(other.path()));
    assert!(message.contains("`model_type` is resnet; this plugin supports: dinov2"), "{message}");
    let wide = changed("vit", "config.json", |config| config["intermediate_size"] = 100.into());
    let message = refused(&model(wide.path()));
    assert!(message.contains("model.safetensors does not fit") && message.contains("intermediate"), "{message}");
    let message = refused(&family("dinov2").with("pooling", "pooler"));
    assert!(message.contains("this model offers cls, mean"), "{message}");
    let message = refused(&family("clip").with("pooling", "pooler").with("layer", 1));
    assert!(message.contains("this model offers cls, mean at layer 1"), "{message}");
    let message = refused(&family("clip").with("layer", 2));
    assert!(message.contains("choose one of last, penultimate, 0, 1"), "{message}");
    let pooler = changed("vit", "config.json", |config| config["pooler_act"] = "relu".into());
    let message = refused(&model(pooler.path()));
    assert!(message.contains("config.json: its `pooler_act` is relu"), "{message}");
}

/// A size that positions were not trained for, and that is no square.
#[test]
fn positions_stretch_as_those_of_transformers() {
    let tensors =
        candle_core::safetensors::load(golden().join("checkpoints/oblong.safetensors"), &Device::Cpu).unwrap();
    for name in ["clip", "dinov2", "dinov2_with_registers", "siglip", "vit"] {
        let copy = changed(name, "preprocessor_config.json", |config| {
            config["size"] = serde_json::json!({"height": 42, "width": 70});
            config["crop_size"] = serde_json::json!({"height": 42, "width": 70});
        });
        let encoder = open(&model(copy.path()).with("pooling", "mean"));
        let states = encoder.forward(&[&seen(&tensors, &encoder.input)[0]]).unwrap().remove(0);
        let expected = tensors[name].to_vec2::<f32>().unwrap().remove(0);
        let apart = states.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(states.len() == expected.len() && apart < 1e-3, "{name}: {apart}");
    }
}
