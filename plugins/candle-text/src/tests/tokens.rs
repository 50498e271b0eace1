//! Tokens with settings in tokenizer_config.json, as transformers' `AutoTokenizer` makes them: tests/golden/tokens.py.

use candle_kit::Source;
use fusemix_sdk::{Host, Options};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;

use super::families::folder;
use super::files::{copy, read, refused};
use crate::tokenizer;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    /// The family, the settings, and the tokens of each text.
    cases: Vec<(String, Option<Value>, Vec<Vec<u32>>)>,
}

#[test]
fn tokens_are_those_of_autotokenizer_whatever_its_settings() {
    let Golden { texts, cases } = serde_json::from_slice(&fs::read(folder("..").join("tokens.json")).unwrap()).unwrap();
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for (family, settings, expected) in cases {
        let copy = tempfile::tempdir().unwrap();
        for name in ["config.json", "tokenizer.json"] {
            fs::copy(folder(&family).join(name), copy.path().join(name)).unwrap();
        }
        if let Some(settings) = &settings {
            fs::write(copy.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
        }
        let options = Options::default().with("model", copy.path().to_str());
        let source = Source::locate(&options, &Host::detached()).unwrap();
        let tokenizer = tokenizer::open(&source).unwrap().tokenizer;
        for (text, expected) in texts.iter().zip(&expected) {
            let found = tokenizer.encode_fast(text.as_str(), true).unwrap();
            if found.get_ids() != expected {
                wrong.push(format!("{family} {settings:?} {text:?}: {:?} for {expected:?}", found.get_ids()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} texts:\n{}", wrong.len(), wrong.join("\n"));
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
