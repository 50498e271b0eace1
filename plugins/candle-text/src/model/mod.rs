//! The families of models, chosen by config.json: a family is a file here and an arm of [`load`].

mod bert;

use candle_core::{DType, Device, Result, Tensor};
use candle_kit::nn::Packing;
use candle_kit::{Layer, Pooling, Source, checkpoint};
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

    /// Its blocks.
    fn blocks(&self) -> usize;

    /// How its states may be pooled; the first is what its family does.
    fn poolings(&self) -> &'static [Pooling];

    /// The states (`tokens x hidden_size`) at `layer` of the texts whose tokens are `ids` (`tokens`, u32).
    fn forward(&self, ids: &Tensor, packing: &Packing, layer: Layer) -> Result<Tensor>;
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
    let vb = checkpoint::load(weights, dtype, device)?;
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
