//! Activations by their names in config.json.

use candle_nn::Activation;
use serde::{Deserialize, Serialize};

use super::Linear;

/// An activation, CLIP's `quick_gelu` among them.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// By the error function.
    Gelu,
    /// By its approximation with tanh.
    #[serde(alias = "gelu_new")]
    GeluPytorchTanh,
    /// `x sigmoid(1.702 x)`
    QuickGelu,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x sigmoid(x)`
    #[serde(alias = "swish")]
    Silu,
}

impl Act {
    /// Puts itself behind `layer`.
    pub fn after(self, layer: Linear) -> Linear {
        match self {
            Self::QuickGelu => layer.then_quick_gelu(),
            Self::Gelu => layer.then(Activation::Gelu),
            Self::GeluPytorchTanh => layer.then(Activation::GeluPytorchTanh),
            Self::Relu => layer.then(Activation::Relu),
            Self::Relu6 => layer.then(Activation::Relu6),
            Self::Silu => layer.then(Activation::Silu),
        }
    }
}
