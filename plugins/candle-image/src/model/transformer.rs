//! The common parts of vision transformers: pre-norm blocks, states and their pooling. All pictures of a batch have the
//! same number of tokens.

use candle_core::{Result, Tensor};
use candle_kit::Layer;
use candle_kit::nn::{LayerNorm, Linear, Packing, attention};
use candle_nn::{Module, VarBuilder};

use super::embeddings::Embeddings;
use super::states::States;

/// From pictures to states.
pub(crate) struct Transformer {
    pub(crate) embeddings: Embeddings,
    /// The layer between the embeddings and the first block; its output is `hidden_states[0]`.
    pub(crate) pre_norm: Option<LayerNorm>,
    pub(crate) blocks: Vec<Block>,
}

impl Transformer {
    /// Tokens that keep one core of a CPU busy, and still lie in its cache.
    const CPU_TOKENS: usize = 512;

    /// See [`super::Model::pictures`].
    pub(crate) fn pictures(&self) -> usize {
        (Self::CPU_TOKENS / self.embeddings.tokens()).max(2)
    }

    pub(crate) fn forward(&self, x: &Tensor, layer: Layer) -> Result<States> {
        let mut states = self.embeddings.forward(x)?;
        if let Some(norm) = &self.pre_norm {
            states = states.norm(norm)?;
        }
        let packing = Packing::new(vec![self.embeddings.tokens(); states.pictures], x.device())?;
        let blocks = layer.of(&self.blocks);
        for block in blocks {
            states.tokens = block.forward(&states.tokens, &packing)?;
        }
        Ok(states)
    }
}

/// `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
pub(crate) struct Block {
    pub(crate) heads: usize,
    pub(crate) norm1: LayerNorm,
    /// Query, key and value side by side: `width -> 3 width`.
    pub(crate) qkv: Linear,
    pub(crate) proj: Linear,
    pub(crate) norm2: LayerNorm,
    pub(crate) mlp: Mlp,
}

pub(crate) enum Mlp {
    /// The first with its activation.
    Plain(Linear, Linear),
    /// `down(silu(gate x) * up x)`, the first with its activation.
    SwiGlu { gate: Linear, up: Linear, down: Linear },
}

impl Block {
    /// `tokens x width`, in and out.
    fn forward(&self, x: &Tensor, packing: &Packing) -> Result<Tensor> {
        let qkv = self.qkv.forward(&self.norm1.forward(x)?)?;
        let width = x.dim(1)?;
        let part = |index| qkv.narrow(1, index * width, width);
        let context = attention(&part(0)?, &part(1)?, &part(2)?, self.heads, packing)?;
        let x = self.proj.forward_sum(&context, x)?;
        let y = self.norm2.forward(&x)?;
        match &self.mlp {
            Mlp::Plain(fc1, fc2) => fc2.forward_sum(&fc1.forward(&y)?, &x),
            Mlp::SwiGlu { gate, up, down } => down.forward_sum(&(gate.forward(&y)? * up.forward(&y)?)?, &x),
        }
    }
}

/// Query, key and value below `names`, side by side; their biases are zero where there are none.
pub(crate) fn qkv(width: usize, names: [&str; 3], vb: &VarBuilder<'_>) -> Result<Linear> {
    let parts = names.map(|name| vb.pp(name));
    let weights = parts.iter().map(|vb| vb.get((width, width), "weight")).collect::<Result<Vec<_>>>()?;
    let bias = |vb: &VarBuilder<'_>| match vb.contains_tensor("bias") {
        true => vb.get(width, "bias"),
        false => Tensor::zeros(width, vb.dtype(), vb.device()),
    };
    let biases = parts.iter().map(bias).collect::<Result<Vec<_>>>()?;
    Linear::new(&Tensor::cat(&weights, 0)?, &Tensor::cat(&biases, 0)?)
}

/// A linear layer, and a scale of each of its outputs in it.
pub(crate) fn scaled(inputs: usize, outputs: usize, scale: &Tensor, vb: VarBuilder<'_>) -> Result<Linear> {
    let (weight, bias) = (vb.get((outputs, inputs), "weight")?, vb.get(outputs, "bias")?);
    Linear::new(&weight.broadcast_mul(&scale.reshape((outputs, 1))?)?, &(bias * scale)?)
}
