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
    dtype: DType,
    device: &Device,
) -> std::result::Result<Box<dyn Model>, Error> {
    let path = source.file("config.json")?;
    let config = source.json("config.json")?.unwrap_or_default();
    let name = weights[0].display();
    // SAFETY: nobody writes to a model's files while they are loaded, and the map ends with `vb`: tensors are copies.
    let vb = unsafe { VarBuilder::from_mmaped_safetensors(weights, dtype, device) }.map_err(failed(&name))?;
    let unread = |error| Error::config(format!("{}: {error}", path.display()));
    let loaded = match config["model_type"].as_str().unwrap_or("bert") {
        "bert" => bert::Bert::load(serde_json::from_value(config).map_err(unread)?, vb),
        other => {
            let message = format!("{}: `model_type` is {other}; this plugin knows: bert", path.display());
            return Err(Error::config(message));
        }
    };
    match loaded {
        Ok(model) => Ok(Box::new(model)),
        Err(error) => Err(Error::config(format!("{name} does not fit {}: {error}", path.display()))),
    }
}
