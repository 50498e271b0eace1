//! The text tower of SigLIP and SigLIP 2 (Zhai et al., arXiv 2303.15343), with the names of the `transformers` package.
//! It sees padding as it sees any other token, and pools the last token of all, whichever that is.

use candle_core::{Result, Tensor};
use candle_kit::Pooling;
use candle_kit::checkpoint::within;
use candle_kit::nn::{Linear, Seen};
use candle_nn::{Module, VarBuilder};

use super::outline::Projection;
use super::pre_norm::{Config, PreNorm};
use super::{Model, Outline, Pass};

pub(super) struct Siglip {
    transformer: PreNorm,
    head: Linear,
}

impl Siglip {
    pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        let width = config.hidden_size;
        let vb = within(vb, &["text_model"], "embeddings.token_embedding.weight");
        Ok(Self {
            transformer: PreNorm::load(&config, Seen::default(), vb.clone())?,
            head: Linear::load(width, config.projection_size.unwrap_or(width), vb.pp("head"))?,
        })
    }
}

impl Model for Siglip {
    fn outline(&self) -> Outline {
        Outline {
            pooler_size: self.head.outputs(),
            projection: Projection::Pooler,
            pads: true,
            ..self.transformer.outline(&[Pooling::Pooler, Pooling::Mean])
        }
    }

    fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        self.transformer.forward(ids, pass)
    }

    fn pooled(&self, ids: &[u32]) -> usize {
        ids.len() - 1
    }

    fn pooler(&self, states: &Tensor) -> Result<Tensor> {
        self.head.forward(states)
    }
}
