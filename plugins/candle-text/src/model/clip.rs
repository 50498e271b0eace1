//! The text tower of CLIP (Radford et al., arXiv 2103.00020), with the names of the `transformers` package.

use candle_core::{Result, Tensor, bail};
use candle_kit::Pooling;
use candle_kit::checkpoint::within;
use candle_kit::nn::{Linear, Seen};
use candle_nn::{Module, VarBuilder};

use super::outline::Projection;
use super::pre_norm::{Config, PreNorm};
use super::{Model, Outline, Pass};

/// The `eos_token_id` of configs older than the fix of it, which the vocabulary contradicts.
const OLD_EOS: u32 = 2;

pub(super) struct Clip {
    transformer: PreNorm,
    text_projection: Option<Linear>,
    eos_token_id: u32,
}

impl Clip {
    pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        let (width, projected) = (config.hidden_size, config.projection_dim);
        let tower = within(vb.clone(), &["text_model"], "embeddings.token_embedding.weight");
        let text_projection = match vb.contains_tensor("text_projection.weight") {
            true => Some(Linear::load_without_bias(width, projected, vb.pp("text_projection"))?),
            false => None,
        };
        Ok(Self {
            transformer: PreNorm::load(&config, Seen::causal(), tower)?,
            text_projection,
            eos_token_id: config.eos_token_id,
        })
    }
}

impl Model for Clip {
    fn outline(&self) -> Outline {
        let projection =
            self.text_projection.as_ref().map_or(Projection::None, |layer| Projection::To(layer.outputs()));
        Outline { projection, ..self.transformer.outline(&[Pooling::Pooler, Pooling::Last, Pooling::Mean]) }
    }

    fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        self.transformer.forward(ids, pass)
    }

    /// The end of the text: the first such token or, where config.json has the old number for it, the greatest.
    fn pooled(&self, ids: &[u32]) -> usize {
        let end = match self.eos_token_id {
            OLD_EOS => ids.iter().copied().max().unwrap_or_default(),
            eos => eos,
        };
        ids.iter().position(|&id| id == end).unwrap_or(0)
    }

    fn pooler(&self, states: &Tensor) -> Result<Tensor> {
        Ok(states.clone())
    }

    fn project(&self, pooled: &Tensor) -> Result<Tensor> {
        match &self.text_projection {
            Some(layer) => layer.forward(pooled),
            None => bail!("the checkpoint has no projection"),
        }
    }
}
