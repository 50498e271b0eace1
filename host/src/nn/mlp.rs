//! The fusion adapter h: L blocks of `x + W2 dropout(gelu(W1 LayerNorm(x)))`, a LayerNorm, and a Linear into the shared
//! space (arXiv 2312.10144, section 5.1 and appendix). With a gate, W1 has twice the outputs, a and b, and a block is
//! `x + W2 dropout(gelu(a) b)`.

use super::backward::Backward;
use super::linear::Linear;
use super::mode::{Mode, Rows};
use super::norm::{Norm, Normed};
use super::parameter::{Keep, Parameter, Source};
use super::shape::{AdapterKind, Shape};
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{AddBias, Dropout, Gelu, GeluBackward, Glu, GluBackward, Kernel};

/// The adapter.
pub(crate) struct Mlp {
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

/// The record of a forward pass over a micro-batch for the backward pass.
pub(crate) struct Activations {
    blocks: Vec<BlockActivations>,
    norm: Normed,
}

struct BlockActivations {
    norm: Normed,
    /// Before bias, GELU, gate and dropout, `rows x up`.
    up: Buffer,
    /// `rows x width`
    out: Buffer,
}

/// Scratch space that passes share.
pub(crate) struct Scratch {
    /// After GELU and dropout, `rows x inner`.
    gelu: Buffer,
    gradients: Option<Gradients>,
}

/// Gradients on their way back: to the stream, to a LayerNorm's output, and within a block.
struct Gradients {
    stream: Buffer,
    normed: Buffer,
    inner: Buffer,
    /// That to the outputs of the first Linear, if there is a gate: `rows x up`.
    gated: Option<Buffer>,
}

impl Activations {
    /// Values of a row.
    pub(crate) fn values(shape: Shape) -> usize {
        let Shape { width, blocks, .. } = shape;
        blocks * (Normed::values(width) + shape.up() + width) + Normed::values(width)
    }

    pub(crate) fn new(device: &dyn Device, shape: Shape, rows: usize) -> Self {
        let Shape { width, blocks, .. } = shape;
        let block = |_| BlockActivations {
            norm: Normed::new(device, rows, width),
            up: device.zeros(rows * shape.up()),
            out: device.zeros(rows * width),
        };
        Self { blocks: (0..blocks).map(block).collect(), norm: Normed::new(device, rows, width) }
    }
}

impl Scratch {
    /// Values of a row, for training.
    pub(crate) fn values(shape: Shape) -> usize {
        let gated = if shape.kind == AdapterKind::Glu { shape.up() } else { 0 };
        2 * shape.inner + 2 * shape.width + gated
    }

    pub(crate) fn new(device: &dyn Device, shape: Shape, rows: usize, training: bool) -> Self {
        let Shape { width, inner, .. } = shape;
        let gradients = training.then(|| Gradients {
            stream: device.zeros(rows * width),
            normed: device.zeros(rows * width),
            inner: device.zeros(rows * inner),
            gated: (shape.kind == AdapterKind::Glu).then(|| device.zeros(rows * shape.up())),
        });
        Self { gelu: device.zeros(rows * inner), gradients }
    }
}

impl Mlp {
    pub(crate) fn new(device: &dyn Device, source: &mut dyn Source, shape: Shape) -> Self {
        let Shape { width, inner, blocks, shared, bias, .. } = shape;
        let mut block = |index| Block {
            norm: Norm::new(device, source, &format!("blocks.{index}.norm"), width),
            up: Linear::new(device, source, &format!("blocks.{index}.up"), [width, shape.up()], bias),
            down: Linear::new(device, source, &format!("blocks.{index}.down"), [inner, width], bias),
        };
        let blocks = (0..blocks).map(&mut block).collect();
        let norm = Norm::new(device, source, "norm", width);
        Self { shape, blocks, norm, head: Linear::new(device, source, "head", [width, shared], bias) }
    }

    pub(crate) fn parameters(&self) -> Vec<&Parameter> {
        let blocks = self
            .blocks
            .iter()
            .flat_map(|Block { norm, up, down }| norm.parameters().chain(up.parameters()).chain(down.parameters()));
        blocks.chain(self.norm.parameters()).chain(self.head.parameters()).collect()
    }

    /// The part of a block between its Linears, with a gate or without.
    fn activation(&self, Rows { first, count: rows }: Rows, dropout: Dropout) -> Box<dyn Kernel> {
        let width = self.shape.inner;
        match self.shape.kind {
            AdapterKind::Glu => Box::new(Glu { rows, width, first, dropout }),
            _ => Box::new(Gelu { rows, width, first, dropout }),
        }
    }

    /// Writes `out (count x shared)` of the latents `x (count x width)` of some rows.
    pub(crate) fn forward(
        &self,
        device: &dyn Device,
        rows: Rows,
        mode: Mode,
        x: Slice<'_>,
        (activations, scratch): (&Activations, &Scratch),
        out: Slice<'_>,
    ) {
        let Shape { width, inner, shared, .. } = self.shape;
        let count = rows.count;
        let use_ = (mode.version, mode.precision);
        let gelu = scratch.gelu.part(0, count * inner);
        let mut stream = x;
        for (index, (block, passed)) in self.blocks.iter().zip(&activations.blocks).enumerate() {
            let (up, down) = (passed.up.part(0, count * self.shape.up()), passed.out.part(0, count * width));
            block.norm.forward(device, count, mode.version, stream, &passed.norm);
            block.up.forward(device, count, use_, passed.norm.out(count * width), up);
            let reads = [up, block.up.bias.values(mode.version)];
            device.launch(&*self.activation(rows, mode.dropout(index)), &reads, &[gelu]);
            block.down.forward(device, count, use_, gelu, down);
            let add = AddBias { rows: count, width, residual: true };
            device.launch(&add, &[block.down.bias.values(mode.version), stream], &[down]);
            stream = down;
        }
        self.norm.forward(device, count, mode.version, stream, &activations.norm);
        self.head.forward(device, count, use_, activations.norm.out(count * width), out);
        let add = AddBias { rows: count, width: shared, residual: false };
        device.launch(&add, &[self.head.bias.values(mode.version)], &[out]);
    }

    /// The gradients to all parameters from `gradient (count x shared)`, after [`Mlp::forward`] of the same rows.
    pub(crate) fn backward(
        &self,
        pass: Backward<'_>,
        first: usize,
        mode: Mode,
        x: Slice<'_>,
        (activations, scratch): (&Activations, &Scratch),
        gradient: Slice<'_>,
    ) {
        let Shape { width, inner, .. } = self.shape;
        let (device, count) = (pass.device, pass.rows);
        let gradients = scratch.gradients.as_ref().expect("room for the backward pass");
        let (stream, normed) = (gradients.stream.part(0, count * width), gradients.normed.part(0, count * width));
        let (to_inner, gelu) = (gradients.inner.part(0, count * inner), scratch.gelu.part(0, count * inner));
        let input = |block: usize| match block.checked_sub(1) {
            Some(before) => activations.blocks[before].out.part(0, count * width),
            None => x,
        };
        self.head.backward_parameters(pass, activations.norm.out(count * width), gradient);
        self.head.backward_input(pass, gradient, normed);
        self.norm.backward(pass, (input(self.blocks.len()), &activations.norm), normed, (stream, false));
        for (index, (block, passed)) in self.blocks.iter().zip(&activations.blocks).enumerate().rev() {
            block.down.backward_input(pass, stream, to_inner);
            let (dropout, bias) = (mode.dropout(index), block.up.bias.values(mode.version));
            let up = passed.up.part(0, count * self.shape.up());
            let to_up = match &gradients.gated {
                None => {
                    let kernel = GeluBackward { rows: count, width: inner, first, dropout };
                    device.launch(&kernel, &[up, bias], &[to_inner, gelu]);
                    to_inner
                }
                Some(gated) => {
                    let to_up = gated.part(0, count * self.shape.up());
                    let kernel = GluBackward(Glu { rows: count, width: inner, first, dropout });
                    device.launch(&kernel, &[up, bias, to_inner], &[to_up, gelu]);
                    to_up
                }
            };
            block.down.backward_parameters(pass, gelu, stream);
            if index > 0 {
                block.up.backward_parameters(pass, passed.norm.out(count * width), to_up);
                block.up.backward_input(pass, to_up, normed);
                block.norm.backward(pass, (input(index), &passed.norm), normed, (stream, true));
            } else {
                // Nobody trains the latents, which saves a product; `finish` does the rest.
                block.norm.standardize(device, count, x, &passed.norm, normed);
                block.up.backward_parameters(pass, normed, to_up);
            }
        }
    }

    /// Finishes the backward passes of a step.
    pub(crate) fn finish(&self, device: &dyn Device) {
        if let Some(Block { norm, up, .. }) = self.blocks.first() {
            norm.unfold(device, up);
        }
    }

    /// Allocates the buffers computed beside the training state.
    pub(crate) fn train(&self, device: &dyn Device, keep: Keep) {
        let linears = self.blocks.iter().flat_map(|block| [&block.up, &block.down]).chain([&self.head]);
        linears.for_each(|linear| linear.train(device, keep));
    }
}
