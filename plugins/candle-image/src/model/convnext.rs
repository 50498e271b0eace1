//! ConvNeXt (Liu et al., arXiv 2201.03545) and ConvNeXt V2 (Woo et al., arXiv 2301.00808), with the names of the
//! `transformers` package, over `pictures x height x width x channels`. The layer scales are in the weights behind
//! them.

use candle_core::{D, DType, Result, Tensor, bail};
use candle_kit::checkpoint::within;
use candle_kit::nn::{Act, LayerNorm, Linear};
use candle_kit::{Layer, Pooling};
use candle_nn::{Module, VarBuilder};
use serde::Deserialize;

use super::Model;
use super::patches::Patches;
use super::transformer::scaled;
use crate::channels;
use crate::depthwise::Depthwise;
use crate::reach::Padding;

/// The epsilon of all normalisations but the last.
const EPSILON: f64 = 1e-6;

/// config.json.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Config {
    patch_size: usize,
    hidden_sizes: Vec<usize>,
    depths: Vec<usize>,
    hidden_act: Act,
    layer_norm_eps: f64,
    pub(super) image_size: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            patch_size: 4,
            hidden_sizes: vec![96, 192, 384, 768],
            depths: vec![3, 3, 9, 3],
            hidden_act: Act::Gelu,
            layer_norm_eps: 1e-12,
            image_size: 224,
        }
    }
}

pub(super) struct ConvNext {
    widths: Vec<usize>,
    patches: Patches,
    norm: LayerNorm,
    stages: Vec<Stage>,
    layernorm: LayerNorm,
}

struct Stage {
    /// Halves each side.
    downsampling: Option<(LayerNorm, Patches)>,
    layers: Vec<Block>,
}

struct Block {
    dwconv: Depthwise,
    layernorm: LayerNorm,
    pwconv1: Linear,
    grn: Option<ResponseNorm>,
    pwconv2: Linear,
}

/// The second version's normalisation of each channel's response over a picture.
struct ResponseNorm {
    weight: Tensor,
    bias: Tensor,
}

impl ConvNext {
    pub(super) fn load(config: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        let vb = within(vb, &["convnext", "convnextv2"], "embeddings.patch_embeddings.weight");
        let widths = &config.hidden_sizes;
        let (Some(&first), Some(&last)) = (widths.first(), widths.last()) else { bail!("no `hidden_sizes`") };
        if widths.len() != config.depths.len() {
            bail!("{} `hidden_sizes` but {} `depths`", widths.len(), config.depths.len());
        }
        let (mut stages, mut inputs) = (Vec::new(), first);
        for (index, (&width, &depth)) in widths.iter().zip(&config.depths).enumerate() {
            let vb = vb.pp(format!("encoder.stages.{index}"));
            let downsampling = match index {
                0 => None,
                _ => Some((
                    LayerNorm::load(inputs, EPSILON, vb.pp("downsampling_layer.0"))?,
                    Patches::load(2, inputs, width, vb.pp("downsampling_layer.1"))?,
                )),
            };
            let layer = |index| Block::load(width, config.hidden_act, &vb.pp(format!("layers.{index}")));
            stages.push(Stage { downsampling, layers: (0..depth).map(layer).collect::<Result<_>>()? });
            inputs = width;
        }
        let embeddings = vb.pp("embeddings");
        Ok(Self {
            patches: Patches::load(config.patch_size, 3, first, embeddings.pp("patch_embeddings"))?,
            norm: LayerNorm::load(first, EPSILON, embeddings.pp("layernorm"))?,
            stages,
            layernorm: LayerNorm::load(last, config.layer_norm_eps, vb.pp("layernorm"))?,
            widths: widths.clone(),
        })
    }
}

impl Model for ConvNext {
    fn blocks(&self) -> usize {
        self.stages.len()
    }

    fn poolings(&self) -> &'static [Pooling] {
        &[Pooling::Pooler, Pooling::Mean]
    }

    fn width(&self, layer: Layer, _: Pooling) -> usize {
        match layer {
            Layer::Last => self.widths[self.widths.len() - 1],
            Layer::After(stages) => self.widths[stages.saturating_sub(1)],
        }
    }

    fn forward(&self, x: &Tensor, layer: Layer, pooling: Pooling) -> Result<Tensor> {
        let mut x = self.norm.forward(&self.patches.forward(x)?)?;
        let stages = layer.of(&self.stages);
        for stage in stages {
            if let Some((norm, patches)) = &stage.downsampling {
                x = patches.forward(&norm.forward(&x)?)?;
            }
            for layer in &stage.layers {
                x = layer.forward(&x)?;
            }
        }
        let mean = channels::mean(&x)?;
        match pooling {
            Pooling::Pooler => self.layernorm.forward(&mean)?.to_dtype(DType::F32),
            _ => mean.to_dtype(DType::F32),
        }
    }
}

impl Block {
    fn load(width: usize, act: Act, vb: &VarBuilder<'_>) -> Result<Self> {
        let inner = 4 * width;
        let grn = vb.pp("grn");
        let part = |name| grn.get((1, 1, 1, inner), name)?.flatten_all();
        let grn = match grn.contains_tensor("weight") {
            true => Some(ResponseNorm { weight: part("weight")?, bias: part("bias")? }),
            false => None,
        };
        let pwconv2 = vb.pp("pwconv2");
        let dwconv = vb.pp("dwconv");
        Ok(Self {
            dwconv: Depthwise::new(&dwconv.get((width, 1, 7, 7), "weight")?, &dwconv.get(width, "bias")?)?
                .padding(Padding::Around(3, 3)),
            layernorm: LayerNorm::load(width, EPSILON, vb.pp("layernorm"))?,
            pwconv1: act.after(Linear::load(width, inner, vb.pp("pwconv1"))?),
            grn,
            pwconv2: match vb.contains_tensor("layer_scale_parameter") {
                true => scaled(inner, width, &vb.get(width, "layer_scale_parameter")?, pwconv2)?,
                false => Linear::load(inner, width, pwconv2)?,
            },
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, h, w, c) = x.dims4()?;
        let y = self.layernorm.forward(&self.dwconv.forward(x)?)?;
        let mut y = self.pwconv1.forward(&y.reshape((n * h * w, c))?)?;
        if let Some(grn) = &self.grn {
            y = grn.forward(&y.reshape((n, h * w, 4 * c))?)?.flatten(0, 1)?;
        }
        self.pwconv2.forward_sum(&y, &x.reshape((n * h * w, c))?)?.reshape((n, h, w, c))
    }
}

impl ResponseNorm {
    /// `pictures x pixels x channels`, in and out.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let response = x.to_dtype(DType::F32)?.sqr()?.sum_keepdim(1)?.sqrt()?;
        let relative = response.broadcast_div(&(response.mean_keepdim(D::Minus1)? + 1e-6)?)?.to_dtype(x.dtype())?;
        // weight (x r) + bias + x = x (1 + weight r) + bias
        let scale = (relative.broadcast_mul(&self.weight)? + 1.0)?;
        x.broadcast_mul(&scale)?.broadcast_add(&self.bias)
    }
}
