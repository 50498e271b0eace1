//! Checkpoints in the layouts of sentence-transformers: the transformer in a folder of its own, the pooling beside it.

use fusemix_sdk::Options;
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

use super::families::{compare, expected, folder};
use super::files::{read, refused};

/// A checkpoint in the old layout, in a folder: the transformer in `0_Transformer`, and how it is pooled beside it.
fn old_layout(kind: &str, pooling: Value, more: &[Value]) -> (TempDir, std::path::PathBuf) {
    let whole = tempfile::tempdir().unwrap();
    let inner = whole.path().join("0_Transformer");
    fs::create_dir(&inner).unwrap();
    for entry in fs::read_dir(folder("bert")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, inner.join(path.file_name().unwrap())).unwrap();
    }
    let module = |index: u32, kind: &str, path: &str| {
        json!({"idx": index, "name": index.to_string(), "path": path,
               "type": format!("sentence_transformers.models.{kind}")})
    };
    let mut modules = vec![module(0, kind, "0_Transformer"), module(1, "Pooling", "1_Pooling")];
    modules.extend(more.iter().cloned());
    fs::write(whole.path().join("modules.json"), Value::from(modules).to_string()).unwrap();
    fs::create_dir(whole.path().join("1_Pooling")).unwrap();
    fs::write(whole.path().join("1_Pooling/config.json"), pooling.to_string()).unwrap();
    let limits = json!({"max_seq_length": 12, "do_lower_case": false}).to_string();
    fs::write(inner.join("sentence_bert_config.json"), limits).unwrap();
    (whole, inner)
}

#[test]
fn the_old_layout_is_followed_from_either_folder() {
    let cls =
        json!({"word_embedding_dimension": 32, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false});
    let dense = json!({"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"});
    for kind in ["Transformer", "BERT"] {
        let (whole, inner) = old_layout(kind, cls.clone(), std::slice::from_ref(&dense));
        for path in [whole.path(), &inner, &inner.join("model.safetensors")] {
            let options = Options::default().with("model", path.to_str());
            assert_eq!(read(&options, "pooling").unwrap(), "cls", "{}", path.display());
            assert_eq!(read(&options, "max_length").unwrap(), "12");
            let (cosine, _) = compare(&options.with("max_length", 130), &expected("bert")["last.cls"]);
            assert!(cosine > 0.9999, "{}: {cosine}", path.display());
        }
    }
}

/// A folder that the modules around it do not name is a checkpoint of its own.
#[test]
fn a_folder_beside_modules_that_are_not_its_own() {
    let cls = json!({"pooling_mode": "cls"});
    let (whole, inner) = old_layout("Transformer", cls, &[]);
    let other = whole.path().join("another");
    fs::rename(&inner, &other).unwrap();
    assert_eq!(read(&Options::default().with("model", other.to_str()), "pooling").unwrap(), "mean");
    // And what modules.json names has to be there.
    let missing = refused(&Options::default().with("model", whole.path().to_str()));
    assert!(missing.contains("0_Transformer") && missing.contains("none of model.safetensors"), "{missing}");
    let outside = json!([{"type": "sentence_transformers.models.Transformer", "path": "../elsewhere"}]);
    fs::write(whole.path().join("modules.json"), outside.to_string()).unwrap();
    let refusal = refused(&Options::default().with("model", whole.path().to_str()));
    assert!(refusal.contains("a file outside its folder"), "{refusal}");
}
