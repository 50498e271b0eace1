//! The families of models, chosen by config.json: a family is a file here and an arm of [`load`].

mod bert;
mod clap;
mod clip;
mod distilbert;
mod jina_bert;
mod layers;
mod modernbert;
mod mpnet;
mod new;
mod nomic_bert;
mod outline;
mod pass;
mod pre_norm;
mod qwen3;
mod rope;
mod siglip;
mod supported;
mod tower;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_kit::{Source, checkpoint, instead};
use candle_nn::VarBuilder;
use fusemix_sdk::Error;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) use outline::{Outline, Projection};
pub(crate) use pass::Pass;
use supported::Supported;
use tower::text_config;

/// `model_type`s that [`load`] knows.
const KNOWN: &str = "bert, roberta, xlm-roberta, camembert, distilbert, mpnet, modernbert, qwen3, new, gte, nomic_bert, \
    clip, clip_text_model, siglip, siglip_text_model, siglip2, siglip2_text_model, clap, clap_text_model";

/// A transformer over tokens.
pub(crate) trait Model: Send + Sync {
    fn outline(&self) -> Outline;

    /// The states (`tokens x hidden_size`) of the texts whose tokens are `ids` (`tokens`, u32).
    fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor>;

    /// The place among the tokens of a text of the state that [`Model::pooler`] takes.
    fn pooled(&self, _ids: &[u32]) -> usize {
        0
    }

    /// The model's own pooling of that state of each text (`texts x hidden_size -> texts x pooler_size`), if it has one.
    fn pooler(&self, _states: &Tensor) -> Result<Tensor> {
        bail!("the model has no pooler")
    }

    /// The [`Projection::To`] of what it pools, if it has one.
    fn project(&self, _pooled: &Tensor) -> Result<Tensor> {
        bail!("the model has no projection")
    }
}

pub(crate) fn load(
    source: &Source,
    weights: &[PathBuf],
    dtype: DType,
    device: &Device,
) -> std::result::Result<Box<dyn Model>, Error> {
    let path = source.file("config.json")?;
    let config = source.json("config.json")?.unwrap_or_default();
    let vb = checkpoint::load(weights, dtype, device)?;
    let model_type = config["model_type"].as_str().unwrap_or("(none)");
    let loaded = match model_type {
        "bert" if config["position_embedding_type"] == "alibi" => {
            family(&config, jina_bert::SUPPORTED, vb, jina_bert::JinaBert::load)
        }
        "bert" => family(&config, bert::SUPPORTED, vb, bert::Bert::load),
        "roberta" | "xlm-roberta" | "camembert" => family(&config, bert::SUPPORTED, vb, bert::Bert::load_roberta),
        "distilbert" => family(&config, &[], vb, distilbert::load),
        "mpnet" => family(&config, &[], vb, mpnet::load),
        "modernbert" => family(&config, modernbert::SUPPORTED, vb, modernbert::ModernBert::load),
        "qwen3" => family(&config, qwen3::SUPPORTED, vb, qwen3::Qwen3::load),
        "new" | "gte" => family(&config, new::SUPPORTED, vb, new::New::load),
        "nomic_bert" if config["n_embd"].is_null() => Err(Misfit::Config(
            "there is no `n_embd`: this plugin reads the config.json of the model's authors, not the one that \
             transformers 5 writes"
                .into(),
        )),
        "nomic_bert" => family(&config, nomic_bert::SUPPORTED, vb, nomic_bert::load),
        "clip" | "clip_text_model" => {
            let config = text_config(&config, json!(pre_norm::Config::clip()), &["projection_dim"]);
            family(&config, &[], vb, clip::Clip::load)
        }
        "siglip" | "siglip_text_model" | "siglip2" | "siglip2_text_model" => {
            let config = text_config(&config, json!(pre_norm::Config::siglip()), &[]);
            family(&config, &[], vb, siglip::Siglip::load)
        }
        "clap" | "clap_text_model" => {
            let config = text_config(&config, clap::usual(), &["projection_dim", "projection_hidden_act"]);
            family(&config, bert::SUPPORTED, vb, clap::Clap::load)
        }
        other => Err(Misfit::Config(format!("`model_type` is {other}; {}", instead(other, KNOWN)))),
    };
    loaded.map_err(|misfit| match misfit {
        Misfit::Config(reason) => Error::config(format!("{}: {reason}", path.display())),
        Misfit::Weights(error) => {
            let (weights, reason) = (weights[0].display(), candle_kit::reason(&error));
            Error::config(format!("{weights} does not fit {}: {reason}", path.display()))
        }
    })
}

/// The reason why a checkpoint does not fit its family.
enum Misfit {
    Config(String),
    Weights(candle_core::Error),
}

fn family<C: DeserializeOwned, M: Model + 'static>(
    config: &Value,
    supported: &[Supported],
    vb: VarBuilder<'_>,
    load: impl FnOnce(C, VarBuilder<'_>) -> Result<M>,
) -> std::result::Result<Box<dyn Model>, Misfit> {
    if let Some(refusal) = supported::refusal(config, supported) {
        return Err(Misfit::Config(refusal));
    }
    let config = C::deserialize(config).map_err(|error| Misfit::Config(error.to_string()))?;
    Ok(Box::new(load(config, vb).map_err(Misfit::Weights)?))
}
