//! What can go wrong with a training.

use std::error::Error;

use super::checkpoint::CheckpointError;
use super::options::OptionError;
use crate::bytes::Bytes;
use crate::device::DeviceError;

/// The reason for which a training cannot be, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TrainError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the pairs of towers `{first}` and `{second}` are too few: {pairs}; mixing takes at least 4")]
    Few { set: usize, first: String, second: String, pairs: usize },
    #[error(
        "tower `{tower}` is `adapter = \"identity\"` and its latents have {latents} values, but the shared space has \
         {width}; say `width = {latents}` in [train]"
    )]
    Identity { tower: String, latents: usize, width: usize },
    #[error("the towers `{first}` and `{second}` are both `adapter = \"identity\"`: nothing is left to train")]
    Nothing { set: usize, first: String, second: String },
    #[error(
        "the training takes {needed}, and {free} are free; a smaller `batch`, fewer `blocks`, or a smaller `expansion` or \
         `width`, in [train] take less"
    )]
    Large { needed: Bytes, free: Bytes },
    #[error("the loss of step {step} is {loss}; train anew with a lower `lr` or a `clip` in [train], and --overwrite")]
    Diverged { step: usize, loss: f32 },
    #[error("{0}")]
    Observer(Box<dyn Error + Send + Sync>),
}
