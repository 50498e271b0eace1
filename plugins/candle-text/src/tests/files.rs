//! The settings in files beside a checkpoint's weights, tested on changed copies of the small checkpoints.

use fusemix_sdk::{Encoder, Host, Options};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

use super::families::{compare, expected, folder, options};
use super::{encode, open};
use crate::CandleText;

/// A copy of a family's checkpoint with these files besides or instead.
pub(super) fn copy(family: &str, files: &[(&str, Value)]) -> (TempDir, Options) {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder(family)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    for (name, contents) in files {
        let path = copy.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents.to_string()).unwrap();
    }
    let options = Options::default().with("model", copy.path().to_str());
    (copy, options)
}

pub(super) fn refused(options: &Options) -> String {
    CandleText::open(options, &Host::detached()).err().expect("it opens").message
}

pub(super) fn read(options: &Options, key: &str) -> Option<String> {
    open(options).describe().fingerprint.get(key).cloned()
}

fn config(family: &str) -> Value {
    serde_json::from_slice(&fs::read(folder(family).join("config.json")).unwrap()).unwrap()
}

/// Published checkpoints have `old` keys where today's transformers writes `new` ones.
#[test]
fn configs_of_older_transformers() {
    let modern = json!({"global_attn_every_n_layers": 3, "global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0});
    let cases = [
        ("modernbert", vec!["layer_types", "rope_parameters"], modern),
        ("qwen3", vec!["layer_types", "rope_parameters"], json!({"rope_theta": 1_000_000, "rope_scaling": null})),
    ];
    for (family, new, old) in cases {
        let mut config = config(family);
        let keys = config.as_object_mut().unwrap();
        new.iter().for_each(|key| assert!(keys.remove(*key).is_some(), "{key}"));
        keys.extend(old.as_object().unwrap().clone());
        let (_folder, options) = copy(family, &[("config.json", config)]);
        let (cosine, error) = compare(&options.with("pooling", "mean"), &expected(family)["last.mean"]);
        assert!(cosine > 0.9999 && error < 1e-3, "{family}: cosine {cosine}, error {error}");
    }
}

/// The variants of Alibaba's `new` by Snowflake and by the transformers package.
#[test]
fn gte_is_new() {
    let (theta, factor, d) = (20_000.0, 8f64, 8.0);
    let linear = json!({"rope_type": "linear", "rope_theta": theta * factor, "factor": factor.powf(2.0 / d)});
    let ntk = json!({
        "rope_theta": theta, "rope_scaling": {"factor": factor, "type": "ntk"}, "position_embedding_type": "rope",
    });
    for rope in [ntk, json!({"rope_parameters": linear})] {
        let mut config = config("new");
        let keys = config.as_object_mut().unwrap();
        keys.retain(|key, _| !key.contains("rope") && key != "position_embedding_type");
        keys.extend(rope.as_object().unwrap().clone());
        keys.insert("model_type".into(), "gte".into());
        let plain = ("tokenizer_config.json", json!({"tokenizer_class": "PreTrainedTokenizerFast"}));
        let (_folder, options) = copy("new", &[("config.json", config), plain]);
        let (cosine, error) = compare(&options, &expected("new")["last.cls"]);
        assert!(cosine > 0.9999 && error < 1e-3, "{rope}: cosine {cosine}, error {error}");
    }
    let mut config = config("new");
    config.as_object_mut().unwrap().remove("rope_theta");
    let (_folder, options) = copy("new", &[("config.json", config)]);
    assert!(refused(&options).contains("`rope_theta` is missing"));
}

/// Settings that would silently give latents other than the authors'.
#[test]
fn what_is_not_implemented_is_refused() {
    let (relative, mixed) = (json!("relative_key_query"), json!({"type": "ntk", "factor": 8.0, "mixed_b": 0.65}));
    for (family, key, value, says) in [
        ("bert", "is_decoder", json!(true), "`is_decoder` is true; this plugin supports only false"),
        (
            "bert",
            "position_embedding_type",
            relative.clone(),
            "is \"relative_key_query\"; this plugin supports only \"absolute\"",
        ),
        ("roberta", "is_decoder", json!(true), "`is_decoder` is true"),
        ("xlm_roberta", "position_embedding_type", relative.clone(), "`position_embedding_type` is"),
        ("jina_bert", "is_decoder", json!(true), "`is_decoder` is true"),
        ("qwen3", "is_causal", json!(false), "`is_causal` is false; this plugin supports only true"),
        ("qwen3", "use_sliding_window", json!(true), "`use_sliding_window` is true"),
        ("qwen3", "rope_parameters", json!({"rope_type": "yarn"}), "`rope_parameters.rope_type` is \"yarn\""),
        (
            "modernbert",
            "rope_parameters",
            json!({"sliding_attention": {"partial_rotary_factor": 0.5}}),
            "factor` is 0.5",
        ),
        ("new", "rope_scaling", mixed, "`rope_scaling.mixed_b` is 0.65; this plugin supports only null"),
        ("new", "rope_scaling", json!({"type": "dynamic", "factor": 2.0}), "`rope_scaling.type` is \"dynamic\""),
        ("modernbert", "rope_scaling", json!({"rope_type": "linear", "factor": 8.0}), "`rope_scaling` is {"),
        ("nomic_bert", "rope_scaling", json!({"type": "linear", "factor": 8.0}), "`rope_scaling` is {"),
        ("qwen3", "rope_parameters", json!({"rope_type": "ntk"}), "`rope_parameters.rope_type` is \"ntk\""),
        ("new", "position_embedding_type", json!("absolute"), "`position_embedding_type` is \"absolute\""),
        ("new", "logn_attention_scale", json!(true), "`logn_attention_scale` is true"),
        ("new", "layer_norm_type", json!("rms_norm"), "`layer_norm_type` is \"rms_norm\""),
        ("nomic_bert", "rotary_emb_scale_base", json!(512), "`rotary_emb_scale_base` is 512"),
        ("nomic_bert", "rotary_emb_fraction", json!(0.5), "`rotary_emb_fraction` is 0.5"),
        ("nomic_bert", "rotary_emb_interleaved", json!(true), "`rotary_emb_interleaved` is true"),
        ("nomic_bert", "parallel_block", json!(true), "`parallel_block` is true"),
        ("nomic_bert", "causal", json!(true), "`causal` is true"),
        ("nomic_bert", "prenorm", json!(true), "`prenorm` is true"),
        ("nomic_bert", "qkv_proj_bias", json!(null), "`qkv_proj_bias` is null; this plugin supports only false"),
        ("nomic_bert", "activation_function", json!("gelu"), "`activation_function` is \"gelu\""),
    ] {
        let mut config = config(family);
        config[key] = value;
        let (folder, options) = copy(family, &[("config.json", config)]);
        let message = refused(&options);
        assert!(message.contains(says), "{family}: {message}");
        assert!(message.starts_with(folder.path().join("config.json").to_str().unwrap()), "{family}: {message}");
    }
}

/// Nomic's published config.json, as to what is refused otherwise.
#[test]
fn what_says_nothing_is_not_refused() {
    let published =
        [("rotary_emb_scale_base", json!(null)), ("rotary_scaling_factor", json!(2)), ("causal", json!(false))];
    let published = published.into_iter().chain([("parallel_block", json!(false)), ("use_rms_norm", json!(false))]);
    let mut config = config("nomic_bert");
    config.as_object_mut().unwrap().extend(published.map(|(key, value)| (key.to_owned(), value)));
    let (_folder, options) = copy("nomic_bert", &[("config.json", config)]);
    let (cosine, _) = compare(&options, &expected("nomic_bert")["last.mean"]);
    assert!(cosine > 0.9999, "{cosine}");
}

#[test]
fn a_prompt_is_put_before_each_text() {
    let latents = expected("qwen3");
    let named = options("qwen3").with("prompt_name", "query");
    let written = options("qwen3").with("prompt", "Instruct: find what it says\nQuery:");
    for (options, expected) in [
        (named.clone().with("pooling", "last"), "with_prompt.last"),
        (named.clone().with("pooling", "mean"), "with_prompt.mean"),
        (written.clone().with("pooling", "mean"), "with_prompt.mean"),
        (options("qwen3").with("prompt_name", "document"), "last.last"),
        (options("qwen3"), "last.last"),
    ] {
        let (cosine, error) = compare(&options, &latents[expected]);
        assert!(cosine > 0.9999 && error < 1e-3, "{options:?}: cosine {cosine}, error {error}");
    }
    assert_eq!(read(&named, "prompt").unwrap(), "Instruct: find what it says\nQuery:");
    assert_eq!(open(&named).describe(), open(&written).describe());
    assert_eq!(read(&options("qwen3"), "prompt"), None);

    let unknown = options("qwen3").with("prompt_name", "passage");
    assert!(refused(&unknown).contains("the checkpoint's prompts are document, query"), "{}", refused(&unknown));
    assert!(refused(&named.with("prompt", "query: ")).contains("remove one"));
    assert!(refused(&options("bert").with("prompt_name", "query")).contains("set `prompt` instead"));
    assert!(refused(&options("bert").with("prompt", "many words ".repeat(100))).contains("shorten it"));
}

#[test]
fn a_checkpoints_own_prompt_is_the_default() {
    let query = "Instruct: find what it says\nQuery:";
    let prompts = |default: &str| json!({"prompts": {"query": query}, "default_prompt_name": default});
    let file = "config_sentence_transformers.json";
    let (_folder, options) = copy("qwen3", &[(file, prompts("query"))]);
    let latents = expected("qwen3");
    for (options, expected) in [(options.clone(), "with_prompt.last"), (options.with("prompt", ""), "last.last")] {
        let (cosine, _) = compare(&options, &latents[expected]);
        assert!(cosine > 0.9999, "{options:?}: {cosine}");
    }
    let (_folder, options) = copy("qwen3", &[(file, prompts("other"))]);
    assert!(refused(&options).contains("`default_prompt_name`"));
}

#[test]
fn pooling_files_old_and_new() {
    let file = |contents: Value| copy("qwen3", &[("1_Pooling/config.json", contents)]);
    for (contents, pooling) in [
        (json!({"pooling_mode_cls_token": false, "pooling_mode_lasttoken": true, "include_prompt": true}), "last"),
        (json!({"pooling_mode_mean_tokens": true, "pooling_mode_lasttoken": false}), "mean"),
        (json!({"embedding_dimension": 32, "pooling_mode": "lasttoken"}), "last"),
        (json!({"pooling_mode": ["mean"]}), "mean"),
    ] {
        let (_folder, options) = file(contents.clone());
        assert_eq!(read(&options, "pooling").unwrap(), pooling, "{contents}");
    }
    for (contents, says) in [
        (json!({"pooling_mode_cls_token": true}), "pools by cls"),
        (json!({"pooling_mode_mean_sqrt_len_tokens": true}), "pools by mean_sqrt_len"),
        (json!({"pooling_mode": ["mean", "max"]}), "pools by mean and max"),
        (json!({"embedding_dimension": 32}), "names no pooling"),
    ] {
        let (_folder, options) = file(contents);
        let message = refused(&options);
        assert!(message.contains(says) && message.contains("set `pooling` to one of last, mean"), "{message}");
        assert_eq!(read(&options.with("pooling", "mean"), "pooling").unwrap(), "mean");
    }
}

#[test]
fn a_prompt_may_be_left_out_of_the_mean() {
    let contents = json!({"pooling_mode": "mean", "include_prompt": false});
    let (_folder, options) = copy("qwen3", &[("1_Pooling/config.json", contents)]);
    let (cosine, error) =
        compare(&options.clone().with("prompt_name", "query"), &expected("qwen3")["after_prompt.mean"]);
    assert!(cosine > 0.9999 && error < 1e-3, "cosine {cosine}, error {error}");
    let (cosine, _) = compare(&options, &expected("qwen3")["last.mean"]);
    assert!(cosine > 0.9999, "without a prompt: {cosine}");
}

#[test]
fn modules_and_limits() {
    let module = |kind: &str, path: &str| json!({"type": format!("sentence_transformers.models.{kind}"), "path": path});
    let modules =
        json!([module("Transformer", ""), module("Pooling", "9_P"), module("Normalize", "2"), module("Dense", "3")]);
    let pooling = json!({"pooling_mode": "cls"});
    let limits = json!({"max_seq_length": 12, "do_lower_case": true});
    let files =
        [("modules.json", modules), ("9_P/config.json", pooling), ("sentence_bert_config.json", limits.clone())];
    let (_folder, options) = copy("roberta", &files);
    let values = ["pooling", "normalize", "max_length", "lower_case"].map(|key| read(&options, key).unwrap());
    assert_eq!(values, ["cls", "false", "12", "true"]);
    let [small, large] = &encode(&open(&options), &["a red flower", "A RED Flower"]).outcomes[..] else { panic!() };
    assert_eq!(small, large);

    let (_folder, options) = copy("roberta", &[("sentence_roberta_config.json", limits)]);
    assert_eq!(read(&options, "max_length").unwrap(), "12");
    let weights = json!([module("Transformer", ""), module("WordWeights", "1"), module("Pooling", "2_Pooling")]);
    let (_folder, options) = copy("roberta", &[("modules.json", weights)]);
    assert!(refused(&options).contains("WordWeights changes states before they are pooled"));

    let (_folder, options) = copy("roberta", &[("sentence_bert_config.json", json!({"max_seq_length": 4000}))]);
    assert_eq!((&*read(&options, "max_length").unwrap(), read(&options, "lower_case")), ("130", None));
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    let (folder, options) = copy("qwen3", &[]);
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(refused(&options).contains("no model-00002-of-00002.safetensors"));

    let (folder, options) = copy("xlm_roberta", &[]);
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let message = refused(&options);
    assert!(message.contains("no tokenizer.json") && message.contains(".save_pretrained("), "{message}");
    // As transformers writes it where there are no words.
    let empty = json!({"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"});
    let (_folder, options) = copy("bert", &[("tokenizer.json", json!({"added_tokens": [], "model": empty}))]);
    assert!(refused(&options).contains("has only 1 of the model's 320 tokens"), "{}", refused(&options));

    for (model_type, says) in [
        ("mamba", "`model_type` is mamba; this plugin supports: bert, roberta"),
        ("dinov2", "`plugin = \"candle-image\"`"),
        ("whisper", "`plugin = \"candle-audio\"`"),
        ("clip_vision_model", "that is a model for pictures; set `plugin = \"candle-image\"`"),
        ("nomic_bert", "there is no `n_embd`: this plugin reads the config.json of the model's authors"),
        ("clap_audio_model", "that is a model for sounds; set `plugin = \"candle-audio\"`"),
    ] {
        let (_folder, options) = copy("bert", &[("config.json", json!({"model_type": model_type}))]);
        assert!(refused(&options).contains(says), "{model_type}: {}", refused(&options));
    }

    let mut wider = config("bert");
    wider["intermediate_size"] = 50.into();
    let (_folder, options) = copy("bert", &[("config.json", wider)]);
    let message = refused(&options);
    assert!(message.contains("model.safetensors does not fit") && message.contains("intermediate.dense"), "{message}");

    let without = super::families::options("xlm_roberta").with("pooling", "pooler");
    assert!(refused(&without).contains("this model offers mean, cls"));
}

#[test]
fn a_pooler_is_of_the_last_layer() {
    let layer = super::families::options("bert").with("layer", "penultimate");
    assert!(refused(&layer.clone().with("pooling", "pooler")).contains("this model offers mean, cls at layer 2"));
    assert_eq!(open(&layer).describe().choices["pooling"], ["mean", "cls"]);
    let (_folder, options) = copy("bert", &[("1_Pooling/config.json", json!({"pooling_mode": "max"}))]);
    assert!(refused(&options.with("layer", 1)).contains("set `pooling` to one of mean, cls"));
}

#[test]
fn files_that_are_not_whole_say_what_to_do() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 17082734\n";
    for (file, content, says) in [
        ("tokenizer.json", pointer, "is a Git LFS pointer"),
        ("model.safetensors", pointer, "is a Git LFS pointer"),
        ("model.safetensors", "", "is empty; download it again"),
        ("tokenizer.json", "{\"version\": \"1.0\", \"trunc", "truncated or damaged, download it again"),
    ] {
        let (folder, options) = copy("bert", &[]);
        fs::write(folder.path().join(file), content).unwrap();
        let message = refused(&options);
        assert!(message.contains(says) && message.contains(file), "{message}");
    }
}

/// A tokenizer may panic on a text.
#[test]
fn a_tokenizer_that_panics_costs_one_text() {
    let mut tokenizer: Value =
        serde_json::from_slice(&fs::read(folder("bert").join("tokenizer.json")).unwrap()).unwrap();
    // A character map of 128 places, beyond which non-ASCII bytes reach: 512 as u32, and as many zeros.
    let charsmap = format!("AAIA{}", "A".repeat(684));
    tokenizer["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": charsmap});
    // Another class than BERT's, which would bring its own normalizer.
    let plain = ("tokenizer_config.json", json!({"tokenizer_class": "PreTrainedTokenizerFast"}));
    let (_folder, options) = copy("bert", &[("tokenizer.json", tokenizer), plain]);
    let outcomes = encode(&open(&options), &["a red flower", "caf\u{e9}", "a red flower"]).outcomes;
    assert!(outcomes[1].clone().unwrap_err().message.contains("panicked while reading its tokens"));
    assert!(outcomes[0].is_ok() && outcomes[0] == outcomes[2]);
}
