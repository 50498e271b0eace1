//! `run.json`: the provenance of a finished run.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::error::RunError;
use crate::config::Method;
use crate::plugin::LoadedEncoder;
use crate::space::Inlet;

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of this program.
    pub fusemix: String,
    /// The method that fitted it.
    #[serde(default)]
    pub method: Method,
    /// The seed.
    pub seed: u64,
    /// The device it was trained on.
    pub device: String,
    /// Pairs that it was trained on.
    pub pairs: usize,
    /// One per tower, in the recipe's order.
    pub towers: Vec<TowerInfo>,
    /// The digest of the adapters; none in runs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<String>,
    /// Training items that a tower compares with at most, if the run was made smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchors: Option<usize>,
    /// The digest of what was trained on; none in runs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

/// The provenance of a tower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TowerInfo {
    /// Its name in the recipe.
    pub name: String,
    /// Width of its latents.
    pub width: usize,
    /// Its encoders; none if its latents were precomputed.
    pub encoders: Vec<EncoderInfo>,
}

impl TowerInfo {
    /// What the tower takes.
    pub(crate) fn inlet(&self) -> Inlet {
        Inlet { name: self.name.clone(), width: self.width }
    }
}

/// An encoder as it was while training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderInfo {
    /// Its name in plugins.toml.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: BTreeMap<String, String>,
}

impl EncoderInfo {
    /// An encoder as it is now.
    pub fn of(encoder: &LoadedEncoder) -> Self {
        Self { name: encoder.name.clone(), fingerprint: encoder.fingerprint.clone() }
    }

    /// Rejects an encoder other than the one of the run.
    pub fn verify(&self, present: &LoadedEncoder) -> Result<(), RunError> {
        if self.fingerprint == present.fingerprint {
            return Ok(());
        }
        Err(RunError::OtherEncoder {
            encoder: self.name.clone(),
            trained: self.fingerprint.clone(),
            present: present.fingerprint.clone(),
        })
    }
}
