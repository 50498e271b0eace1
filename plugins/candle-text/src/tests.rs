//! Tests on the real weights of all-MiniLM-L6-v2, in `FUSEMIX_MINILM` or as fetched by `./check`.

use candle_core::{DType, Device, Tensor};
use candle_kit::nn::Packing;
use candle_kit::{Layer, Source};
use fusemix_sdk::{Encoded, Encoder, Host, Item, Modality, Options, check};
use std::path::{Path, PathBuf};

use crate::model::Pass;
use crate::{CandleText, model};

mod aligned;
mod families;
mod files;
mod layouts;
mod long;
mod tokens;

fn minilm() -> Options {
    let fetched = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/assets/minilm");
    let folder = std::env::var_os("FUSEMIX_MINILM").map_or_else(fetched, PathBuf::from);
    assert!(folder.is_dir(), "{} is not there; run ./check, which fetches it", folder.display());
    Options::default().with("model", folder.to_str())
}

fn open(options: &Options) -> CandleText {
    CandleText::open(options, &Host::detached()).unwrap()
}

fn encode(encoder: &CandleText, texts: &[&str]) -> Encoded {
    let items: Vec<Item<'_>> = texts.iter().map(|text| Item::text(text)).collect();
    check::encode(encoder, &items).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn latents_are_those_of_transformers() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let captions: Vec<String> = serde_json::from_slice(&std::fs::read(golden.join("minilm.json")).unwrap()).unwrap();
    let captions: Vec<&str> = captions.iter().map(String::as_str).collect();
    let latents = candle_core::safetensors::load(golden.join("minilm.safetensors"), &Device::Cpu).unwrap();
    for pooling in ["mean", "cls"] {
        let expected = latents[pooling].to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
        let encoded = encode(&open(&minilm().with("pooling", pooling)), &captions);
        assert_eq!(encoded.outcomes.len(), expected.len());
        for (caption, (outcome, expected)) in captions.iter().zip(encoded.outcomes.iter().zip(&expected)) {
            let cosine = cosine(&outcome.as_ref().unwrap().values, expected);
            assert!(cosine > 0.999_999, "{pooling}, {caption}: {cosine}");
        }
    }
}

#[test]
fn keeps_the_promises_of_every_encoder() {
    for pooling in ["mean", "cls"] {
        check::conforms::<CandleText>(&minilm().with("pooling", pooling), None);
    }
}

#[test]
fn a_long_text_is_cut_and_says_so() {
    let encoder = open(&minilm().with("max_length", 16));
    let (short, long) = ("a red flower", "a red flower and a blue one ".repeat(1000));
    let outcomes = encode(&encoder, &[short, &long, &long[..28]]).outcomes;
    let [short, long, cut] = [0, 1, 2].map(|index| outcomes[index].clone().unwrap());
    assert!(!short.truncated && long.truncated && !cut.truncated);
    assert!(cosine(&short.values, &long.values) < 0.99);
    // 14 words and the two special tokens.
    let beginning = encode(&encoder, &["a red flower and a blue one a red flower and a blue one"]);
    assert_eq!(beginning.outcomes[0].clone().unwrap().values, long.values);
}

#[test]
fn the_checkpoint_says_where_to_cut_and_how_to_pool() {
    let fingerprint = |options: &Options| open(options).describe().fingerprint;
    let default = fingerprint(&minilm());
    // sentence_bert_config.json: 256. tokenizer.json says 128, which upstream overrides.
    assert_eq!((&*default["max_length"], &*default["pooling"], &*default["normalize"]), ("256", "mean", "false"));
    for (key, value) in [("pooling", "cls".into()), ("max_length", 64.into()), ("normalize", serde_json::json!(true))] {
        assert_ne!(fingerprint(&minilm().with(key, value)), default, "{key}");
    }
}

#[test]
fn bad_texts_fail_alone() {
    let encoder = open(&minilm());
    let good = encode(&encoder, &["a red flower"]).outcomes;
    let invisible = "\u{1}\u{200b}\u{feff}";
    let items = ["a red\0 flower", "", " \n", "\u{3000}", "\0\0", invisible].map(Item::text);
    let invalid = Item::new(&Modality::Text, b"caf\xe9");
    let outcomes = check::encode(&encoder, &[&items[..], &[invalid]].concat()).unwrap().outcomes;
    assert_eq!(outcomes[0], good[0]);
    let nothing = "finds nothing in it";
    for (outcome, reason) in outcomes[1..].iter().zip(["empty", "empty", "empty", nothing, nothing, "UTF-8 at byte 3"])
    {
        let message = outcome.clone().unwrap_err().message;
        assert!(message.contains(reason), "{message}");
    }
    let prompted = open(&minilm().with("prompt", "query: "));
    let outcomes = encode(&prompted, &["a red flower", invisible]).outcomes;
    assert!(outcomes[0].is_ok() && outcomes[1].clone().unwrap_err().message.contains(nothing));
}

#[test]
fn many_texts_equal_each_alone() {
    let encoder = open(&minilm().with("normalize", true));
    let texts: Vec<String> = (1..80).map(|words| format!("{words} {}", "birds ".repeat(words * 7 % 61))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = encode(&encoder, &texts);
    for (text, outcome) in texts.iter().zip(&together.outcomes) {
        let [alone] = &encode(&encoder, &[text]).outcomes[..] else { panic!("one text, one latent") };
        let (alone, outcome) = (alone.as_ref().unwrap(), outcome.as_ref().unwrap());
        let apart = alone.values.iter().zip(&outcome.values).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        assert!(apart < 1e-5, "{text}: {apart}");
        let length = outcome.values.iter().map(|value| value * value).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "{text}: length {length}");
    }
    assert!(together.usage["tokens"] > 79.0 * 3.0);
}

/// In f16 the layers take candle's kernels and padding, as on a GPU.
#[test]
fn the_fast_path_is_the_portable_one() {
    let source = Source::locate(&minilm(), &Host::detached()).unwrap();
    let weights = source.checkpoint().unwrap();
    let ids = Tensor::new((1000u32..1084).collect::<Vec<_>>(), &Device::Cpu).unwrap();
    let packing = Packing::new(vec![9, 1, 70, 4], &Device::Cpu).unwrap();
    let [fast, portable] = [DType::F32, DType::F16].map(|dtype| {
        let model = model::load(&source, &weights, dtype, &Device::Cpu).unwrap();
        let pass = Pass { packing: &packing, layer: Layer::Last, before_block: &|_| Ok(()) };
        let hidden = model.forward(&ids, &pass).unwrap().to_dtype(DType::F32).unwrap();
        hidden.to_vec2::<f32>().unwrap()
    });
    for (token, (fast, portable)) in fast.iter().zip(&portable).enumerate() {
        assert!(cosine(fast, portable) > 0.9999, "token {token}: {}", cosine(fast, portable));
    }
}

#[test]
fn mistakes_name_what_to_change() {
    let refused = |options: Options| CandleText::open(&options, &Host::detached()).err().unwrap().message;
    assert!(refused(minilm().with("pooling", "max")).contains("this model offers mean, cls, pooler"));
    assert!(refused(minilm().with("max_length", 513)).contains("from 3 to the 512"));
    assert!(refused(minilm().with("max_length", 2)).contains("from 3 to the 512"));
    assert!(refused(minilm().with("device", "tpu")).contains("choose \"cpu\""));
    let folder = minilm().need::<String>("model").unwrap();
    assert!(refused(minilm().with("model", format!("{folder}/1_Pooling"))).contains("model.safetensors"));
}
