//! Errors of a fit in closed form.

use std::io;

use super::fusemix::TrainError;
use crate::bytes::Bytes;
use crate::device::DeviceError;

/// A reason why a space cannot be fitted.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum FitError {
    #[error("`{key} = {value}`: must be {wanted}")]
    Option { key: &'static str, value: String, wanted: &'static str },
    #[error("a fit needs at least {fewest} different items of a tower, but `{tower}` has {items}")]
    Few { tower: String, items: usize, fewest: usize },
    #[error(
        "the latents of tower `{tower}` do not vary, so nothing tells its items apart; check its encoder and its column"
    )]
    Flat { tower: String },
    #[error("the eigenvalues of tower `{tower}` cannot be found: {reason}")]
    Eigen { tower: String, reason: String },
    #[error(
        "the towers have nothing in common: no direction of one goes with one of another; check that the items of a \
         row belong together"
    )]
    Nothing,
    #[error("no method can be fitted to these pairs: {reasons}")]
    NoMethod { reasons: String },
    #[error(
        "the kernel of {rows} training rows needs {needed}, but only {free} is free; set `landmarks` of \
         `method = \"kernel-cca\"` to some thousand, leave out `width` of `\"asif\"`, or take fewer pairs"
    )]
    Large { rows: usize, needed: Bytes, free: Bytes },
    #[error(
        "towers `{first}` and `{second}` have no pairs with each other, and `method = \"asif\"` cannot do without: add \
         a pair set of the two, or take another method"
    )]
    Apart { first: String, second: String },
    #[error("tower `{tower}` is not joined to an identity tower by pairs, so it cannot be brought into its space")]
    Unreached { tower: String },
    #[error(
        "identity towers `{first}` ({width} values) and `{second}` ({other}) must have the same width: they are one \
         space"
    )]
    Widths { first: String, second: String, width: usize, other: usize },
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Train(Box<TrainError>),
    #[error("cannot start a thread: {0}; end other programs, or raise the limit of processes")]
    Thread(io::Error),
    #[error("it was stopped")]
    Stopped,
}

impl From<TrainError> for FitError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}
