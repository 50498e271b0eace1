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
use crate::kernels::{AddBias, Dropout, Format, Gelu, GeluBackward, Glu, GluBackward, Halve, Kernel};

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
    /// That to the stream or to the output as a factor, if factors are f16: `rows x width` or `rows x shared`.
    halves: Option<Buffer>,
}

impl Activations {
    /// Values of a row.
    pub(crate) fn values(shape: Shape, format: Format) -> usize {
        let Shape { width, blocks, .. } = shape;
        let norm = Normed::values(width, format);
        blocks * (norm + format.values(1, shape.up()) + width) + norm
    }

    pub(crate) fn new(device: &dyn Device, shape: Shape, rows: usize, format: Format) -> Self {
        let Shape { width, blocks, .. } = shape;
        let block = |_| BlockActivations {
            norm: Normed::new(device, rows, width, format),
            up: device.zeros(format.values(rows, shape.up())),
            out: device.zeros(rows * width),
        };
        Self { blocks: (0..blocks).map(block).collect(), norm: Normed::new(device, rows, width, format) }
    }
}

impl Scratch {
    /// Values of a row, for training.
    pub(crate) fn values(shape: Shape, format: Format) -> usize {
        let Shape { width, inner, shared, .. } = shape;
        let gated = if shape.kind == AdapterKind::Glu { format.values(1, shape.up()) } else { 0 };
        let halves = if format == Format::F16 { format.values(1, width.max(shared)) } else { 0 };
        2 * format.values(1, inner) + width + Self::normed(shape, 1, format) + gated + halves
    }

    /// Values for `rows` rows of the gradient to a LayerNorm's output, and then of the standardised rows in its place.
    fn normed(shape: Shape, rows: usize, format: Format) -> usize {
        format.values(rows, shape.width).max(rows * shape.width)
    }

    pub(crate) fn new(device: &dyn Device, shape: Shape, rows: usize, (training, format): (bool, Format)) -> Self {
        let Shape { width, inner, shared, .. } = shape;
        let gated = || device.zeros(format.values(rows, shape.up()));
        let gradients = training.then(|| Gradients {
            stream: device.zeros(rows * width),
            normed: device.zeros(Self::normed(shape, rows, format)),
            inner: device.zeros(format.values(rows, inner)),
            gated: (shape.kind == AdapterKind::Glu).then(gated),
            halves: (format == Format::F16).then(|| device.zeros(format.values(rows, width.max(shared)))),
        });
        Self { gelu: device.zeros(format.values(rows, inner)), gradients }
    }
}

impl Gradients {
    /// Room for a gradient as a factor of products, if those are f16.
    fn halves(&self, rows: usize, width: usize) -> Option<Slice<'_>> {
        self.halves.as_ref().map(|halves| halves.part(0, Format::F16.values(rows, width)))
    }

    /// A gradient as a factor of products.
    fn factor<'a>(&'a self, device: &dyn Device, gradient: Slice<'a>, [rows, width]: [usize; 2]) -> Slice<'a> {
        let Some(halves) = self.halves(rows, width) else { return gradient };
        device.launch(&Halve { rows, width, scale: 1.0 }, &[gradient], &[halves]);
        halves
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
    fn activation(&self, Rows { first, count: rows }: Rows, (dropout, format): (Dropout, Format)) -> Box<dyn Kernel> {
        let width = self.shape.inner;
        match self.shape.kind {
            AdapterKind::Glu => Box::new(Glu { rows, width, first, dropout, format }),
            _ => Box::new(Gelu { rows, width, first, dropout, format }),
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
        let format = mode.format;
        let gelu = scratch.gelu.part(0, format.values(count, inner));
        let mut stream = x;
        let first = self.blocks.first().map_or(&self.norm, |block| &block.norm);
        let first_passed = activations.blocks.first().map_or(&activations.norm, |passed| &passed.norm);
        first.forward(device, count, mode.version, x, first_passed);
        for (index, (block, passed)) in self.blocks.iter().zip(&activations.blocks).enumerate() {
            let up = passed.up.part(0, format.values(count, self.shape.up()));
            let down = passed.out.part(0, count * width);
            block.up.forward(device, count, mode, passed.norm.out(count), (up, format));
            let reads = [up, block.up.bias.values(mode.version)];
            device.launch(&*self.activation(rows, (mode.dropout(index), format)), &reads, &[gelu]);
            block.down.forward(device, count, mode, gelu, (down, Format::F32));
            // The sum with the residual, and the LayerNorm that follows, in one go.
            let next = self.blocks.get(index + 1).map_or(&self.norm, |block| &block.norm);
            let next_passed = activations.blocks.get(index + 1).map_or(&activations.norm, |passed| &passed.norm);
            let sum = (down, block.down.bias.values(mode.version), stream);
            next.forward_of_sum(device, count, mode.version, sum, next_passed);
            stream = down;
        }
        self.head.forward(device, count, mode, activations.norm.out(count), (out, Format::F32));
        let add = AddBias { rows: count, width: shared };
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
        let Shape { width, inner, shared, .. } = self.shape;
        let (device, count, format) = (pass.device, pass.rows, pass.format);
        let gradients = scratch.gradients.as_ref().expect("room for the backward pass");
        let (stream, normed) = (gradients.stream.part(0, count * width), gradients.normed.part(0, count * width));
        let to_inner = gradients.inner.part(0, format.values(count, inner));
        let gelu = scratch.gelu.part(0, format.values(count, inner));
        let input = |block: usize| match block.checked_sub(1) {
            Some(before) => activations.blocks[before].out.part(0, count * width),
            None => x,
        };
        let to_out = gradients.factor(device, gradient, [count, shared]);
        self.head.backward_parameters(pass, activations.norm.out(count), to_out);
        self.head.backward_input(pass, to_out, (normed, Format::F32));
        let halves = gradients.halves(count, width);
        self.norm.backward(pass, (input(self.blocks.len()), &activations.norm), normed, (stream, false, halves));
        let to_down = halves.unwrap_or(stream);
        for (index, (block, passed)) in self.blocks.iter().zip(&activations.blocks).enumerate().rev() {
            block.down.backward_input(pass, to_down, (to_inner, format));
            let (dropout, bias) = (mode.dropout(index), block.up.bias.values(mode.version));
            let up = passed.up.part(0, format.values(count, self.shape.up()));
            let to_up = match &gradients.gated {
                None => {
                    let kernel = GeluBackward { rows: count, width: inner, first, dropout, format };
                    device.launch(&kernel, &[up, bias], &[to_inner, gelu]);
                    to_inner
                }
                Some(gated) => {
                    let to_up = gated.part(0, format.values(count, self.shape.up()));
                    let kernel = GluBackward(Glu { rows: count, width: inner, first, dropout, format });
                    device.launch(&kernel, &[up, bias, to_inner], &[to_up, gelu]);
                    to_up
                }
            };
            block.down.backward_parameters(pass, gelu, to_down);
            if index > 0 {
                block.up.backward_parameters(pass, passed.norm.out(count), to_up);
                block.up.backward_input(pass, to_up, (normed, Format::F32));
                block.norm.backward(pass, (input(index), &passed.norm), normed, (stream, true, halves));
            } else {
                // Nobody trains the latents, which saves a product; `finish` does the rest.
                let standard = gradients.normed.part(0, format.values(count, width));
                block.norm.standardize(device, count, x, &passed.norm, standard);
                block.up.backward_parameters(pass, standard, to_up);
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
