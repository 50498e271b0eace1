//! The preprocessing settings of a checkpoint's files: obeyed, or refused.

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";

/// A copy of a checkpoint.
struct Copied(TempDir);

impl Copied {
    fn new(family: &str) -> Self {
        let (from, to) = (golden().join("checkpoints").join(family), tempfile::tempdir().unwrap());
        for name in [CONFIG, PREPROCESSOR, "model.safetensors"] {
            std::fs::copy(from.join(name), to.path().join(name)).unwrap();
        }
        Self(to)
    }

    /// Changes a file of JSON.
    fn edit(self, name: &str, edit: impl FnOnce(&mut Map<String, Value>)) -> Self {
        let path = self.0.path().join(name);
        let mut json: Value = serde_json::from_slice(&read(&path)).unwrap();
        edit(json.as_object_mut().unwrap());
        std::fs::write(path, json.to_string()).unwrap();
        self
    }

    fn without(self, name: &str) -> Self {
        std::fs::remove_file(self.0.path().join(name)).unwrap();
        self
    }

    fn options(&self) -> Options {
        Options::default().with("model", self.0.path().to_str())
    }
}

#[test]
fn what_would_be_read_otherwise_is_refused() {
    let cases = [
        ("whisper", "hop_length", json!(0), "`hop_length` is 0; it must be between 1 and 16000"),
        ("whisper", "sampling_rate", json!(0), "`sampling_rate` is 0; it must be between 1000 and 768000"),
        ("whisper", "n_fft", json!(0), "`n_fft` is 0; it must be between 2"),
        ("whisper", "n_fft", json!(401), "`n_fft` is 401, which is odd"),
        ("whisper", "hop_length", json!(80), "`chunk_length` is 3, from which a `hop_length` of 80 makes 600 frames"),
        (
            "whisper",
            "chunk_length",
            json!(30),
            "`chunk_length` is 30, from which a `hop_length` of 160 makes 3000 frames",
        ),
        ("whisper", "chunk_length", json!(u64::MAX), "`max_source_positions` of config.json is 150, each of 2"),
        ("whisper", "feature_size", json!(128), "`feature_size` is 128, but `num_mel_bins` of config.json is 80"),
        ("whisper", "padding_side", json!("left"), "`padding_side` is \"left\", which is not supported"),
        ("whisper", "padding_value", json!(1), "`padding_value` is 1.0, which is not supported"),
        ("whisper", "dither", json!(0.1), "`dither` is 0.1, which is not supported"),
        ("htsat", "truncation", json!("fusion"), "`truncation` is \"fusion\", which is not supported"),
        (
            "htsat",
            "padding",
            json!("pad"),
            "`padding` is \"pad\", which is not supported by this plugin; it supports \"repeatpad\"",
        ),
        ("htsat", "hop_length", json!(0), "`hop_length` is 0; it must be between 1 and 48000"),
        ("htsat", "sampling_rate", json!(10), "`sampling_rate` is 10; it must be between 1000 and 768000"),
        ("htsat", "fft_window_size", json!(1023), "`fft_window_size` is 1023, which is odd"),
        ("htsat", "max_length_s", json!(0), "`max_length_s` is 0; it must be between 1"),
        (
            "htsat",
            "max_length_s",
            json!(60),
            "`max_length_s` is 60, from which a `hop_length` of 480 makes 6001 frames",
        ),
        ("htsat", "feature_size", json!(80), "`feature_size` is 80, but `num_mel_bins` of config.json is 64"),
        ("htsat", "frequency_min", json!(20_000), "`frequency_min` is 20000 and `frequency_max` is 14000"),
    ];
    for (family, key, value, says) in cases {
        let copied = Copied::new(family).edit(PREPROCESSOR, |json| json[key] = value);
        let message = refused(copied.options());
        assert!(message.starts_with("preprocessor_config.json of ") && message.contains(says), "{key}: {message}");
    }
    for (key, value) in [("num_mel_bins", json!(1u64 << 40)), ("max_source_positions", json!(0))] {
        let copied = Copied::new("whisper").edit(CONFIG, |json| json[key] = value);
        let message = refused(copied.options());
        assert!(message.contains(&format!("`{key}` of config.json is ")), "{message}");
    }
    // What transformers takes where the file does not say it.
    let copied = Copied::new("htsat").edit(PREPROCESSOR, |json| drop(json.remove("truncation")));
    assert!(refused(copied.options()).contains("`truncation` is \"fusion\""));
    let fused = Copied::new("htsat").edit(CONFIG, |json| json["audio_config"]["enable_fusion"] = true.into());
    let message = refused(fused.options());
    assert!(message.starts_with("config.json of ") && message.contains("`enable_fusion`: "), "{message}");
}

#[test]
fn what_a_file_leaves_out_is_as_transformers_has_it() {
    let keys =
        ["sampling_rate", "hop_length", "fft_window_size", "frequency_min", "frequency_max", "padding", "max_length_s"];
    let copied = Copied::new("htsat").edit(PREPROCESSOR, |json| json.retain(|key, _| !keys.contains(&&**key)));
    let preprocessing = open(&copied.options()).model.preprocessing();
    assert_eq!(
        preprocessing,
        "48000 Hz, 64 log mels of 1024 every 480 from 0 to 14000 Hz, windows of 10 s, the last one repeated"
    );
}

/// Settings as converters leave them.
#[test]
fn without_the_file_a_front_end_is_the_published_one() {
    let (file, copied) = ([sound("knock.wav")], Copied::new("whisper").without(PREPROCESSOR));
    assert_eq!(latents(&copied.options(), &file), latents(&checkpoint("whisper"), &file));
    let preprocessing = open(&Copied::new("htsat").without(PREPROCESSOR).options()).model.preprocessing();
    assert_eq!(
        preprocessing,
        "48000 Hz, 64 log mels of 1024 every 480 from 50 to 14000 Hz, windows of 10 s, the last one repeated"
    );
    let other = Copied::new("htsat").without(PREPROCESSOR);
    let message = refused(other.edit(CONFIG, |json| json["audio_config"]["spec_size"] = 128.into()).options());
    assert!(
        message.contains("there is no preprocessor_config.json, and the published defaults do not fit"),
        "{message}"
    );
}

/// As transformers 5 saves a processor.
#[test]
fn a_front_end_may_be_part_of_a_processor() {
    let file = [sound("knock.wav")];
    for family in ["whisper", "htsat"] {
        let copied = Copied::new(family);
        let part: Value = serde_json::from_slice(&read(&copied.0.path().join(PREPROCESSOR))).unwrap();
        let copied = copied.without(PREPROCESSOR);
        let path = copied.0.path().join("processor_config.json");
        std::fs::write(&path, json!({"feature_extractor": part, "processor_class": "Any"}).to_string()).unwrap();
        assert_eq!(latents(&copied.options(), &file), latents(&checkpoint(family), &file), "{family}");
        let copied = copied.edit("processor_config.json", |json| json["feature_extractor"]["hop_length"] = 0.into());
        assert!(refused(copied.options()).starts_with("processor_config.json of "), "{family}");
    }
}

/// In transformers, CLAP's own `projection_dim` and `projection_hidden_act` replace those of its towers.
#[test]
fn what_both_towers_of_clap_share_rules_over_one_of_them() {
    let file = [sound("knock.wav")];
    let projected = |options: Options| options.with("projection", true);
    let own = latents(&projected(checkpoint("htsat")), &file);
    let audio = Copied::new("htsat").edit(CONFIG, |json| {
        json["audio_config"]["projection_dim"] = 99.into();
        json["audio_config"]["projection_hidden_act"] = "gelu".into();
    });
    assert_eq!(latents(&projected(audio.options()), &file), own);
    let both = Copied::new("htsat").edit(CONFIG, |json| json["projection_hidden_act"] = "gelu".into());
    assert_ne!(latents(&projected(both.options()), &file), own);
    let wider = Copied::new("htsat").edit(CONFIG, |json| drop(json.remove("projection_dim")));
    let message = refused(projected(wider.options()));
    assert!(message.contains("does not fit") && message.contains("512"), "{message}");
}
