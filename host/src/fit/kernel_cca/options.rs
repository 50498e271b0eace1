//! `[fit]` of a recipe with `method = "kernel-cca"`.

use serde::{Deserialize, Serialize};

use super::KernelCcaError;
use crate::space::Hubness;

/// `[fit]` as the user wrote it, without `method`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelCcaOptions {
    /// The width of the kernel, in units of cosine: a small one tells near items apart, a large one makes it linear.
    pub tau: Option<f32>,
    /// The strength of the regularisation.
    pub rho: Option<f32>,
    /// The most kernel directions that are kept of a tower.
    pub rank: Option<usize>,
    /// The most dimensions of the shared space.
    pub width: Option<usize>,
    /// The weight of the term against hubs; 0 for none.
    pub hubness: Option<f32>,
    /// The training items nearest to an item that the term is the mean of.
    pub neighbours: Option<usize>,
}

/// The options with every value known. Written as TOML, they read back as [`KernelCcaOptions`] that resolve to
/// themselves.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of KernelCcaOptions")]
pub struct Options {
    pub tau: f32,
    pub rho: f32,
    pub rank: usize,
    pub width: usize,
    pub hubness: f32,
    pub neighbours: usize,
}

impl KernelCcaOptions {
    /// The options with defaults for what is not set.
    pub fn resolve(&self) -> Result<Options, KernelCcaError> {
        let Self { tau, rho, rank, width, hubness, neighbours } = *self;
        let number = |key, value: Option<f32>, default, least: f32, wanted| match value.unwrap_or(default) {
            value if value.is_finite() && value >= least && (least > 0.0 || value >= 0.0) => Ok(value),
            value => Err(KernelCcaError::Option { key, value: value.to_string(), wanted }),
        };
        let most = |value: f32| match value <= Hubness::MOST {
            true => Ok(value),
            false => Err(KernelCcaError::Option { key: "hubness", value: value.to_string(), wanted: "at most 0.99" }),
        };
        let count = |key, value: Option<usize>, default| match value.unwrap_or(default) {
            0 => Err(KernelCcaError::Option { key, value: "0".to_owned(), wanted: "a whole number above 0" }),
            value => Ok(value),
        };
        Ok(Options {
            tau: number("tau", tau, 0.5, 1e-3, "a number of at least 0.001")?,
            rho: number("rho", rho, 1.0, 1e-9, "a number above 0")?,
            rank: count("rank", rank, 800)?,
            width: count("width", width, 384)?,
            hubness: most(number("hubness", hubness, 0.25, 0.0, "a number of at least 0")?)?,
            neighbours: count("neighbours", neighbours, 16)?,
        })
    }
}
