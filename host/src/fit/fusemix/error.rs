//! Errors of training.

use std::error::Error;

use super::checkpoint::CheckpointError;
use crate::bytes::Bytes;
use crate::device::DeviceError;

/// An invalid training option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key} = {value}` in [train]: {reason}")]
#[allow(missing_docs, reason = "the message says it")]
pub struct OptionError {
    pub key: &'static str,
    pub value: String,
    pub reason: String,
}

/// The reason why a training cannot begin or continue.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TrainError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("too few pairs of towers `{first}` and `{second}`: {pairs}; a set needs at least 4")]
    Few { set: usize, first: String, second: String, pairs: usize },
    #[error(
        "tower `{tower}` has `adapter = \"identity\"` and its latents have {latents} values, but the shared space has \
         {width}; set `width = {latents}` in [train]"
    )]
    Identity { tower: String, latents: usize, width: usize },
    #[error("the towers `{first}` and `{second}` both have `adapter = \"identity\"`, so there is nothing to train")]
    Nothing { set: usize, first: String, second: String },
    #[error(
        "training needs {needed}, but only {free} is free; reduce `batch`, `blocks`, `expansion` or `width` in [train]"
    )]
    Large { needed: Bytes, free: Bytes },
    #[error(
        "the loss of step {step} is {loss}; lower `lr` or set `clip` in [train], then train again with --overwrite"
    )]
    Diverged { step: usize, loss: f32 },
    #[error(
        "the gradients before step {step} are not finite in 16 bits, however they are scaled; set \
         `precision = \"f32\"`, or lower `lr`, then train again with --overwrite"
    )]
    Overflow { step: usize },
    #[error("{0}")]
    Observer(Box<dyn Error + Send + Sync>),
}
