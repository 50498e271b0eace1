//! `[fit]` of a recipe with `method = "kernel-cca"`.

use serde::{Deserialize, Serialize};

use crate::fit::options::{count, number, rho};
use crate::fit::{FitError, Standard};

/// `[fit]` as the user wrote it, without what all methods have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelCcaOptions {
    /// How latents are standardised.
    pub standard: Option<Standard>,
    /// The width of the kernel, in units of cosine: a small one tells near items apart, a large one makes it linear.
    pub tau: Option<f32>,
    /// The strength of the regularisation.
    pub rho: Option<f32>,
    /// The most kernel directions that are kept of a tower.
    pub rank: Option<usize>,
    /// The most dimensions of the shared space.
    pub width: Option<usize>,
    /// The training items that an item is compared with; 0 for all of up to 20,000, and some thousand of more.
    pub landmarks: Option<usize>,
}

/// The options with every value known. Written as TOML, they read back as [`KernelCcaOptions`] that resolve to
/// themselves.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of KernelCcaOptions")]
pub struct Options {
    pub standard: Standard,
    pub tau: f32,
    pub rho: f32,
    pub rank: usize,
    pub width: usize,
    pub landmarks: usize,
}

impl KernelCcaOptions {
    /// The options with defaults for what is not set.
    pub fn resolve(&self) -> Result<Options, FitError> {
        Ok(Options {
            standard: self.standard.unwrap_or_default(),
            tau: number("tau", self.tau, 0.5, 1e-3..=100.0, "a number from 0.001 to 100")?,
            rho: rho(self.rho, 1.0)?,
            rank: count("rank", self.rank, 800)?,
            width: count("width", self.width, 384)?,
            landmarks: self.landmarks.unwrap_or(0),
        })
    }
}
