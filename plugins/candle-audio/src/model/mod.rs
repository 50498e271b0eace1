//! The families of models, chosen by config.json or, without one, by the tensors' names: a family is a file here and an
//! arm of [`load`].

mod front_end;
mod htsat;
mod whisper;

use candle_core::{DType, Device, Result, Tensor};
use candle_kit::{Layer, Pooling, Source, checkpoint, instead, reason};
use candle_nn::VarBuilder;
use fusemix_sdk::{Error, Options};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::PathBuf;

/// An encoder of windows of sound.
pub(crate) trait Model: Send + Sync {
    /// The name of [`Model::features`] in the fingerprint, which must change with it.
    fn preprocessing(&self) -> String;

    /// Samples a second.
    fn rate(&self) -> u32;

    /// Samples of a window.
    fn window(&self) -> usize;

    /// Values of a state at `layer`.
    fn width(&self, layer: Layer) -> usize;

    /// Its blocks.
    fn blocks(&self) -> usize;

    /// The poolings on offer for the states at `layer`; the first is the family's own.
    fn poolings(&self, layer: Layer) -> &'static [Pooling];

    /// States of a window that hold the first `samples` samples; the others hold padding.
    fn sounding(&self, samples: usize, layer: Layer) -> usize;

    /// The spectrogram (`frames x mels`) of a window, or of less, padded in the way of its family.
    fn mels(&self, samples: &[f32]) -> Vec<f32>;

    /// The model's input for a window, or for less.
    fn features(&self, samples: &[f32]) -> Vec<f32>;

    /// The states (`windows x states x width`) at `layer` of so many `windows`, whose features lie one after the other.
    fn forward(&self, features: Vec<f32>, windows: usize, layer: Layer) -> Result<Tensor>;
}

/// The file that names the family and the sizes of its model.
pub(crate) const CONFIG: &str = "config.json";

pub(crate) fn load(
    source: &Source,
    options: &Options,
    weights: &[PathBuf],
    dtype: DType,
    device: &Device,
) -> std::result::Result<Box<dyn Model>, Error> {
    let (Some(config), Some(path)) = (source.json(CONFIG)?, source.optional(CONFIG)?) else {
        return load_bare(source, options, weights, dtype, device);
    };
    let projection: bool = options.get_or("projection", false)?;
    let family = config["model_type"].as_str().unwrap_or_default().to_owned();
    if projection && family != "clap" {
        return Err(unprojected(source));
    }
    let loaded: Result<Box<dyn Model>> = match &*family {
        "whisper" => {
            let config = read(config, CONFIG, source)?;
            let preprocessor = front_end::load(&config, source)?;
            let vb = checkpoint::load(weights, dtype, device)?;
            whisper::Whisper::load(config, preprocessor, vb).map(|model| Box::new(model) as _)
        }
        "clap" | "clap_audio_model" => {
            let config: htsat::Config =
                read(if family == "clap" { audio_config(&config) } else { config }, CONFIG, source)?;
            config
                .check()
                .map_err(|error| Error::config(format!("{CONFIG} of {}: {}", source.name(), reason(&error))))?;
            let preprocessor = front_end::load(&config, source)?;
            let vb = checkpoint::load(weights, dtype, device)?;
            htsat::ClapAudioModel::load(config, preprocessor, projection, vb).map(|model| Box::new(model) as _)
        }
        other => {
            let message = format!("{}: `model_type` is {other:?}; {}", path.display(), instead(other, "whisper, clap"));
            return Err(Error::config(message));
        }
    };
    let unfit = |error| format!("{} does not fit {}: {}", weights[0].display(), path.display(), reason(&error));
    loaded.map_err(|error| Error::config(unfit(error)))
}

/// Loads weights without a config.json, recognised by the names of their tensors.
fn load_bare(
    source: &Source,
    options: &Options,
    weights: &[PathBuf],
    dtype: DType,
    device: &Device,
) -> std::result::Result<Box<dyn Model>, Error> {
    let stranger = |error: candle_core::Error| {
        let (file, reason) = (weights[0].display(), reason(&error));
        Error::config(format!(
            "{file} has no {CONFIG} next to it, and is not an HTS-AT checkpoint as its authors save it: {reason}"
        ))
    };
    let projection = options.get_or("projection", false)?;
    let htsat::Renamed { config, preprocessor, tensors } =
        checkpoint::read(&weights[0]).and_then(htsat::Renamed::new).map_err(stranger)?;
    if projection && config.projection_dim == 0 {
        return Err(unprojected(source));
    }
    let vb = VarBuilder::from_tensors(tensors, dtype, device);
    let model = htsat::ClapAudioModel::load(config, preprocessor, projection, vb).map_err(stranger)?;
    Ok(Box::new(model))
}

/// The audio tower's part of CLAP's config.json. Settings that both towers share are beside it, and take precedence.
fn audio_config(config: &Value) -> Value {
    let mut audio = config["audio_config"].as_object().cloned().unwrap_or_default();
    for (key, default) in [("projection_dim", json!(512)), ("projection_hidden_act", json!("relu"))] {
        audio.insert(key.to_owned(), config.get(key).cloned().unwrap_or(default));
    }
    audio.into()
}

fn unprojected(source: &Source) -> Error {
    Error::config(format!("`projection = true`: {} has no projection; only CLAP has one", source.name()))
        .key("projection")
}

fn read<T: DeserializeOwned>(json: Value, file: &str, source: &Source) -> std::result::Result<T, Error> {
    serde_json::from_value(json).map_err(|error| Error::config(format!("{file} of {}: {error}", source.name())))
}
