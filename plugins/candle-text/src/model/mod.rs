//! The families of models, chosen by config.json: a family is a file here and an arm of [`load`].

mod bert;
mod distilbert;
mod jina_bert;
mod modernbert;
mod mpnet;
mod new;
mod nomic_bert;
mod qwen3;
mod rope;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_kit::nn::Packing;
use candle_kit::{Layer, Pooling, Source, checkpoint};
use candle_nn::VarBuilder;
use fusemix_sdk::Error;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;

/// `model_type`s that [`load`] knows.
const KNOWN: &str = "bert, roberta, xlm-roberta, camembert, distilbert, mpnet, modernbert, qwen3, new, nomic_bert";

/// A transformer over tokens.
pub(crate) trait Model: Send + Sync {
    /// Values of a hidden state.
    fn hidden_size(&self) -> usize;

    /// Tokens that there are.
    fn vocab_size(&self) -> usize;

    /// Tokens that it can read at once.
    fn max_positions(&self) -> usize;

    /// Its blocks.
    fn blocks(&self) -> usize;

    /// How its states may be pooled; the first is what its family does.
    fn poolings(&self) -> &'static [Pooling];

    /// The states (`tokens x hidden_size`) at `layer` of the texts whose tokens are `ids` (`tokens`, u32).
    fn forward(&self, ids: &Tensor, packing: &Packing, layer: Layer) -> Result<Tensor>;

    /// What the model makes of the first state of each text (`texts x hidden_size`, in and out), if it offers that.
    fn pooler(&self, _first: &Tensor) -> Result<Tensor> {
        bail!("the model has no pooler")
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
    let loaded = match config["model_type"].as_str().unwrap_or("(none)") {
        "bert" if config["position_embedding_type"] == "alibi" => family(&config, vb, jina_bert::JinaBert::load),
        "bert" => family(&config, vb, bert::Bert::load),
        "roberta" | "xlm-roberta" | "camembert" => family(&config, vb, bert::Bert::load_roberta),
        "distilbert" => family(&config, vb, distilbert::load),
        "mpnet" => family(&config, vb, mpnet::load),
        "modernbert" => family(&config, vb, modernbert::ModernBert::load),
        "qwen3" => family(&config, vb, qwen3::Qwen3::load),
        "new" => family(&config, vb, new::New::load),
        "nomic_bert" => family(&config, vb, nomic_bert::load),
        other => {
            let message = format!("{}: `model_type` is {other}; this plugin knows: {KNOWN}", path.display());
            return Err(Error::config(message));
        }
    };
    loaded.map_err(|misfit| match misfit {
        Misfit::Config(error) => Error::config(format!("{}: {error}", path.display())),
        Misfit::Weights(error) => {
            Error::config(format!("{} does not fit {}: {error}", weights[0].display(), path.display()))
        }
    })
}

/// Why a checkpoint is not of its family.
enum Misfit {
    Config(serde_json::Error),
    Weights(candle_core::Error),
}

fn family<C: DeserializeOwned, M: Model + 'static>(
    config: &Value,
    vb: VarBuilder<'_>,
    load: impl FnOnce(C, VarBuilder<'_>) -> Result<M>,
) -> std::result::Result<Box<dyn Model>, Misfit> {
    let config = C::deserialize(config).map_err(Misfit::Config)?;
    Ok(Box::new(load(config, vb).map_err(Misfit::Weights)?))
}

/// Where the tensors of the model itself are: behind `prefix` in the checkpoint of a model with a head, which has `tensor` there.
fn within<'a>(vb: VarBuilder<'a>, prefix: &str, tensor: &str) -> VarBuilder<'a> {
    match vb.contains_tensor(&format!("{prefix}.{tensor}")) {
        true => vb.pp(prefix),
        false => vb,
    }
}
