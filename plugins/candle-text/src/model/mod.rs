//! The families of models, chosen by config.json: a family is a file here and an arm of [`load`].

mod bert;

use candle_core::{DType, Device, Result, Tensor};
use candle_kit::nn::Packing;
use candle_kit::{Source, failed};
use candle_nn::VarBuilder;
use fusemix_sdk::Error;
use std::path::PathBuf;

/// A transformer over tokens.
pub(crate) trait Model: Send + Sync {
    /// Values of a hidden state.
    fn hidden_size(&self) -> usize;

    /// Tokens that there are.
    fn vocab_size(&self) -> usize;

    /// Tokens that it can read at once.
    fn max_positions(&self) -> usize;

    /// The last hidden states (`tokens x hidden_size`) of the texts whose tokens are `ids` (`tokens`, u32).
    fn forward(&self, ids: &Tensor, packing: &Packing) -> Result<Tensor>;
}

pub(crate) fn load(
    source: &Source,
    weights: &[PathBuf],
    device: &Device,
) -> std::result::Result<Box<dyn Model>, Error> {
    let path = source.file("config.json")?;
    let config = source.json("config.json")?.unwrap_or_default();
    // SAFETY: the map lives as long as `vb`, which ends with this function; the tensors are copies. Files of a model
    // are not written to while they are loaded.
    let vb = unsafe { VarBuilder::from_mmaped_safetensors(weights, DType::F32, device) };
    let vb = vb.map_err(failed(weights[0].display()))?;
    let unread = |error| Error::config(format!("{}: {error}", path.display()));
    let loaded = match config["model_type"].as_str().unwrap_or("bert") {
        "bert" => {
            bert::Bert::load(serde_json::from_value(config).map_err(unread)?, vb).map(|model| Box::new(model) as _)
        }
        other => {
            let message = format!("{}: `model_type` is {other}; this plugin knows: bert", path.display());
            return Err(Error::config(message));
        }
    };
    loaded.map_err(|error| Error::config(format!("{} does not fit {}: {error}", weights[0].display(), path.display())))
}
