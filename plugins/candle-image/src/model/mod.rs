//! The families of networks, chosen by config.json: a family is a file here and an arm of [`load`].

mod bare;
mod batch_norm;
mod clip;
mod config;
mod convnext;
mod dinov2;
mod efficientnet;
mod embeddings;
mod patches;
mod positions;
mod siglip;
mod states;
mod transformer;
mod unicom;
mod vit;

use candle_core::{DType, Device, Result, Tensor};
use candle_kit::{Layer, Pooling, Source, checkpoint, instead, reason};
use fusemix_sdk::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

use crate::preprocessing::{CLIP, IMAGENET, Preprocessing};
use crate::preprocessor::Preprocessor;

use config::Config;

/// The families that config.json names.
const KNOWN: &str = "dinov2, dinov2_with_registers, vit, clip, clip_vision_model, siglip, siglip_vision_model, \
    convnext, convnextv2, efficientnet";
/// A network over pictures.
pub(crate) trait Model: Send + Sync {
    /// Its blocks or stages: states can be taken before each of them.
    fn blocks(&self) -> usize;

    /// The poolings on offer for the states of the last layer; the first is the family's own.
    fn poolings(&self) -> &'static [Pooling];

    /// Values per latent.
    fn width(&self, layer: Layer, pooling: Pooling) -> usize;

    /// Pictures per pass on a CPU core: more would not stay in its cache.
    fn pictures(&self) -> usize {
        2
    }

    /// The latents (`pictures x width`, f32) of `pictures x height x width x 3` values.
    fn forward(&self, x: &Tensor, layer: Layer, pooling: Pooling) -> Result<Tensor>;
}

/// A network, its preprocessing, and the files that define them.
pub(crate) struct Loaded {
    pub(crate) architecture: String,
    pub(crate) model: Box<dyn Model>,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) weights: Vec<PathBuf>,
    pub(crate) config: Option<PathBuf>,
}

/// Where the network's own files are: of a CLIP in the layout of sentence-transformers in a folder inside.
pub(crate) fn tower(source: Source) -> std::result::Result<Source, Error> {
    let inner = source.within("0_CLIPModel");
    let has =
        |source: &Source| Ok::<_, Error>(source.knows("config.json")? && source.optional("config.json")?.is_some());
    Ok(if !has(&source)? && has(&inner)? { inner } else { source })
}

/// Loads the network; `projection` is whether its latents are those that CLIP compares with texts.
pub(crate) fn load(
    source: &Source,
    projection: bool,
    dtype: DType,
    device: &Device,
) -> std::result::Result<Loaded, Error> {
    let (Some(config), Some(path)) = (source.json("config.json")?, source.optional("config.json")?) else {
        candle_kit::refuse_open_clip(source)?;
        return if projection { Err(unprojected("", source)) } else { bare::load(source, dtype, device) };
    };
    let weights = source.checkpoint()?;
    let vb = checkpoint::load(&weights, dtype, device)?;
    let family = config["model_type"].as_str().unwrap_or("(none)").to_owned();
    if projection && !family.starts_with("clip") {
        return Err(unprojected(&family, source));
    }
    let preprocessing = |usual: Preprocessor| Preprocessor::read(source, usual);
    // What is in a whole CLIP's config.json of its vision tower.
    let vision = || if config["vision_config"].is_object() { &config["vision_config"] } else { &config };
    let (loaded, preprocessing): (Result<Box<dyn Model>>, _) = match &*family {
        "dinov2" | "dinov2_with_registers" => {
            let config: dinov2::Config = parse(&config, &path)?;
            let preprocessing = preprocessing(Preprocessor::cropped(256, 224, IMAGENET))?;
            (dinov2::DinoV2::load(&config, preprocessing.size, vb).map(boxed), preprocessing)
        }
        "vit" => {
            let config = parse_over(Config::vit(), &config, &path)?;
            let preprocessing = preprocessing(Preprocessor::vit(config.image_size))?;
            (vit::ViT::load(&config, preprocessing.size, vb).map(boxed), preprocessing)
        }
        "clip" | "clip_vision_model" => {
            let mut tower = vision().clone();
            if config["vision_config"].is_object() {
                // Of both towers, and beside them.
                tower["projection_dim"] = config.get("projection_dim").cloned().unwrap_or(512.into());
            }
            let config = parse_over(Config::clip(), &tower, &path)?;
            let preprocessing = preprocessing(Preprocessor::cropped(config.image_size, config.image_size, CLIP))?;
            (clip::Clip::load(&config, preprocessing.size, projection, vb).map(boxed), preprocessing)
        }
        "siglip" | "siglip_vision_model" => {
            let config = parse_over(Config::siglip(), vision(), &path)?;
            let preprocessing = preprocessing(Preprocessor::siglip(config.image_size))?;
            (siglip::Siglip::load(&config, preprocessing.size, vb).map(boxed), preprocessing)
        }
        "convnext" | "convnextv2" => {
            let config: convnext::Config = parse(&config, &path)?;
            let preprocessing = preprocessing(Preprocessor::convnext(config.image_size, IMAGENET))?;
            (convnext::ConvNext::load(&config, vb).map(boxed), preprocessing)
        }
        "efficientnet" => {
            let config: efficientnet::Config = parse(&config, &path)?;
            let preprocessing = preprocessing(Preprocessor::efficientnet(config.image_size, efficientnet::COLOURS))?;
            (efficientnet::EfficientNet::load(&config, vb).map(boxed), preprocessing)
        }
        other => {
            let message = format!("{}: `model_type` is {other}; {}", path.display(), instead(other, KNOWN));
            return Err(Error::config(message));
        }
    };
    let unfit = |error| format!("{} does not fit {}: {}", weights[0].display(), path.display(), reason(&error));
    let model = loaded.map_err(|error| Error::config(unfit(error)))?;
    Ok(Loaded { architecture: family, model, preprocessing, weights, config: Some(path) })
}

fn unprojected(family: &str, source: &Source) -> Error {
    let reason = match family {
        "siglip" | "siglip_vision_model" => {
            "SigLIP has none, and needs none: its pooler, the default, is what it compares with texts; remove it".into()
        }
        _ => format!("{} has none; only CLIP has one", source.name()),
    };
    Error::config(format!("`projection = true`: {reason}")).key("projection")
}

fn parse<T: DeserializeOwned>(config: &Value, path: &Path) -> std::result::Result<T, Error> {
    serde_json::from_value(config.clone()).map_err(|error| Error::config(format!("{}: {error}", path.display())))
}

/// Fills gaps in `config` from `usual`.
fn parse_over<T: Serialize + DeserializeOwned>(usual: T, config: &Value, path: &Path) -> std::result::Result<T, Error> {
    let mut all = serde_json::to_value(usual).map_err(|error| Error::new(error.to_string()))?;
    if let (Value::Object(all), Value::Object(config)) = (&mut all, config) {
        all.extend(config.clone());
    }
    parse(&all, path)
}

fn boxed(model: impl Model + 'static) -> Box<dyn Model> {
    Box::new(model)
}
