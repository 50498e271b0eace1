//! The text tower of CLAP (Wu et al., arXiv 2211.06687), with the names of the `transformers` package: a RoBERTa.

use candle_core::{Result, Tensor, bail};
use candle_kit::Pooling;
use candle_kit::nn::Linear;
use candle_nn::{Activation, Module, VarBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bert::{self, BERT, Bert, Names};
use super::outline::Projection;
use super::{Model, Outline, Pass};

/// config.json, or its `text_config`.
#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(flatten)]
    text: bert::Config,
    projection_dim: usize,
    projection_hidden_act: Activation,
}

/// What config.json leaves out.
pub(super) fn usual() -> Value {
    json!({
        "vocab_size": 50_265, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 514, "type_vocab_size": 1,
        "layer_norm_eps": 1e-12, "pad_token_id": 1, "projection_dim": 512, "projection_hidden_act": "relu",
    })
}

const NAMES: Names = Names { prefix: "text_model", ..BERT };

pub(super) struct Clap {
    text_model: Bert,
    text_projection: Option<[Linear; 2]>,
}

impl Clap {
    pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        let (width, projected) = (config.text.hidden_size, config.projection_dim);
        let layers = vb.pp("text_projection");
        let text_projection = match layers.contains_tensor("linear1.weight") {
            true => Some([
                Linear::load(width, projected, layers.pp("linear1"))?.then(config.projection_hidden_act),
                Linear::load(projected, projected, layers.pp("linear2"))?,
            ]),
            false => None,
        };
        let first_position = config.text.pad_token_id.unwrap_or(1) + 1;
        Ok(Self { text_model: Bert::load_with(config.text, &NAMES, first_position, vb)?, text_projection })
    }
}

impl Model for Clap {
    fn outline(&self) -> Outline {
        let outline = self.text_model.outline();
        let projection = match &self.text_projection {
            Some([_, last]) => Projection::To(last.outputs()),
            None => Projection::None,
        };
        match outline.poolings.contains(&Pooling::Pooler) {
            true => Outline { projection, poolings: &[Pooling::Pooler, Pooling::Cls, Pooling::Mean], ..outline },
            false => outline,
        }
    }

    fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        self.text_model.forward(ids, pass)
    }

    fn pooler(&self, states: &Tensor) -> Result<Tensor> {
        self.text_model.pooler(states)
    }

    fn project(&self, pooled: &Tensor) -> Result<Tensor> {
        match &self.text_projection {
            Some([linear1, linear2]) => linear2.forward(&linear1.forward(pooled)?),
            None => bail!("the checkpoint has no projection"),
        }
    }
}
