//! The fusion adapter h: L blocks of `x + W2 dropout(gelu(W1 LayerNorm(x)))`, a LayerNorm, and a Linear into the shared
//! space (arXiv 2312.10144, section 5.1 and appendix).

use super::layers::{Linear, Norm, Normed};
use super::parameter::{Parameter, Source};
use crate::device::{Buffer, Device};
use crate::kernels::{Dropout, Gelu, GeluBackward, hash};

/// Dimensions of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Of the latents.
    pub(super) width: usize,
    /// Inside a block.
    pub(super) inner: usize,
    pub(super) blocks: usize,
    /// Of the shared space.
    pub(super) shared: usize,
}

/// An adapter.
pub(super) struct Mlp {
    shape: Shape,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
}

struct Block {
    norm: Norm,
    up: Linear,
    down: Linear,
}

/// What a forward pass over `rows` rows leaves behind.
pub(super) struct Passed {
    rows: usize,
    blocks: Vec<PassedBlock>,
    norm: Normed,
    gradients: Option<Gradients>,
}

struct PassedBlock {
    norm: Normed,
    /// Before and after GELU and dropout, `rows x inner`.
    up: Buffer,
    gelu: Buffer,
    /// `rows x width`
    out: Buffer,
}

/// Room for gradients on their way back: to the stream, to a LayerNorm's output, and within a block.
struct Gradients {
    stream: Buffer,
    normed: Buffer,
    inner: Buffer,
}

impl Passed {
    /// Room for `rows` rows, with that for a backward pass if it is for `training`.
    pub(super) fn new(
        device: &dyn Device,
        Shape { width, inner, blocks, .. }: Shape,
        rows: usize,
        training: bool,
    ) -> Self {
        let block = |_| PassedBlock {
            norm: Normed::new(device, rows, width),
            up: device.zeros(rows * inner),
            gelu: device.zeros(rows * inner),
            out: device.zeros(rows * width),
        };
        let gradients = training.then(|| Gradients {
            stream: device.zeros(rows * width),
            normed: device.zeros(rows * width),
            inner: device.zeros(rows * inner),
        });
        Self { rows, blocks: (0..blocks).map(block).collect(), norm: Normed::new(device, rows, width), gradients }
    }
}

/// A forward pass's dropout: the share, and the key of the tower in the step.
#[derive(Clone, Copy)]
pub(super) struct Drop {
    pub(super) share: f32,
    pub(super) key: u32,
}

impl Drop {
    /// Of block `block`.
    fn of(self, block: usize) -> Dropout {
        if self.share > 0.0 { Dropout::new(self.share, hash(self.key ^ hash(block as u32 + 1))) } else { Dropout::NONE }
    }
}

impl Mlp {
    pub(super) fn new(device: &dyn Device, source: &mut dyn Source, shape: Shape) -> Self {
        let Shape { width, inner, blocks, shared } = shape;
        let mut block = |index| Block {
            norm: Norm::new(device, source, &format!("blocks.{index}.norm"), width),
            up: Linear::new(device, source, &format!("blocks.{index}.up"), width, inner),
            down: Linear::new(device, source, &format!("blocks.{index}.down"), inner, width),
        };
        let blocks = (0..blocks).map(&mut block).collect();
        let norm = Norm::new(device, source, "norm", width);
        Self { shape, blocks, norm, head: Linear::new(device, source, "head", width, shared) }
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn parameters(&self) -> Vec<&Parameter> {
        let blocks = self.blocks.iter().flat_map(|Block { norm, up, down }| {
            norm.parameters().into_iter().chain(up.parameters()).chain(down.parameters())
        });
        blocks.chain(self.norm.parameters()).chain(self.head.parameters()).collect()
    }

    /// Writes `out (rows x shared)` of the latents `x (rows x width)`.
    pub(super) fn forward(&self, device: &dyn Device, x: &Buffer, drop: Drop, passed: &Passed, out: &Buffer) {
        let rows = passed.rows;
        let mut stream = x;
        for (index, (block, passed)) in self.blocks.iter().zip(&passed.blocks).enumerate() {
            block.norm.forward(device, rows, stream, &passed.norm);
            block.up.forward(device, rows, &passed.norm.out, None, &passed.up);
            let gelu = Gelu { count: rows * self.shape.inner, dropout: drop.of(index) };
            device.launch(&gelu, &[&passed.up], &[&passed.gelu]);
            block.down.forward(device, rows, &passed.gelu, Some(stream), &passed.out);
            stream = &passed.out;
        }
        self.norm.forward(device, rows, stream, &passed.norm);
        self.head.forward(device, rows, &passed.norm.out, None, out);
    }

    /// The gradients to all parameters from `gradient (rows x shared)`, after [`Mlp::forward`] of the same.
    pub(super) fn backward(&self, device: &dyn Device, x: &Buffer, drop: Drop, passed: &Passed, gradient: &Buffer) {
        let rows = passed.rows;
        let Gradients { stream, normed, inner } = passed.gradients.as_ref().expect("room for the backward pass");
        let input = |block: usize| block.checked_sub(1).map_or(x, |before| &passed.blocks[before].out);
        self.head.backward(device, rows, &passed.norm.out, gradient, Some(normed));
        self.norm.backward(device, rows, input(self.blocks.len()), &passed.norm, normed, (stream, false));
        for (index, (block, passed)) in self.blocks.iter().zip(&passed.blocks).enumerate().rev() {
            block.down.backward(device, rows, &passed.gelu, stream, Some(inner));
            let gelu = GeluBackward { count: rows * self.shape.inner, dropout: drop.of(index) };
            device.launch(&gelu, &[&passed.up], &[inner]);
            block.up.backward(device, rows, &passed.norm.out, inner, Some(normed));
            block.norm.backward(device, rows, input(index), &passed.norm, normed, (stream, true));
        }
    }
}
