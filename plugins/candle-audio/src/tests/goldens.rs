//! Small random checkpoints of each family, against the `transformers` package.

use candle_core::DType;
use fusemix_sdk::check;

use super::*;

/// And their rates.
const SOUNDS: [(&str, u32); 3] = [("chirp.flac", 16_000), ("knock.wav", 48_000), ("tune.ogg", 48_000)];

fn sounds() -> [Vec<u8>; 3] {
    SOUNDS.map(|(name, _)| sound(name))
}

fn family(name: &str) -> HashMap<String, Tensor> {
    expected(&golden().join("checkpoints").join(name).join("expected.safetensors"))
}

/// Holds the latents of all sounds to those called `SOUND.name`; less closely where the reference resamples in its own way.
fn agree(options: &Options, expected: &HashMap<String, Tensor>, name: &str) {
    let rate = open(options).model.rate();
    for ((sound, own), latent) in SOUNDS.iter().zip(latents(options, &sounds())) {
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
fn spectrograms_are_those_of_transformers() {
    for (name, every) in [("whisper", 10), ("htsat", 20)] {
        let expected = family(name);
        let model = open(&checkpoint(name)).model;
        for (file, _) in SOUNDS.into_iter().filter(|(_, rate)| *rate == model.rate()) {
            let window = Sound::open(&sound(file), model.rate()).unwrap().window(model.window()).unwrap();
            let mels = model.mels(&window);
            let expected: Vec<Vec<f32>> = expected[&format!("{file}.mels")].to_vec2().unwrap();
            let frames: Vec<&[f32]> = mels.chunks(expected[0].len()).step_by(every).collect();
            assert_eq!(frames.len(), expected.len());
            let apart = frames.iter().zip(&expected).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0.0, f32::max);
            // Two decoders of Vorbis differ by 1e-6, which 100 decibels below the loudest is this much.
            let allowed = if file.ends_with("ogg") { 1e-2 } else { 1e-3 };
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
    ] {
        check::conforms::<CandleAudio>(&options, None);
    }
}

/// In f16 the layers take candle's kernels, as on a GPU.
#[test]
fn half_precision_is_near_and_says_so() {
    for family in ["whisper", "htsat"] {
        let sounds = sounds();
        let full = latents(&checkpoint(family), &sounds);
        let half = checkpoint(family).with("dtype", "f16");
        for (full, half) in full.iter().zip(latents(&half, &sounds)) {
            assert!(cosine(full, &half) > 0.999, "{family}: {}", cosine(full, &half));
        }
        let description = open(&half).describe();
        assert_eq!((&*description.fingerprint["dtype"], description.tolerance), (DType::F16.as_str(), 0.05));
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
    assert!(refused(checkpoint("whisper").with("projection", true)).contains("it is CLAP that has one"));
    assert!(refused(clap().with("layer", 1).with("pooling", "pooler")).contains("this model offers mean"));
    assert!(refused(clap().with("layer", 1).with("projection", true)).contains("remove `layer = 1`"));
    assert!(refused(clap().with("projection", true).with("pooling", "mean")).contains("offers pooler"));
    let text = root().join("target/assets/minilm");
    let other = refused(Options::default().with("model", text.to_str()));
    assert!(other.contains("`model_type` is \"bert\"; this plugin knows: whisper, clap"), "{other}");
}
