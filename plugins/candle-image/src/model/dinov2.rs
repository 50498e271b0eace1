//! DINOv2 (Oquab et al., arXiv 2304.07193), and with registers (Darcet et al., arXiv 2309.16588), with the names of the
//! `transformers` package. The layer scales are in the weights behind them.

use candle_core::{Result, Tensor};
use candle_kit::checkpoint::within;
use candle_kit::nn::{Act, LayerNorm, Linear, head_width};
use candle_kit::{Layer, Pooling};
use candle_nn::{Activation, VarBuilder};
use serde::Deserialize;

use super::Model;
use super::embeddings::Embeddings;
use super::patches::Patches;
use super::positions::Bicubic;
use super::transformer::{Block, Mlp, Transformer, qkv, scaled};

/// config.json.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Config {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    mlp_ratio: f64,
    hidden_act: Act,
    layer_norm_eps: f64,
    patch_size: usize,
    use_swiglu_ffn: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model_type: "dinov2".into(),
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            mlp_ratio: 4.0,
            hidden_act: Act::Gelu,
            layer_norm_eps: 1e-6,
            patch_size: 14,
            use_swiglu_ffn: false,
        }
    }
}

pub(super) struct DinoV2 {
    width: usize,
    transformer: Transformer,
    layernorm: LayerNorm,
}

impl DinoV2 {
    /// Loads the network for pictures of `size`: height and width.
    pub(super) fn load(config: &Config, size: [usize; 2], vb: VarBuilder<'_>) -> Result<Self> {
        let vb = within(vb, &["dinov2"], "embeddings.cls_token");
        let width = config.hidden_size;
        head_width(config.num_attention_heads, width)?;
        let block = |index| block(config, &vb.pp(format!("encoder.layer.{index}")));
        Ok(Self {
            width,
            transformer: Transformer {
                embeddings: embeddings(config, size, &vb.pp("embeddings"))?,
                pre_norm: None,
                blocks: (0..config.num_hidden_layers).map(block).collect::<Result<_>>()?,
            },
            layernorm: LayerNorm::load(width, config.layer_norm_eps, vb.pp("layernorm"))?,
        })
    }
}

/// Registers have no position.
fn embeddings(config: &Config, size: [usize; 2], vb: &VarBuilder<'_>) -> Result<Embeddings> {
    let width = config.hidden_size;
    // As the two were published.
    let bicubic = match config.model_type == "dinov2_with_registers" {
        true => Bicubic::Antialiased,
        false => Bicubic::Plain,
    };
    let patches = Patches::load(config.patch_size, 3, width, vb.pp("patch_embeddings.projection"))?;
    let class = vb.get((1, 1, width), "cls_token")?.squeeze(0)?;
    let table = vb.get_unchecked("position_embeddings")?.squeeze(0)?;
    let embeddings = Embeddings::new(patches, Some(class), &table, size, bicubic)?;
    match vb.contains_tensor("register_tokens") {
        true => embeddings.with_registers(&vb.get_unchecked("register_tokens")?.squeeze(0)?),
        false => Ok(embeddings),
    }
}

fn block(config: &Config, vb: &VarBuilder<'_>) -> Result<Block> {
    let width = config.hidden_size;
    let inner = (width as f64 * config.mlp_ratio) as usize;
    let scale = |name: &str| vb.pp(name).get(width, "lambda1");
    let (attention, mlp) = (vb.pp("attention"), vb.pp("mlp"));
    let second = |inner, name: &str| scaled(inner, width, &scale("layer_scale2")?, mlp.pp(name));
    let mlp = if config.use_swiglu_ffn {
        let inner = (inner * 2 / 3).div_ceil(8) * 8;
        // Gate and values in one layer.
        let both = mlp.pp("weights_in");
        let (weight, bias) = (both.get((2 * inner, width), "weight")?, both.get(2 * inner, "bias")?);
        let half = |from| Linear::new(&weight.narrow(0, from, inner)?, &bias.narrow(0, from, inner)?);
        Mlp::SwiGlu { gate: half(0)?.then(Activation::Silu), up: half(inner)?, down: second(inner, "weights_out")? }
    } else {
        Mlp::Plain(config.hidden_act.after(Linear::load(width, inner, mlp.pp("fc1"))?), second(inner, "fc2")?)
    };
    let norm = |name: &str| LayerNorm::load(width, config.layer_norm_eps, vb.pp(name));
    Ok(Block {
        heads: config.num_attention_heads,
        norm1: norm("norm1")?,
        qkv: qkv(width, ["query", "key", "value"], &attention.pp("attention"))?,
        proj: scaled(width, width, &scale("layer_scale1")?, attention.pp("output.dense"))?,
        norm2: norm("norm2")?,
        mlp,
    })
}

impl Model for DinoV2 {
    fn blocks(&self) -> usize {
        self.transformer.blocks.len()
    }

    /// The class token of the last layer is also what upstream calls its pooler's output.
    fn poolings(&self) -> &'static [Pooling] {
        &[Pooling::Cls, Pooling::Mean]
    }

    fn width(&self, _: Layer, _: Pooling) -> usize {
        self.width
    }

    fn pictures(&self) -> usize {
        self.transformer.pictures()
    }

    fn forward(&self, x: &Tensor, layer: Layer, pooling: Pooling) -> Result<Tensor> {
        let states = self.transformer.forward(x, layer)?;
        match layer {
            Layer::Last => states.norm(&self.layernorm)?.pool(pooling),
            Layer::After(_) => states.pool(pooling),
        }
    }
}
