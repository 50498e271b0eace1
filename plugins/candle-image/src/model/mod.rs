//! The families of networks, chosen by config.json: a family is a file here and an arm of [`load`].

mod clip;
mod convnext;
mod dinov2;
mod efficientnet;
mod patches;
mod positions;
mod siglip;
mod transformer;
mod unicom;
mod vit;

use candle_core::{DType, Device, Result, Tensor};
use candle_kit::{Layer, Pooling, Source, checkpoint};
use candle_nn::VarBuilder;
use fusemix_sdk::Error;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;

use crate::recipe::{Preprocessor, Recipe};

/// The families that config.json names.
const KNOWN: &str = "dinov2, dinov2_with_registers, vit, clip, clip_vision_model, siglip, siglip_vision_model, convnext, \
                     convnextv2, efficientnet";
/// What weights without a config.json are called by their authors, beside the hub's names.
const WEIGHTS: [&str; 11] = [
    "efficientnet-lite0-57934424.pth",
    "efficientnet-lite0.pth",
    "efficientnet-lite1.pth",
    "efficientnet-lite2.pth",
    "efficientnet-lite3.pth",
    "efficientnet-lite4.pth",
    "FP16-ViT-B-32.pt",
    "FP16-ViT-B-16.pt",
    "FP16-ViT-L-14.pt",
    "FP16-ViT-L-14-336px.pt",
    "model.safetensors",
];

/// A network over pictures.
pub(crate) trait Model: Send + Sync {
    /// Its blocks or stages: states can be taken before each of them.
    fn blocks(&self) -> usize;

    /// How the states of the last layer may be pooled; the first is what its family does.
    fn poolings(&self) -> &'static [Pooling];

    /// Values of a latent.
    fn width(&self, layer: Layer, pooling: Pooling) -> usize;

    /// Pictures that one core of a CPU takes together: more would not stay in its cache.
    fn pictures(&self) -> usize {
        2
    }

    /// The latents (`pictures x width`, f32) of `pictures x height x width x 3` values.
    fn forward(&self, x: &Tensor, layer: Layer, pooling: Pooling) -> Result<Tensor>;
}

/// A network, how it wants its pictures, and the files that made it so.
pub(crate) struct Loaded {
    pub(crate) architecture: String,
    pub(crate) model: Box<dyn Model>,
    pub(crate) recipe: Recipe,
    pub(crate) weights: Vec<PathBuf>,
    pub(crate) config: Option<PathBuf>,
}

pub(crate) fn load(source: &Source, dtype: DType, device: &Device) -> std::result::Result<Loaded, Error> {
    let (Some(config), Some(path)) = (source.json("config.json")?, source.optional("config.json")?) else {
        return load_bare(source, dtype, device);
    };
    let weights = source.checkpoint()?;
    let vb = checkpoint::load(&weights, dtype, device)?;
    let family = config["model_type"].as_str().unwrap_or("(none)").to_owned();
    let recipe = |usual: Preprocessor| Preprocessor::read(source)?.or(usual).recipe(source.name());
    // What is in a whole CLIP's config.json of its vision tower.
    let vision = || if config["vision_config"].is_object() { &config["vision_config"] } else { &config };
    let (loaded, recipe): (Result<Box<dyn Model>>, _) = match &*family {
        "dinov2" | "dinov2_with_registers" => {
            let config: dinov2::Config = parse(&config, &path)?;
            let recipe = recipe(config.preprocessor())?;
            (boxed(dinov2::DinoV2::load(&config, recipe.size, below("dinov2", vb))), recipe)
        }
        "vit" => {
            let config: vit::Config = parse(&config, &path)?;
            let recipe = recipe(config.preprocessor())?;
            (boxed(vit::ViT::load(&config, recipe.size, below("vit", vb))), recipe)
        }
        "clip" | "clip_vision_model" => {
            let config: clip::Config = parse(vision(), &path)?;
            let recipe = recipe(config.preprocessor())?;
            (boxed(clip::Clip::load(&config, recipe.size, below("vision_model", vb))), recipe)
        }
        "siglip" | "siglip_vision_model" => {
            let config: siglip::Config = parse(vision(), &path)?;
            let recipe = recipe(config.preprocessor())?;
            (boxed(siglip::Siglip::load(&config, recipe.size, below("vision_model", vb))), recipe)
        }
        "convnext" | "convnextv2" => {
            let config: convnext::Config = parse(&config, &path)?;
            let recipe = recipe(config.preprocessor())?;
            (boxed(convnext::ConvNext::load(&config, below(&family, vb))), recipe)
        }
        "efficientnet" => {
            let config: efficientnet::Config = parse(&config, &path)?;
            let recipe = recipe(config.preprocessor())?;
            (boxed(efficientnet::EfficientNet::load(&config, below("efficientnet", vb))), recipe)
        }
        other => {
            let message = format!("{}: `model_type` is {other}; this plugin knows: {KNOWN}", path.display());
            return Err(Error::config(message));
        }
    };
    let unfit = |error| Error::config(format!("{} does not fit {}: {error}", weights[0].display(), path.display()));
    Ok(Loaded { architecture: family, model: loaded.map_err(unfit)?, recipe, weights, config: Some(path) })
}

/// Weights by themselves are known by the names of their tensors.
fn load_bare(source: &Source, dtype: DType, device: &Device) -> std::result::Result<Loaded, Error> {
    let weights = vec![source.weights(&WEIGHTS)?];
    let stranger = |error: String| {
        Error::config(format!(
            "{} has no config.json beside it, and is neither EfficientNet-Lite nor UNICOM as PyTorch saves them: {error}",
            weights[0].display()
        ))
    };
    let vb = checkpoint::load(&weights, dtype, device).map_err(|error| stranger(error.message))?;
    let loaded: Result<(String, Box<dyn Model>, Recipe)> = if vb.contains_tensor("_conv_stem.weight") {
        efficientnet::EfficientNet::load_lite(vb)
            .map(|(name, model, recipe)| (name.to_owned(), Box::new(model) as Box<dyn Model>, recipe))
    } else if vb.contains_tensor("feature.0.weight") && vb.contains_tensor("patch_embed.proj.weight") {
        unicom::Unicom::load(vb).map(|(model, recipe)| ("unicom".to_owned(), Box::new(model) as Box<dyn Model>, recipe))
    } else {
        Err(candle_core::Error::Msg("it has the tensors of neither".into()))
    };
    let (architecture, model, recipe) = loaded.map_err(|error| stranger(error.to_string()))?;
    Ok(Loaded { architecture, model, recipe, weights, config: None })
}

fn parse<T: DeserializeOwned>(config: &Value, path: &std::path::Path) -> std::result::Result<T, Error> {
    serde_json::from_value(config.clone()).map_err(|error| Error::config(format!("{}: {error}", path.display())))
}

fn boxed<M: Model + 'static>(loaded: Result<M>) -> Result<Box<dyn Model>> {
    loaded.map(|model| Box::new(model) as Box<dyn Model>)
}

/// The tensors below `prefix`, where a checkpoint of a larger model has such.
fn below<'a>(prefix: &str, vb: VarBuilder<'a>) -> VarBuilder<'a> {
    let inner = ["embeddings.cls_token", "embeddings.class_embedding", "embeddings.patch_embedding.weight"];
    let convolutional = ["embeddings.patch_embeddings.weight", "embeddings.convolution.weight"];
    let within = vb.pp(prefix);
    match inner.iter().chain(&convolutional).any(|name| within.contains_tensor(name)) {
        true => within,
        false => vb,
    }
}
