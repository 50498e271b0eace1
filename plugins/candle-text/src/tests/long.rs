//! Long texts, and packs of them.

use candle_core::{Device, Tensor, bail};
use candle_kit::nn::Packing;
use candle_kit::{Layer, Source};
use fusemix_sdk::{Host, Item};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::cell::Cell;
use tokenizers::TruncationParams;

use super::files::copy;
use super::{families, minilm, open};
use crate::input::{self, Tokens};
use crate::model::{self, Pass};
use crate::sentence_transformers::Layout;
use crate::tokenizer::{self, Opened};

#[test]
fn a_batch_has_so_many_tokens_or_one_text() {
    let text = |length| Ok(Tokens { ids: vec![0; length], own: 0..length, truncated: false });
    let texts: Vec<_> = (0..32).flat_map(|index| [text(32_768), text(1 + index)]).collect();
    let packs = input::packs(&texts, &Device::Cpu);
    assert_eq!(packs.iter().map(Vec::len).sum::<usize>(), 64);
    let long = |pack: &input::Pack<'_>| input::tokens(pack) > 512;
    assert!(packs.iter().all(|pack| pack.len() == 1 || !long(pack)));
    assert_eq!(packs.iter().filter(|pack| long(pack)).count(), 32);
    assert!(packs.len() < 36, "{} packs", packs.len());
}

/// Texts that are long for 16 tokens: of words, of one word, with little that is not left out, and in several scripts.
fn long_texts() -> Vec<String> {
    let seed = 20_261_129;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let scripts =
        ["abcdefghijklmnop", "\u{3b1}\u{3b2}\u{3a3}", "\u{6f22}\u{5b57}\u{4eee}", "e\u{301}\u{200b}", ".,!'\n", "0123"];
    let mut words = |count: usize, gaps: &[&str]| {
        let mut text = String::new();
        for _ in 0..count {
            let letters: Vec<char> = scripts[random.random_range(0..scripts.len())].chars().collect();
            let length = random.random_range(1..12);
            text.extend((0..length).map(|_| letters[random.random_range(0..letters.len())]));
            text.push_str(gaps[random.random_range(0..gaps.len())]);
        }
        text
    };
    let mut texts: Vec<String> =
        (0..8).map(|_| words(2000, &[" ", " ", "  ", "\n", "\n\n ", "\u{3000}", "\t"])).collect();
    texts.extend((0..4).map(|_| words(2000, &[""])));
    texts.push(format!("{}{}", "\u{200b}".repeat(5000), words(200, &[" "])));
    texts.push(format!("{}{}", " ".repeat(5000), words(200, &[" "])));
    texts.extend([
        "a".repeat(5000),
        "a".repeat(5001),
        "ab".repeat(2501) + "a",
        "a red flower ".repeat(300),
        "<mask> [MASK] <s> </s> ".repeat(300),
    ]);
    texts
}

/// As if the tokenizer had read them whole.
#[test]
fn tokens_of_a_long_text_are_those_of_the_whole() {
    let texts = long_texts();
    let (_folder, left) = copy("bert", &[("tokenizer_config.json", json!({"truncation_side": "left"}))]);
    let families = families::FAMILIES.map(families::options);
    for options in families.into_iter().chain([minilm(), left]) {
        let options = options.with("max_length", 16);
        let source = Layout::of(Source::locate(&options, &Host::detached()).unwrap()).unwrap().transformer;
        let Opened { mut tokenizer, side, .. } = tokenizer::open(&source).unwrap();
        let truncation = TruncationParams { max_length: 16, direction: side, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).unwrap();
        let encoder = open(&options);
        let mut compared = 0;
        for text in &texts {
            let whole = tokenizer.encode_fast(text.as_str(), true).unwrap();
            let Ok(tokens) = encoder.input.tokens(&Item::text(text)) else { continue };
            compared += 1;
            let start: String = text.chars().take(40).collect();
            assert_eq!(&tokens.ids[tokens.own.clone()], whole.get_ids(), "{options:?}: {start:?}");
            assert_eq!(tokens.truncated, !whole.get_overflowing().is_empty(), "{options:?}: {start:?}");
        }
        assert!(compared > texts.len() / 2, "{options:?}: {compared}");
    }
}

#[test]
fn a_pass_ends_at_the_next_block() {
    let families = families::FAMILIES.map(families::options);
    for options in families.into_iter().chain([minilm()]) {
        let source = Source::locate(&options, &Host::detached()).unwrap();
        let weights = source.checkpoint().unwrap();
        let model = model::load(&source, &weights, candle_core::DType::F32, &Device::Cpu).unwrap();
        let packing = Packing::new(vec![3], &Device::Cpu).unwrap();
        let asked = Cell::new(0);
        let before_block = |done| {
            asked.set(asked.get() + 1);
            if done == 1 { bail!("stopped") } else { Ok(()) }
        };
        let pass = Pass { packing: &packing, layer: Layer::Last, before_block: &before_block };
        let ids = Tensor::new(&[1u32, 2, 3], &Device::Cpu).unwrap();
        assert!(model.forward(&ids, &pass).is_err_and(|error| error.to_string().contains("stopped")));
        assert_eq!(asked.get(), 2, "{options:?}");
    }
}
