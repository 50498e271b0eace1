//! Tokens with settings in tokenizer_config.json, as transformers' `AutoTokenizer` makes them: tests/golden/tokens.py.

use candle_kit::Source;
use fusemix_sdk::{Host, Item, Options};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

use super::families::folder;
use super::files::{copy, read, refused};
use crate::tokenizer;

/// Contents by name.
type Files = BTreeMap<String, Value>;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    /// The family, the settings, and the tokens of each text.
    cases: Vec<(String, Option<Value>, Vec<Vec<u32>>)>,
    /// Texts with special tokens in them.
    special: Vec<String>,
    /// The family, the contents of several files, and the tokens of each of those texts.
    files: Vec<(String, Files, Vec<Vec<u32>>)>,
}

impl Golden {
    fn read() -> Self {
        serde_json::from_slice(&fs::read(folder("..").join("tokens.json")).unwrap()).unwrap()
    }
}

/// What differs of the tokens that a family has with these files.
fn wrong(family: &str, files: &Files, texts: &[String], expected: &[Vec<u32>]) -> Vec<String> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(folder(family).join(name), copy.path().join(name)).unwrap();
    }
    for (name, content) in files {
        fs::write(copy.path().join(name), content.to_string()).unwrap();
    }
    let options = Options::default().with("model", copy.path().to_str());
    let source = Source::locate(&options, &Host::detached()).unwrap();
    let tokenizer = tokenizer::open(&source).unwrap().tokenizer;
    let found = |text: &String| tokenizer.encode_fast(text.as_str(), true).unwrap().get_ids().to_vec();
    let each = texts.iter().map(|text| (text, found(text))).zip(expected);
    each.filter(|((_, found), expected)| found != *expected)
        .map(|((text, found), expected)| format!("{family} {files:?} {text:?}: {found:?} for {expected:?}"))
        .collect()
}

#[test]
fn tokens_are_those_of_autotokenizer_whatever_its_settings() {
    let Golden { texts, cases, .. } = Golden::read();
    assert!(cases.len() > 100);
    let wrong: Vec<String> = cases
        .iter()
        .flat_map(|(family, settings, expected)| {
            let files = settings.iter().map(|settings| ("tokenizer_config.json".to_owned(), settings.clone()));
            wrong(family, &files.collect(), &texts, expected)
        })
        .collect();
    assert!(wrong.is_empty(), "{} texts:\n{}", wrong.len(), wrong.join("\n"));
}

/// Settings that list the added tokens come alone; others are overruled by special_tokens_map.json, and completed by
/// added_tokens.json.
#[test]
fn tokens_of_older_files_are_those_of_autotokenizer() {
    let Golden { special, files, .. } = Golden::read();
    assert!(files.len() > 100);
    let wrong: Vec<String> =
        files.iter().flat_map(|(family, files, expected)| wrong(family, files, &special, expected)).collect();
    assert!(wrong.is_empty(), "{} texts:\n{}", wrong.len(), wrong.join("\n"));
}

/// As sentence-transformers 6.2 has it: what is between the special tokens, which keep their case.
#[test]
fn lower_casing_leaves_special_tokens() {
    let limits = ("sentence_bert_config.json", json!({"max_seq_length": 64, "do_lower_case": true}));
    for (family, text, expected) in [
        ("bert", "A RED Flower [MASK] x", vec![2u32, 15, 96, 95, 4, 38, 3]),
        ("bert", "[CLS] A [mask] Red", vec![2, 2, 15, 1, 73, 47, 61, 1, 96, 3]),
        ("bert", "İstanbul ÉTÉ ΣΑΣ ẞ", vec![2, 23, 47, 56, 53, 49, 57, 59, 64, 138, 1, 1, 3]),
        ("roberta", "A RED Flower [MASK] x", vec![0, 69, 294, 297, 225, 63, 81, 69, 87, 79, 65, 225, 92, 2]),
        (
            "roberta",
            "<mask> A <MASK> </s> Red ZEBRA",
            vec![0, 4, 271, 225, 32, 81, 69, 87, 79, 34, 225, 2, 294, 225, 94, 73, 305, 69, 2],
        ),
        ("roberta", "  A Red  ", vec![0, 225, 271, 294, 225, 225, 2]),
    ] {
        let (_folder, options) = copy(family, std::slice::from_ref(&limits));
        let tokens = super::open(&options).input.tokens(&Item::text(text)).unwrap();
        assert_eq!(tokens.ids, expected, "{family}: {text}");
    }
}

/// The golden BERT's tokenizer.json lower-cases, but for its copies here.
#[test]
fn rules_that_are_not_those_of_the_file_are_in_the_fingerprint() {
    let rules = |lower: bool, settings: Option<Value>| {
        let mut file: Value =
            serde_json::from_slice(&fs::read(folder("bert").join("tokenizer.json")).unwrap()).unwrap();
        file["normalizer"]["lowercase"] = lower.into();
        let mut files = vec![("tokenizer.json", file)];
        files.extend(settings.map(|settings| ("tokenizer_config.json", settings)));
        let (_folder, options) = copy("bert", &files);
        read(&options, "tokenizer_rules")
    };
    let lower_cases = |on: bool| Some(json!({"do_lower_case": on}));
    assert_eq!(rules(true, None), None);
    let lower_cased = rules(false, None).unwrap();
    assert_eq!(rules(false, lower_cases(true)).as_ref(), Some(&lower_cased));
    assert_eq!(rules(false, lower_cases(false)), None);
    assert!(rules(true, lower_cases(false)).is_some_and(|rules| rules != lower_cased));
}

#[test]
fn the_side_that_is_cut_off_is_the_settings() {
    use tokenizers::TruncationDirection::{Left, Right};
    for (settings, expected) in [
        (json!({"tokenizer_class": "PreTrainedTokenizerFast"}), Right),
        (json!({"truncation_side": "left"}), Left),
        (json!({"truncation_side": "right"}), Right),
    ] {
        let (_folder, options) = copy("bert", &[("tokenizer_config.json", settings.clone())]);
        let source = Source::locate(&options, &Host::detached()).unwrap();
        assert_eq!(tokenizer::open(&source).unwrap().side, expected, "{settings}");
    }
}

#[test]
fn settings_that_are_not_followed_are_named() {
    for (settings, says) in [
        (
            json!({"tokenizer_class": "T5TokenizerFast"}),
            "`tokenizer_class` is T5TokenizerFast; this plugin follows Bert",
        ),
        (json!({"truncation_side": "middle"}), "`truncation_side` is middle; choose left or right"),
    ] {
        let (_copy, options) = copy("bert", &[("tokenizer_config.json", settings)]);
        let message = refused(&options);
        assert!(message.contains(says) && message.contains("tokenizer_config.json"), "{message}");
    }
}
