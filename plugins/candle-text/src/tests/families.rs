//! Tests on the small random checkpoints of tests/golden/checkpoints, against the references that tests/golden/text.py
//! and aligned.py made.

use candle_core::{DType, Device, Tensor};
use fusemix_sdk::{Encoder, Options, check};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::{cosine, encode, open};

/// Among them are weights with the prefix of a model with a head and without, in f32, f16 and bf16, in PyTorch's state
/// dict (xlm_roberta) and in shards (qwen3).
pub(super) const FAMILIES: [&str; 16] = [
    "bert",
    "roberta",
    "xlm_roberta",
    "distilbert",
    "modernbert",
    "jina_bert",
    "jina_bert_code",
    "qwen3",
    "new",
    "nomic_bert",
    "mpnet",
    "clip_whole",
    "clip_old",
    "siglip_whole",
    "siglip2",
    "clap_whole",
];

pub(super) fn folder(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/checkpoints").join(family)
}

pub(super) fn options(family: &str) -> Options {
    Options::default().with("model", folder(family).to_str())
}

pub(super) fn texts() -> Vec<String> {
    serde_json::from_slice(&std::fs::read(folder("texts.json")).unwrap()).unwrap()
}

/// The reference's latents of [`texts`], by `LAYER.POOLING`.
pub(super) fn expected(family: &str) -> HashMap<String, Vec<Vec<f32>>> {
    let tensors = candle_core::safetensors::load(folder(family).join("expected.safetensors"), &Device::Cpu).unwrap();
    let rows = |tensor: Tensor| tensor.to_dtype(DType::F32).unwrap().to_vec2().unwrap();
    // Those of pictures besides.
    let tensors = tensors.into_iter().filter(|(_, tensor)| tensor.rank() == 2);
    tensors.map(|(name, tensor)| (name, rows(tensor))).collect()
}

/// The agreement of the latents of [`texts`] with `expected`: their least cosine, and their largest error relative to a
/// latent's length.
pub(super) fn compare(options: &Options, expected: &[Vec<f32>]) -> (f64, f64) {
    let texts = texts();
    let encoded = encode(&open(options), &texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(encoded.outcomes.len(), expected.len());
    let mut worst = (1.0f64, 0.0f64);
    for (outcome, expected) in encoded.outcomes.iter().zip(expected) {
        let values = &outcome.as_ref().unwrap().values;
        let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let apart = squares(&mut values.iter().zip(expected).map(|(a, b)| a - b));
        let error = apart / squares(&mut expected.iter().copied());
        worst = (worst.0.min(cosine(values, expected)), worst.1.max(error));
    }
    worst
}

#[test]
fn every_layer_and_pooling_is_the_references() {
    for family in FAMILIES {
        let choices = open(&options(family)).describe().choices;
        let mut offered = BTreeSet::new();
        for (name, expected) in expected(family) {
            let Some((layer, pooling)) = name.split_once('.').filter(|(layer, _)| !layer.ends_with("_prompt")) else {
                continue;
            };
            let value = layer.parse::<u64>().map_or_else(|_| layer.into(), serde_json::Value::from);
            let chosen = options(family).with("layer", value).with("pooling", pooling);
            let (cosine, error) = compare(&chosen, &expected);
            assert!(cosine > 0.9999 && error < 1e-3, "{family}, {name}: cosine {cosine}, error {error:.1e}");
            offered.extend([("layer", layer.to_owned()), ("pooling", pooling.to_owned())]);
        }
        let described =
            choices.iter().flat_map(|(key, values)| values.iter().map(|value| (key.as_str(), value.clone())));
        let described: BTreeSet<_> = described.filter(|(_, value)| value != "penultimate").collect();
        assert_eq!(offered, described, "{family}: what the reference was asked for, and what the encoder offers");
    }
}

#[test]
fn every_family_keeps_the_promises_of_an_encoder() {
    for family in FAMILIES {
        check::conforms::<crate::CandleText>(&options(family).with("normalize", true), None);
    }
}

#[test]
fn half_precision_is_near() {
    for family in FAMILIES {
        let expected = expected(family);
        let pooling = if family == "qwen3" { "last" } else { "mean" };
        for dtype in ["bf16", "f16"] {
            let options = options(family).with("dtype", dtype).with("pooling", pooling);
            let (cosine, error) = compare(&options, &expected[&format!("last.{pooling}")]);
            assert!(cosine > 0.99, "{family}, {dtype}: cosine {cosine}, error {error:.1e}");
            assert_eq!(open(&options).describe().fingerprint["dtype"], dtype);
        }
    }
}
