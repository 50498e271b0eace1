//! How config.json says by which angles positions turn, old and new.

use candle_core::{Result, bail};
use candle_kit::nn::Rotary;
use serde::Deserialize;

/// `rope_scaling`, or an entry of `rope_parameters`.
#[derive(Deserialize)]
pub(super) struct RopeParameters {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// The same in older files; some have both.
    #[serde(rename = "type")]
    old_type: Option<String>,
    factor: Option<f64>,
}

/// For heads of `d` columns: the theta of `parameters`, else `theta`, else `default`, and the scaling of `parameters`.
pub(super) fn rotary(
    d: usize,
    parameters: Option<&RopeParameters>,
    theta: Option<f64>,
    default: f64,
) -> Result<Rotary> {
    let theta = parameters.and_then(|parameters| parameters.rope_theta).or(theta).unwrap_or(default);
    let Some((kind, factor)) =
        parameters.and_then(|it| Some((it.rope_type.as_deref().or(it.old_type.as_deref())?, it.factor.unwrap_or(1.0))))
    else {
        return Ok(Rotary::new(d, theta));
    };
    match kind {
        "default" => Ok(Rotary::new(d, theta)),
        "linear" => Ok(Rotary::new(d, theta).slower(factor)),
        // For texts of any length, as GTE has it: the slowest pair turns `factor` times slower, the fastest hardly.
        "ntk" => Ok(Rotary::new(d, theta * factor).slower(factor.powf(2.0 / d as f64))),
        other => bail!("rotary positions of the type `{other}` are not supported, only `default`, `linear` and `ntk`"),
    }
}
