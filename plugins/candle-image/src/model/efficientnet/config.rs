//! config.json of EfficientNet.

use serde::Deserialize;

use crate::preprocessing::{Colours, IMAGENET};

/// A divisor that is applied twice.
pub(crate) const COLOURS: Colours = [IMAGENET[0], [0.478_539_44, 0.473_286_4, 0.474_341_63]];

/// config.json.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) image_size: u32,
    pub(super) width_coefficient: f64,
    pub(super) depth_coefficient: f64,
    pub(super) depth_divisor: usize,
    pub(super) kernel_sizes: Vec<usize>,
    pub(super) in_channels: Vec<usize>,
    pub(super) out_channels: Vec<usize>,
    /// Blocks that see an odd number of pixels, and zeros on both sides of them.
    pub(super) depthwise_padding: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) num_block_repeats: Vec<usize>,
    pub(super) expand_ratios: Vec<usize>,
    pub(super) squeeze_expansion_ratio: f64,
    pub(super) hidden_act: Swish,
    pub(super) batch_norm_eps: f64,
    pub(super) pooling_type: Mean,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Swish {
    #[serde(alias = "silu")]
    Swish,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mean {
    Mean,
}

/// B7.
impl Default for Config {
    fn default() -> Self {
        Self {
            image_size: 600,
            width_coefficient: 2.0,
            depth_coefficient: 3.1,
            depth_divisor: 8,
            kernel_sizes: vec![3, 3, 5, 3, 5, 5, 3],
            in_channels: vec![32, 16, 24, 40, 80, 112, 192],
            out_channels: vec![16, 24, 40, 80, 112, 192, 320],
            depthwise_padding: Vec::new(),
            strides: vec![1, 2, 2, 2, 1, 2, 1],
            num_block_repeats: vec![1, 2, 2, 3, 3, 4, 1],
            expand_ratios: vec![1, 6, 6, 6, 6, 6, 6],
            squeeze_expansion_ratio: 0.25,
            hidden_act: Swish::Swish,
            batch_norm_eps: 1e-3,
            pooling_type: Mean::Mean,
        }
    }
}

impl Config {
    /// `channels` of B0, in steps of the divisor, and no more than a tenth below.
    pub(super) fn width(&self, channels: usize) -> usize {
        let (wanted, step) = (channels as f64 * self.width_coefficient, self.depth_divisor);
        let width = step.max((wanted + step as f64 / 2.0) as usize / step * step);
        if (width as f64) < 0.9 * wanted { width + step } else { width }
    }
}
