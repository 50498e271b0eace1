//! The text towers of aligned models, against what tests/golden/aligned.py has transformers make of both towers.

use candle_core::{DType, Device, Tensor};
use candle_kit::Source;
use fusemix_sdk::{Encoder, Host, Options};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;

use super::families::{compare, expected, folder, options, texts};
use super::files::{copy, read, refused};
use super::{cosine, encode, open};
use crate::model;

/// And what transformers gives for `get_text_features`, by its name in the goldens.
const ALIGNED: [(&str, &str); 5] = [
    ("clip_whole", "projection"),
    ("clip_old", "projection"),
    ("siglip_whole", "last.pooler"),
    ("siglip2", "last.pooler"),
    ("clap_whole", "projection"),
];

/// These options with the latents that the model compares with those of its other tower.
fn compared(options: Options, features: &str) -> Options {
    if features == "projection" { options.with("projection", true) } else { options }
}

#[test]
fn what_the_model_compares() {
    for (family, features) in ALIGNED {
        let expected = &expected(family)[features];
        let options = compared(options(family), features);
        let (cosine, error) = compare(&options, expected);
        assert!(cosine > 0.999_99 && error < 1e-4, "{family}: cosine {cosine}, error {error:.1e}");
        assert_eq!(open(&options).describe().width, Some(expected[0].len()), "{family}");
        println!("{family}: 1 - cosine {:.1e}, error {error:.1e}", 1.0 - cosine);
    }
}

/// transformers' `logits_per_image` without its scale, from its own pictures or sounds and the texts of here.
#[test]
fn cosines_with_the_other_tower_are_those_of_transformers() {
    for (family, features) in ALIGNED {
        let expected = expected(family);
        let others = expected.get("pictures").or(expected.get("sounds")).unwrap();
        let texts = texts();
        let encoder = open(&compared(options(family), features));
        let encoded = encode(&encoder, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        let mut apart = 0f64;
        for (other, row) in others.iter().zip(&expected["cosines"]) {
            for (outcome, expected) in encoded.outcomes.iter().zip(row) {
                let cosine = cosine(other, &outcome.as_ref().unwrap().values);
                apart = apart.max((cosine - f64::from(*expected)).abs());
            }
        }
        assert!(apart < 1e-4, "{family}: {apart}");
        println!("{family}: cosines differ by {apart:.1e}");
    }
}

#[test]
fn each_text_alone_is_that_among_others() {
    let texts = texts();
    for (family, _) in ALIGNED {
        let encoder = open(&options(family));
        let together = encode(&encoder, &texts.iter().map(String::as_str).collect::<Vec<_>>()).outcomes;
        for (text, outcome) in texts.iter().zip(together) {
            let (outcome, alone) = (outcome.unwrap(), encode(&encoder, &[text]).outcomes.remove(0).unwrap());
            let apart = outcome.values.iter().zip(&alone.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{family}, {text}: {apart}");
            // Gemma's tokens may hold several words.
            assert_eq!(outcome.truncated, text.len() > 500 && family != "siglip2", "{family}, {text}");
        }
    }
}

/// A copy of a whole model's checkpoint with the text tower alone: its `text_config`, and its weights, renamed.
fn tower(family: &str, more: Value, rename: impl Fn(&str) -> Option<String>) -> (tempfile::TempDir, Options) {
    let config: Value = serde_json::from_slice(&fs::read(folder(family).join("config.json")).unwrap()).unwrap();
    let mut config = config["text_config"].clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (copy, options) = copy(family, &[("config.json", config)]);
    let file = copy.path().join("model.safetensors");
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    let tensors = tensors.into_iter().filter_map(|(name, tensor)| Some((rename(&name)?, tensor)));
    candle_core::safetensors::save(&tensors.collect::<HashMap<String, Tensor>>(), &file).unwrap();
    (copy, options)
}

/// As `CLIPTextModel`, `CLIPTextModelWithProjection` and their like save them.
#[test]
fn a_tower_may_be_alone() {
    for (family, features) in ALIGNED {
        let expected = expected(family);
        let with = |name: &str| name.starts_with("text_").then(|| name.to_owned());
        let (_folder, options) = tower(family, json!({}), with);
        let options = compared(options, features);
        assert!(compare(&options, &expected[features]).0 > 0.999_99, "{family}, with its projection");
        let without = |name: &str| name.strip_prefix("text_model.").map(str::to_owned);
        let (_folder, options) = tower(family, json!({}), without);
        assert!(compare(&options, &expected["last.pooler"]).0 > 0.999_99, "{family}, alone");
        if features == "projection" {
            let message = refused(&options.with("projection", true));
            assert!(message.contains("has none; only CLIP and CLAP have one"), "{message}");
        }
    }
}

/// sentence-transformers has CLIP in a folder inside, and no pooling.
#[test]
fn a_clip_of_sentence_transformers() {
    let whole = tempfile::tempdir().unwrap();
    let inner = whole.path().join("0_CLIPModel");
    fs::create_dir(&inner).unwrap();
    for entry in fs::read_dir(folder("clip_whole")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, inner.join(path.file_name().unwrap())).unwrap();
    }
    let modules = json!([{"idx": 0, "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]);
    fs::write(whole.path().join("modules.json"), modules.to_string()).unwrap();
    let options = Options::default().with("model", whole.path().to_str());
    assert!(compare(&options.with("projection", true), &expected("clip_whole")["projection"]).0 > 0.999_99);
}

#[test]
fn open_clips_layout_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("open_clip_config.json"), "{}").unwrap();
    let message = refused(&Options::default().with("model", folder.path().to_str()));
    assert!(message.contains("OpenCLIP's own layout") && message.contains("`model_type` clip"), "{message}");
}

/// Published configs leave out what is usual, and old ones have the tower's part twice.
#[test]
fn configs_of_whole_models() {
    let mut config: Value =
        serde_json::from_slice(&fs::read(folder("clip_whole").join("config.json")).unwrap()).unwrap();
    for key in ["hidden_act", "layer_norm_eps", "max_position_embeddings", "projection_dim"] {
        config["text_config"].as_object_mut().unwrap().remove(key);
    }
    let expected = expected("clip_whole");
    for old in [false, true] {
        if old {
            config["text_config_dict"] = config["text_config"].take();
            config["text_config"] = json!({"hidden_size": 64});
        }
        let (_folder, options) = copy("clip_whole", &[("config.json", config.clone())]);
        let options = options.with("projection", true);
        assert!(compare(&options, &expected["projection"]).0 > 0.999_99, "old: {old}");
    }
}

#[test]
fn the_end_of_a_text_is_found_by_either_rule() {
    for (family, ids, place) in [
        ("clip_whole", &[318, 5, 319, 7, 319][..], 2),
        ("clip_whole", &[318, 5, 7], 0),
        ("clip_old", &[318, 5, 319, 319], 2),
        ("clip_old", &[5, 2, 9, 3, 9], 2),
        ("siglip_whole", &[5, 1, 1], 2),
        ("clap_whole", &[0, 5, 2], 0),
    ] {
        let source = Source::locate(&options(family), &Host::detached()).unwrap();
        let weights = source.checkpoint().unwrap();
        let model = model::load(&source, &weights, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(model.pooled(ids), place, "{family}, {ids:?}");
    }
}

#[test]
fn padding_is_that_of_the_settings() {
    assert_eq!(read(&options("siglip2"), "padding").unwrap(), "0 behind to 64");
    assert_eq!(read(&options("siglip_whole"), "padding").unwrap(), "1 behind to 64");
    assert_eq!(read(&options("clip_whole"), "padding"), None);
    let config = folder("siglip2").join("tokenizer_config.json");
    let mut settings: Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
    settings["padding_side"] = "left".into();
    let (_folder, left) = copy("siglip2", &[("tokenizer_config.json", settings)]);
    assert_eq!(read(&left, "padding").unwrap(), "0 before to 64");
    let encoder = open(&left);
    let tokens = encoder.input.tokens(&fusemix_sdk::Item::text("a red flower")).unwrap();
    assert_eq!((tokens.ids.len(), tokens.own.end, tokens.ids[tokens.own.start - 1]), (64, 64, 0));
}

#[test]
fn a_projection_that_is_not_there_is_refused() {
    for (options, says) in [
        (options("clip_whole").with("layer", 1), "it needs the last layer; remove `layer = 1`"),
        (
            options("clap_whole").with("pooling", "mean"),
            "it is of the model's own pooling; remove `pooling = \"mean\"`",
        ),
        (options("siglip2"), "its pooler, the default, is what it compares with pictures"),
        (options("bert"), "has none; only CLIP and CLAP have one"),
    ] {
        let message = refused(&options.with("projection", true));
        assert!(message.starts_with("`projection = true`: ") && message.contains(says), "{message}");
    }
    // Where none is asked for there is none.
    assert_eq!(read(&options("clip_whole"), "projection"), None);
    assert_eq!(read(&options("clip_whole").with("projection", true), "projection").unwrap(), "true");
}
