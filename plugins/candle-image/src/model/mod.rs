//! The families of networks: a family is a file here and an arm of [`load`].

mod efficientnet;

use candle_core::{DType, Device, Result, Tensor};
use candle_kit::checkpoint;
use fusemix_sdk::Error;
use std::path::Path;

use crate::input::Recipe;

/// What the weights are called in the folders and repositories of models.
pub(crate) const WEIGHTS: [&str; 2] = ["efficientnet-lite0-57934424.pth", "efficientnet-lite0.pth"];

/// A network over pictures.
pub(crate) trait Model: Send + Sync {
    /// What the fingerprint calls it.
    fn architecture(&self) -> &'static str;

    /// Values of a latent.
    fn width(&self) -> usize;

    /// How it wants its pictures.
    fn recipe(&self) -> Recipe;

    /// The latents (`pictures x width`) of `pictures x size x size x 3` values.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
}

pub(crate) fn load(weights: &Path, dtype: DType, device: &Device) -> std::result::Result<Box<dyn Model>, Error> {
    let tensors = checkpoint::read(weights);
    let loaded = tensors.and_then(|tensors| efficientnet::EfficientNet::load(&tensors, dtype, device));
    match loaded {
        Ok(model) => Ok(Box::new(model)),
        Err(error) => {
            let message = format!("{} is not EfficientNet-Lite0 as PyTorch saves it: {error}", weights.display());
            Err(Error::config(message))
        }
    }
}
