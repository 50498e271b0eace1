//! UNICOM (An et al., arXiv 2304.05884), with the names of its authors' code; a checkpoint is only a state dict.

use candle_core::{DType, Result, Tensor, bail};
use candle_kit::nn::{Act, LayerNorm, Linear, head_width};
use candle_kit::{Layer, Pooling};
use candle_nn::{Module, VarBuilder};

use super::Model;
use super::batch_norm::fold;
use super::embeddings::Embeddings;
use super::patches::Patches;
use super::transformer::{Block, Mlp, Transformer};
use crate::preprocessing::{CLIP, Centre, Filter, Preprocessing, Resize};

/// Values of a head, in all published models.
const HEAD: usize = 64;
const NORM_EPSILON: f64 = 1e-5;
const BATCH_NORM_EPSILON: f64 = 2e-5;

pub(super) struct Unicom {
    width: usize,
    embedding_size: usize,
    transformer: Transformer,
    norm: LayerNorm,
    /// Over all patches' states one after the other; batch normalisation is in the weights.
    feature: [Linear; 2],
}

impl Unicom {
    /// Every size is that of a tensor.
    pub(super) fn load(vb: VarBuilder<'_>) -> Result<(Self, Preprocessing)> {
        let (width, _, patch, _) = vb.get_unchecked("patch_embed.proj.weight")?.dims4()?;
        let positions = vb.get_unchecked("pos_embed")?.squeeze(0)?;
        let count = positions.dim(0)?;
        let side = count.isqrt();
        if side * side != count {
            bail!("{count} positions are not a square grid");
        }
        // Narrower ones than any that was published have a head.
        let heads = (width / HEAD).max(1);
        head_width(heads, width)?;
        let depth = (0..).take_while(|index| vb.contains_tensor(&format!("blocks.{index}.norm1.weight"))).count();
        let blocks =
            (0..depth).map(|index| block(width, heads, &vb.pp(format!("blocks.{index}")))).collect::<Result<_>>()?;
        let feature = vb.pp("feature");
        let embedding_size = feature.get_unchecked("2.weight")?.dim(0)?;
        let model = Self {
            width,
            embedding_size,
            transformer: Transformer {
                embeddings: Embeddings {
                    patches: Patches::load(patch, 3, width, vb.pp("patch_embed.proj"))?,
                    special: None,
                    positions,
                },
                pre_norm: None,
                blocks,
            },
            norm: LayerNorm::load(width, NORM_EPSILON, vb.pp("norm"))?,
            feature: [
                normalised(count * width, width, &feature.pp("0"), &feature.pp("1"))?,
                normalised(width, embedding_size, &feature.pp("2"), &feature.pp("3"))?,
            ],
        };
        let size = side * patch;
        // torchvision's Resize and CenterCrop.
        let preprocessing =
            Preprocessing::new([size; 2], Resize::Short(size as u32), Centre::Even, Filter::Bicubic, CLIP);
        Ok((model, preprocessing))
    }
}

fn block(width: usize, heads: usize, vb: &VarBuilder<'_>) -> Result<Block> {
    let norm = |name: &str| LayerNorm::load(width, NORM_EPSILON, vb.pp(name));
    let inner = vb.get_unchecked("mlp.fc1.weight")?.dim(0)?;
    Ok(Block {
        heads,
        norm1: norm("norm1")?,
        qkv: Linear::load_without_bias(width, 3 * width, vb.pp("attn.qkv"))?,
        proj: Linear::load(width, width, vb.pp("attn.proj"))?,
        norm2: norm("norm2")?,
        mlp: Mlp::Plain(
            Act::Relu6.after(Linear::load(width, inner, vb.pp("mlp.fc1"))?),
            Linear::load(inner, width, vb.pp("mlp.fc2"))?,
        ),
    })
}

/// A linear layer without a bias, and the batch normalisation behind it.
fn normalised(inputs: usize, outputs: usize, linear: &VarBuilder<'_>, norm: &VarBuilder<'_>) -> Result<Linear> {
    let weight = linear.to_dtype(DType::F32).get((outputs, inputs), "weight")?;
    let (weight, bias) = fold(&weight, norm, BATCH_NORM_EPSILON)?;
    Linear::new(&weight, &bias)
}

impl Model for Unicom {
    fn blocks(&self) -> usize {
        self.transformer.blocks.len()
    }

    fn poolings(&self) -> &'static [Pooling] {
        &[Pooling::Pooler, Pooling::Mean]
    }

    fn width(&self, _: Layer, pooling: Pooling) -> usize {
        if pooling == Pooling::Pooler { self.embedding_size } else { self.width }
    }

    /// The first layer of `feature` is as large as all else together and is read once for all pictures.
    fn pictures(&self) -> usize {
        self.transformer.pictures().max(4)
    }

    fn forward(&self, x: &Tensor, layer: Layer, pooling: Pooling) -> Result<Tensor> {
        let states = self.transformer.forward(x, layer)?;
        if let Layer::After(_) = layer {
            return states.pool(pooling);
        }
        let states = states.norm(&self.norm)?;
        match pooling {
            Pooling::Pooler => {
                let all = states.by_picture()?.flatten_from(1)?;
                self.feature[1].forward(&self.feature[0].forward(&all)?)?.to_dtype(DType::F32)
            }
            _ => states.pool(pooling),
        }
    }
}
