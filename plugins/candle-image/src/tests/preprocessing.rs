//! preprocessor_config.json, against the results of transformers' processors made by tests/golden/preprocessors.py.

use candle_core::Device;
use fusemix_sdk::{Encoder, Host, Options};
use serde_json::{Value, json};

use super::families::{changed, family, model};
use super::{CandleImage, golden, open};

const FILE: &str = "preprocessor_config.json";

#[test]
fn every_class_does_as_in_transformers() {
    let cases = std::fs::read(golden().join("preprocessors.json")).unwrap();
    let cases: Vec<(String, Value, usize, usize)> = serde_json::from_slice(&cases).unwrap();
    let tensors = candle_core::safetensors::load(golden().join("preprocessors.safetensors"), &Device::Cpu).unwrap();
    let picture = std::fs::read(golden().join("pictures/lzw.tiff.png")).unwrap();
    for (number, (name, config, height, width)) in cases.iter().enumerate() {
        let copy = changed(name, FILE, |file| *file = config.clone());
        let input = open(&model(copy.path())).input;
        assert_eq!(input.size(), [*height, *width], "{name}, {config}");
        let pixels = input.pixels(&picture).unwrap();
        let rows = pixels.chunks(width * 3).step_by(16);
        let seen: Vec<f32> = rows.flat_map(|row| row.chunks(3).step_by(16).flatten().copied()).collect();
        let expected: Vec<f32> = tensors[&number.to_string()].flatten_all().unwrap().to_vec1().unwrap();
        let most = seen.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(seen.len() == expected.len() && most < 1e-6, "{name}, {config}: {most} apart");
    }
}

#[test]
fn an_unknown_class_does_what_its_file_says_and_what_is_usual() {
    let copy = changed("vit", FILE, |file| *file = json!({"image_processor_type": "MyImageProcessor", "size": 28}));
    let usual = changed("vit", FILE, |file| file["size"] = json!({"height": 28, "width": 28}));
    let of = |folder: &tempfile::TempDir| open(&model(folder.path())).describe().fingerprint["preprocessing"].clone();
    assert_eq!(of(&copy), of(&usual));
}

#[test]
fn what_would_not_be_obeyed_is_refused() {
    for (name, keys, says) in [
        ("clip", json!({"do_center_crop": false}), "pictures would keep their shapes"),
        ("clip", json!({"do_pad": true}), "`do_pad` is not supported"),
        ("clip", json!({"size": {"shortest_edge": 56, "longest_edge": 80}}), "`size` is neither a number"),
        ("clip", json!({"resample": 6}), "`resample` is not one of Pillow's"),
        ("clip", json!({"crop_size": 0}), "a side of 0 pixels; it must be between 1 and 4096"),
        ("clip", json!({"size": {"shortest_edge": 4_000_000_000_u32}}), "a side of 4000000000 pixels"),
        ("vit", json!({"do_center_crop": true}), "`do_center_crop` is set without `crop_size`"),
        ("convnext", json!({"do_center_crop": true, "crop_size": 56}), "`do_center_crop` together with `crop_pct`"),
    ] {
        let copy = changed(name, FILE, |file| {
            file.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        });
        let refused = CandleImage::open(&model(copy.path()), &Host::detached()).err().unwrap().message;
        assert!(refused.contains(FILE) && refused.contains(says), "{name}, {keys}: {refused}");
    }
}

#[test]
fn what_the_preprocessor_says_is_in_the_fingerprint() {
    let of = |options: &Options| open(options).describe().fingerprint;
    let usual = of(&family("vit"));
    for (key, value) in [("resample", 3.into()), ("do_normalize", false.into()), ("rescale_factor", 0.01.into())] {
        let value: serde_json::Value = value;
        let copy = changed("vit", "preprocessor_config.json", |config| config[key] = value.clone());
        let changed = of(&model(copy.path()));
        assert_ne!(changed["preprocessing"], usual["preprocessing"], "{key}");
        assert_eq!(changed["weights"], usual["weights"]);
    }
}

#[test]
fn what_transformers_5_saves_with_the_other_processors_is_read_too() {
    let changed = changed("siglip", FILE, |file| file["image_mean"] = json!([0.1, 0.1, 0.1]));
    let of = || open(&model(changed.path())).describe().fingerprint["preprocessing"].clone();
    let alone = of();
    let path = changed.path().join(FILE);
    let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_ne!(of(), alone, "neither file");
    let together = json!({"image_processor": file, "processor_class": "SiglipProcessor"}).to_string();
    std::fs::write(changed.path().join("processor_config.json"), together).unwrap();
    assert_eq!(of(), alone);
}
