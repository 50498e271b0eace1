//! How config.json says by which angles positions turn, old and new.

use candle_core::{Result, bail};
use serde::Deserialize;

/// An entry of `rope_parameters`, or `rope_scaling`.
#[derive(Deserialize)]
pub(super) struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

/// The theta of `new`, else `old`, else `default`; only plain rotation is known.
pub(super) fn theta(new: Option<&RopeParameters>, old: Option<f64>, default: f64) -> Result<f64> {
    match new.and_then(|new| new.rope_type.as_deref()) {
        None | Some("default") => Ok(new.and_then(|new| new.rope_theta).or(old).unwrap_or(default)),
        Some(other) => bail!("rotary positions of the type `{other}` are not supported, only `default`"),
    }
}
