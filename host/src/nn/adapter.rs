//! The adapter of a tower: an MLP, a Linear, or nothing.

use super::backward::Backward;
use super::linear::Linear;
use super::mlp::{self, Mlp};
use super::mode::{Mode, Rows};
use super::parameter::{Keep, Parameter, Source};
use super::shape::{AdapterKind, Shape};
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{AddBias, Format};

/// An adapter of any kind.
pub(crate) struct Adapter {
    shape: Shape,
    kind: Kind,
}

enum Kind {
    Mlp(Box<Mlp>),
    Linear(Box<Linear>),
    Identity,
}

/// The record of a forward pass over a micro-batch for the backward pass, including its output `(rows x shared)`.
pub(crate) struct Activations {
    mlp: Option<mlp::Activations>,
    out: Option<Buffer>,
}

/// Scratch space that passes share.
pub(crate) struct Scratch(Option<mlp::Scratch>);

impl Activations {
    /// Values of a row.
    pub(crate) fn values(shape: Shape, format: Format) -> usize {
        match shape.kind {
            AdapterKind::Mlp | AdapterKind::Glu => mlp::Activations::values(shape, format) + shape.shared,
            AdapterKind::Linear => shape.shared,
            AdapterKind::Identity => 0,
        }
    }

    pub(crate) fn new(device: &dyn Device, shape: Shape, rows: usize, format: Format) -> Self {
        Self {
            mlp: shape.kind.has_blocks().then(|| mlp::Activations::new(device, shape, rows, format)),
            out: (shape.kind != AdapterKind::Identity).then(|| device.zeros(rows * shape.shared)),
        }
    }

    fn out(&self, values: usize) -> Slice<'_> {
        self.out.as_ref().expect("an adapter has an output").part(0, values)
    }

    fn mlp(&self) -> &mlp::Activations {
        self.mlp.as_ref().expect("an MLP has activations")
    }
}

impl Scratch {
    /// Values of a row, for training.
    pub(crate) fn values(shape: Shape, format: Format) -> usize {
        if shape.kind.has_blocks() { mlp::Scratch::values(shape, format) } else { 0 }
    }

    pub(crate) fn new(device: &dyn Device, shape: Shape, rows: usize, (training, format): (bool, Format)) -> Self {
        Self(shape.kind.has_blocks().then(|| mlp::Scratch::new(device, shape, rows, (training, format))))
    }

    fn mlp(&self) -> &mlp::Scratch {
        self.0.as_ref().expect("an MLP has room to compute in")
    }
}

impl Adapter {
    pub(crate) fn new(device: &dyn Device, source: &mut dyn Source, shape: Shape) -> Self {
        let Shape { width, shared, bias, .. } = shape;
        let kind = match shape.kind {
            AdapterKind::Mlp | AdapterKind::Glu => Kind::Mlp(Box::new(Mlp::new(device, source, shape))),
            AdapterKind::Linear => Kind::Linear(Box::new(Linear::new(device, source, "head", [width, shared], bias))),
            AdapterKind::Identity => Kind::Identity,
        };
        Self { shape, kind }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn parameters(&self) -> Vec<&Parameter> {
        match &self.kind {
            Kind::Mlp(mlp) => mlp.parameters(),
            Kind::Linear(head) => head.parameters().collect(),
            Kind::Identity => Vec::new(),
        }
    }

    /// Allocates the training state, and the extras computed beside it.
    pub(crate) fn train(&self, device: &dyn Device, keep: Keep) {
        let keep = Keep { halves: keep.halves && self.shape.kind.has_blocks(), ..keep };
        self.parameters().into_iter().for_each(|parameter| parameter.train(device, keep));
        match &self.kind {
            Kind::Mlp(mlp) => mlp.train(device, keep),
            Kind::Linear(head) => head.train(device, keep),
            Kind::Identity => {}
        }
    }

    /// The output `(count x shared)` for the latents `x (count x width)` of some rows.
    pub(crate) fn forward<'a>(
        &self,
        device: &dyn Device,
        rows: Rows,
        mode: Mode,
        x: Slice<'a>,
        (activations, scratch): (&'a Activations, &Scratch),
    ) -> Slice<'a> {
        let (count, width) = (rows.count, self.shape.shared);
        match &self.kind {
            Kind::Mlp(mlp) => {
                let out = activations.out(count * width);
                mlp.forward(device, rows, mode, x, (activations.mlp(), scratch.mlp()), out);
                out
            }
            Kind::Linear(head) => {
                let out = activations.out(count * width);
                // Latents are f32, and there is little else.
                let mode = Mode { format: Format::F32, ..mode };
                head.forward(device, count, mode, x, (out, Format::F32));
                let add = AddBias { rows: count, width };
                device.launch(&add, &[head.bias.values(mode.version)], &[out]);
                out
            }
            Kind::Identity => x,
        }
    }

    /// The gradients to all parameters from `gradient (count x shared)`, after [`Adapter::forward`] of the same rows.
    pub(crate) fn backward(
        &self,
        pass: Backward<'_>,
        first: usize,
        mode: Mode,
        x: Slice<'_>,
        (activations, scratch): (&Activations, &Scratch),
        gradient: Slice<'_>,
    ) {
        match &self.kind {
            Kind::Mlp(mlp) => mlp.backward(pass, first, mode, x, (activations.mlp(), scratch.mlp()), gradient),
            Kind::Linear(head) => {
                head.backward_parameters(Backward { format: Format::F32, ..pass }, x, gradient);
            }
            Kind::Identity => {}
        }
    }

    /// Finishes the backward passes of a step.
    pub(crate) fn finish(&self, device: &dyn Device) {
        if let Kind::Mlp(mlp) = &self.kind {
            mlp.finish(device);
        }
    }
}
