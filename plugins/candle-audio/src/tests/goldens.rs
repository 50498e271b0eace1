//! Small random checkpoints of each family, against the `transformers` package and torchlibrosa.

use candle_core::DType;
use fusemix_sdk::check;

use super::*;

/// And their rates.
const SOUNDS: [(&str, u32); 3] = [("chirp.flac", 16_000), ("knock.wav", 48_000), ("tune.ogg", 48_000)];

/// The tolerance for the authors' HTS-AT.
const AUTHORS_SOUNDS: [(&str, u32); 3] = [("bells.flac", 32_000), ("rattle.flac", 32_000), ("knock.wav", 48_000)];

fn sounds() -> [Vec<u8>; 3] {
    SOUNDS.map(|(name, _)| sound(name))
}

fn family(name: &str) -> HashMap<String, Tensor> {
    expected(&golden().join("checkpoints").join(name).join("expected.safetensors"))
}

/// Checks the latents of all sounds against those called `SOUND.name`; less strictly if the reference resamples in its
/// own way.
fn agree(options: &Options, expected: &HashMap<String, Tensor>, name: &str) {
    agree_on(&SOUNDS, options, expected, name);
}

fn agree_on(sounds: &[(&str, u32)], options: &Options, expected: &HashMap<String, Tensor>, name: &str) {
    let rate = open(options).model.rate();
    let files: Vec<Vec<u8>> = sounds.iter().map(|(name, _)| sound(name)).collect();
    for ((sound, own), latent) in sounds.iter().zip(latents(options, &files)) {
        let allowed = if *own == rate { (0.9999, 1e-3) } else { (0.999, 3e-2) };
        let expected: Vec<f32> = expected[&format!("{sound}.{name}")].to_vec1().unwrap();
        let (cosine, apart) = (cosine(&latent, &expected), apart(&latent, &expected));
        assert_eq!(latent.len(), expected.len());
        assert!(cosine > allowed.0 && apart < allowed.1, "{sound}.{name}: {cosine}, {apart}");
    }
}

#[test]
fn whisper_is_that_of_transformers() {
    let expected = family("whisper");
    agree(&checkpoint("whisper"), &expected, "last");
    agree(&checkpoint("whisper").with("layer", "penultimate"), &expected, "1");
    for layer in [0, 1] {
        agree(&checkpoint("whisper").with("layer", layer), &expected, &layer.to_string());
    }
}

#[test]
fn htsat_is_that_of_transformers() {
    let expected = family("htsat");
    let clap = || checkpoint("htsat");
    agree(&clap(), &expected, "last.pooler");
    agree(&clap().with("pooling", "mean"), &expected, "last.mean");
    agree(&clap().with("projection", true), &expected, "last.projection");
    for layer in 0..4 {
        agree(&clap().with("layer", layer), &expected, &format!("{layer}.mean"));
    }
}

/// The sounds' side of a whole ClapModel, whose texts' side is candle-text's: `get_audio_features`, and its cosines with
/// the latents of texts.
#[test]
fn a_whole_clap_compares_as_that_of_transformers() {
    let expected = family("clap_whole");
    let rows = |name: &str| expected[name].to_vec2::<f32>().unwrap();
    let options = checkpoint("clap_whole").with("projection", true).with("normalize", true);
    let latents = latents(&options, &["knock.wav", "tune.ogg"].map(sound));
    let (mut least, mut most) = (1f64, 0f64);
    for ((latent, features), cosines) in latents.iter().zip(rows("sounds")).zip(rows("cosines")) {
        least = least.min(cosine(latent, &features));
        for (text, expected) in rows("projection").iter().zip(cosines) {
            most = most.max((cosine(latent, text) - f64::from(expected)).abs());
        }
    }
    assert!(latents.len() == 2 && least > 0.999_99 && most < 1e-4, "cosine {least}, cosines with texts {most} apart");
    println!("1 - cosine {:.1e}, cosines with texts {most:.1e} apart", 1.0 - least);
}

/// A file of HTSAT_Swin_Transformer, within one of PyTorch Lightning, and the same tower in one of LAION's CLAP.
#[test]
fn htsat_is_that_of_its_authors() {
    let expected = family("htsat_authors");
    let lightning = || checkpoint("htsat_authors/HTSAT_tiny.ckpt");
    agree_on(&AUTHORS_SOUNDS, &lightning(), &expected, "last.pooler");
    agree_on(&AUTHORS_SOUNDS, &lightning().with("pooling", "mean"), &expected, "last.pooler");
    for layer in 0..4 {
        agree_on(&AUTHORS_SOUNDS, &lightning().with("layer", layer), &expected, &format!("{layer}.mean"));
    }
    let clap = || checkpoint("htsat_authors/CLAP_tiny.pt");
    agree_on(&SOUNDS[1..], &clap(), &expected, "clap.pooler");
    agree_on(&SOUNDS[1..], &clap().with("projection", true), &expected, "clap.projection");
}

/// As `WhisperForConditionalGeneration`, `WhisperModel`, `ClapModel` and `ClapAudioModel` save their weights.
#[test]
fn names_may_begin_as_any_class_of_transformers_has_them() {
    for (family, prefix) in [("whisper", "model."), ("htsat", "audio_model.")] {
        let source = golden().join("checkpoints").join(family);
        let folder = tempfile::tempdir().unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&read(&source.join("config.json"))).unwrap();
        if let Some(audio) = config.get("audio_config") {
            config = audio.clone();
        }
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let preprocessor = "preprocessor_config.json";
        std::fs::copy(source.join(preprocessor), folder.path().join(preprocessor)).unwrap();
        let tensors = expected(&source.join("model.safetensors"));
        let renamed = tensors.into_iter().map(|(name, tensor)| (name.replacen(prefix, "", 1), tensor));
        let renamed: HashMap<String, Tensor> = renamed.collect();
        candle_core::safetensors::save(&renamed, folder.path().join("model.safetensors")).unwrap();
        let options = Options::default().with("model", folder.path().to_str());
        let file = [sound("knock.wav")];
        assert_eq!(latents(&options, &file), latents(&checkpoint(family), &file), "{family}");
    }
}

/// Every so many frames, of the sounds that are at the model's rate.
#[test]
fn spectrograms_are_those_of_the_references() {
    let lightning = "htsat_authors/HTSAT_tiny.ckpt";
    let families = [("whisper", "whisper", 10), ("htsat", "htsat", 20), ("htsat_authors", lightning, 20)];
    for (name, model, every) in families {
        let expected = family(name);
        let model = open(&checkpoint(model)).model;
        let own = SOUNDS.iter().chain(&AUTHORS_SOUNDS[..2]).filter(|(_, rate)| *rate == model.rate());
        for (file, _) in own {
            let window = Sound::open(&sound(file), model.rate()).unwrap().window(model.window()).unwrap();
            let mels = model.mels(&window);
            let expected: Vec<Vec<f32>> = expected[&format!("{file}.mels")].to_vec2().unwrap();
            let frames: Vec<&[f32]> = mels.chunks(expected[0].len()).step_by(every).collect();
            assert_eq!(frames.len(), expected.len());
            let apart = frames.iter().zip(&expected).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0.0, f32::max);
            // Two decoders of Vorbis differ by 1e-6, which 100 decibels below the loudest is this much.
            // torchlibrosa is in f32, which in decibels is about as much.
            let allowed = if file.ends_with("ogg") || name == "htsat_authors" { 1e-2 } else { 1e-3 };
            assert!(apart < allowed, "{name}, {file}: {apart}");
        }
    }
}

#[test]
fn keeps_the_promises_of_every_encoder() {
    for options in [
        checkpoint("whisper"),
        checkpoint("whisper").with("layer", 1).with("normalize", true),
        checkpoint("whisper").with("dtype", "bf16"),
        checkpoint("htsat"),
        checkpoint("htsat").with("projection", true),
        checkpoint("htsat").with("layer", "penultimate"),
        checkpoint("htsat").with("dtype", "f16"),
        checkpoint("htsat_authors/HTSAT_tiny.ckpt"),
        checkpoint("htsat_authors/HTSAT_tiny.ckpt").with("layer", 1).with("dtype", "bf16"),
        checkpoint("htsat_authors/CLAP_tiny.pt").with("projection", true).with("normalize", true),
    ] {
        check::conforms::<CandleAudio>(&options, None);
    }
}

/// In 16 bits the layers take candle's kernels, as on a GPU.
#[test]
fn half_precision_is_near_and_says_so() {
    let sounds = sounds();
    for family in ["whisper", "htsat"] {
        let full = latents(&checkpoint(family), &sounds);
        for (dtype, least) in [(DType::F16, 0.999), (DType::BF16, 0.99)] {
            let half = checkpoint(family).with("dtype", dtype.as_str());
            for (full, half) in full.iter().zip(latents(&half, &sounds)) {
                assert!(cosine(full, &half) > least, "{family}, {dtype:?}: {}", cosine(full, &half));
            }
            let description = open(&half).describe();
            assert_eq!((&*description.fingerprint["dtype"], description.tolerance), (dtype.as_str(), 0.05));
        }
    }
}

#[test]
fn a_fingerprint_tells_latents_apart() {
    let of = |options: &Options| open(options).describe().fingerprint;
    let clap = of(&checkpoint("htsat"));
    for (key, value) in [("layer", "2"), ("pooling", "mean"), ("dtype", "bf16")] {
        let value = value.parse::<u64>().map_or(serde_json::Value::from(value), Into::into);
        assert_ne!(of(&checkpoint("htsat").with(key, value)), clap, "{key}");
    }
    for key in ["projection", "normalize"] {
        assert_ne!(of(&checkpoint("htsat").with(key, true)), clap, "{key}");
    }
}

#[test]
fn mistakes_name_what_to_change() {
    let clap = || checkpoint("htsat");
    assert!(refused(checkpoint("whisper").with("pooling", "cls")).contains("this model offers mean"));
    assert!(refused(checkpoint("whisper").with("layer", 2)).contains("choose one of last, penultimate, 0, 1"));
    assert!(refused(checkpoint("whisper").with("projection", true)).contains("only CLAP has one"));
    assert!(refused(clap().with("layer", 1).with("pooling", "pooler")).contains("this model offers mean"));
    assert!(refused(clap().with("layer", 1).with("projection", true)).contains("remove `layer = 1`"));
    assert!(refused(clap().with("projection", true).with("pooling", "mean")).contains("offers pooler"));
    let lightning = || checkpoint("htsat_authors/HTSAT_tiny.ckpt");
    assert!(refused(lightning().with("projection", true)).contains("only CLAP has one"));
    assert!(refused(lightning().with("pooling", "cls")).contains("this model offers pooler, mean"));
    let stranger = refused(checkpoint("unicom/FP16-ViT-tiny.pt"));
    assert!(
        stranger.contains("FP16-ViT-tiny.pt has no config.json next to it, and is not an HTS-AT checkpoint"),
        "{stranger}"
    );
    let text = root().join("target/assets/minilm");
    let other = refused(Options::default().with("model", text.to_str()));
    assert!(
        other.contains("`model_type` is \"bert\"; that is a model for texts; set `plugin = \"candle-text\"`"),
        "{other}"
    );
}
