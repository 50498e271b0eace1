//! The rotary settings of config.json, in their old and new forms.

use candle_kit::nn::Rotary;
use serde::Deserialize;

/// `rope_scaling`, or an entry of `rope_parameters`.
#[derive(Deserialize)]
pub(super) struct RopeParameters {
    pub(super) rope_theta: Option<f64>,
    rope_type: Option<RopeType>,
    /// The same in older files; some have both.
    #[serde(rename = "type")]
    old_type: Option<RopeType>,
    factor: Option<f64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RopeType {
    Default,
    Linear,
    Ntk,
}

/// For heads of `d` columns: the theta of `parameters`, else `theta`, and the scaling of `parameters`.
pub(super) fn rotary(d: usize, parameters: Option<&RopeParameters>, theta: f64) -> Rotary {
    let theta = parameters.and_then(|parameters| parameters.rope_theta).unwrap_or(theta);
    let factor = parameters.and_then(|parameters| parameters.factor).unwrap_or(1.0);
    match parameters.and_then(|parameters| parameters.rope_type.or(parameters.old_type)) {
        None | Some(RopeType::Default) => Rotary::new(d, theta),
        Some(RopeType::Linear) => Rotary::new(d, theta).slower(factor),
        // For texts of any length, as GTE has it: the slowest pair turns `factor` times slower, the fastest hardly.
        Some(RopeType::Ntk) => Rotary::new(d, theta * factor).slower(factor.powf(2.0 / d as f64)),
    }
}
