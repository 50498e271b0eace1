//! The states of a transformer over pictures, by layer.

use candle_core::{D, DType, Result, Tensor, bail};
use candle_kit::Pooling;
use candle_kit::nn::LayerNorm;
use candle_nn::Module;

/// The states of some pictures at a layer.
pub(crate) struct States {
    /// `pictures * tokens x width`
    pub(crate) tokens: Tensor,
    pub(crate) pictures: usize,
    /// Tokens before the patches.
    pub(crate) special: usize,
}

impl States {
    pub(crate) fn norm(self, norm: &LayerNorm) -> Result<Self> {
        Ok(Self { tokens: norm.forward(&self.tokens)?, ..self })
    }

    /// `pictures x tokens x width`
    pub(crate) fn by_picture(&self) -> Result<Tensor> {
        self.tokens.reshape((self.pictures, (), self.tokens.dim(D::Minus1)?))
    }

    /// `pictures x width`: the class token.
    pub(crate) fn cls(&self) -> Result<Tensor> {
        self.by_picture()?.narrow(1, 0, 1)?.squeeze(1)?.contiguous()
    }

    /// `pictures x width`, f32: by the class token, or by the mean over the patches (and nothing else).
    pub(crate) fn pool(&self, pooling: Pooling) -> Result<Tensor> {
        match pooling {
            Pooling::Cls => self.cls()?.to_dtype(DType::F32),
            Pooling::Mean => {
                let tokens = self.by_picture()?.to_dtype(DType::F32)?;
                tokens.narrow(1, self.special, tokens.dim(1)? - self.special)?.mean(1)
            }
            Pooling::Last | Pooling::Pooler => bail!("pooling {pooling} is done by the model itself"),
        }
    }
}
