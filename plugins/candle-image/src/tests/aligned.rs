//! The picture towers of whole aligned models, against what tests/golden/aligned.py has transformers make of both towers.

use candle_core::Tensor;
use fusemix_sdk::{Encoder, Host, Options};
use std::collections::HashMap;

use super::families::{changed, expected, family, folder, seen};
use super::{CandleImage, cosine, encode, open};

/// And the option for what transformers' `get_image_features` gives, and the texts' latents in the goldens.
const ALIGNED: [(&str, bool, &str); 4] = [
    ("clip_whole", true, "projection"),
    ("clip_old", true, "projection"),
    ("siglip_whole", false, "last.pooler"),
    ("siglip2", false, "last.pooler"),
];

fn options(name: &str, projection: bool) -> Options {
    if projection { family(name).with("projection", true) } else { family(name) }
}

fn rows(tensors: &HashMap<String, Tensor>, name: &str) -> Vec<Vec<f32>> {
    tensors[name].to_vec2().unwrap()
}

#[test]
fn latents_are_those_that_the_model_compares() {
    for (name, projection, texts) in ALIGNED {
        let (pictures, tensors) = expected(&folder(name));
        let encoder = open(&options(name, projection));
        let pixels = seen(&tensors, &encoder.input);
        let latents = encoder.forward(&pixels.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        let (mut apart, mut least) = (0f64, 1f64);
        for ((latent, features), row) in latents.iter().zip(rows(&tensors, "pictures")).zip(rows(&tensors, "cosines")) {
            assert_eq!(Some(latent.len()), encoder.describe().width);
            least = least.min(cosine(latent, &features));
            // transformers' `logits_per_image` without its scale.
            for (text, expected) in rows(&tensors, texts).iter().zip(row) {
                apart = apart.max((cosine(latent, text) - f64::from(expected)).abs());
            }
        }
        assert!(least > 0.999_99 && apart < 1e-4, "{name}: cosine {least}, cosines with texts {apart} apart");
        println!("{name}: 1 - cosine {:.1e}, cosines with texts {apart:.1e} apart", 1.0 - least);
        for (outcome, features) in encode(&encoder, &pictures).iter().zip(rows(&tensors, "pictures")) {
            let cosine = cosine(&outcome.as_ref().unwrap().values, &features);
            assert!(cosine > 0.9999, "{name}, from its file: {cosine}");
        }
    }
}

/// sentence-transformers has CLIP in a folder inside.
#[test]
fn a_clip_of_sentence_transformers() {
    let whole = tempfile::tempdir().unwrap();
    let inner = whole.path().join("0_CLIPModel");
    std::fs::create_dir(&inner).unwrap();
    for entry in std::fs::read_dir(folder("clip_whole")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, inner.join(path.file_name().unwrap())).unwrap();
    }
    let options = super::families::model(whole.path()).with("projection", true);
    assert_eq!(open(&options).describe(), open(&self::options("clip_whole", true)).describe());
}

#[test]
fn what_is_not_supported_is_named() {
    let refused = |options: &Options| CandleImage::open(options, &Host::detached()).err().expect("it opens").message;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("open_clip_config.json"), "{}").unwrap();
    let message = refused(&super::families::model(folder.path()));
    assert!(message.contains("OpenCLIP's own layout") && message.contains("`model_type` clip"), "{message}");
    for (model_type, says) in [
        ("siglip2", "does not support SigLIP 2 of any resolution"),
        ("clap", "that is a model for sounds and texts; set `plugin = \"candle-audio\"` or `\"candle-text\"`"),
        ("clip_text_model", "that is a model for texts; set `plugin = \"candle-text\"`"),
        ("LanguageBindImage", "`model_type` is LanguageBindImage; this plugin supports: dinov2"),
    ] {
        let other = changed("clip_whole", "config.json", |config| config["model_type"] = model_type.into());
        let message = refused(&super::families::model(other.path()));
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn a_projection_that_is_not_there_is_refused() {
    let refused = |options: &Options| {
        let error = CandleImage::open(&options.clone().with("projection", true), &Host::detached());
        error.err().expect("it opens").message
    };
    let vit = refused(&family("vit"));
    assert!(vit.contains("has none; only CLIP has one"), "{vit}");
    let siglip = refused(&family("siglip_whole"));
    assert!(siglip.contains("its pooler, the default, is what it compares with texts"), "{siglip}");
    let layer = refused(&family("clip_whole").with("layer", 1));
    assert!(layer.contains("needs the last layer; remove `layer = 1`"), "{layer}");
    let mean = refused(&family("clip_whole").with("pooling", "mean"));
    assert!(mean.contains("this model offers pooler"), "{mean}");
    let other = changed("clip_whole", "config.json", |config| config["projection_dim"] = 20.into());
    let other = refused(&super::families::model(other.path()));
    assert!(other.contains("does not fit") && other.contains("visual_projection"), "{other}");

    let print = |options: &Options| open(options).describe().fingerprint;
    assert_eq!(print(&options("clip_whole", true))["projection"], "true");
    assert_eq!(print(&family("clip_whole")).get("projection"), None);
}
