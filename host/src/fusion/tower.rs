//! A tower: latents, an adapter or none, and length 1. It takes a batch in micro-batches: activations live for one of them,
//! or are kept as far as there is memory, and are computed again in the backward pass beyond that.

use super::adapter::{Activations, Mlp, Mode, Rows, Scratch, Shape};
use super::layers::Backward;
use super::loss;
use super::parameter::{Parameter, Source};
use super::{AdapterKind, Options, TowerSpec};
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{Normalize, NormalizeBackward};

pub(super) struct Tower {
    pub(super) spec: TowerSpec,
    shared: usize,
    adapter: Option<Mlp>,
}

/// Room for a tower's passes over batches.
pub(super) struct Pass {
    /// Rows of a batch at the most, and of a micro-batch.
    rows: usize,
    micro: usize,
    /// For the first micro-batches one each; the last is for all the others too.
    kept: Vec<Kept>,
    scratch: Option<Scratch>,
    /// `rows x shared`, of length 1, and the inverse of the length that they had.
    embeddings: Buffer,
    inverse: Buffer,
    /// To the embeddings.
    gradient: Option<Buffer>,
}

/// What a micro-batch leaves for the backward pass: latents `(micro x width)`, and the adapter's activations.
struct Kept {
    latents: Buffer,
    activations: Option<(Activations, Buffer)>,
}

/// Writes the latents of some rows of a batch.
pub(super) type Feed<'a> = &'a dyn Fn(Rows, Slice<'_>);

impl Tower {
    pub(super) fn new(device: &dyn Device, source: &mut dyn Source, spec: TowerSpec, shape: Shape) -> Self {
        let shared = shape.shared;
        let adapter = (spec.adapter == AdapterKind::Mlp).then(|| Mlp::new(device, source, shape));
        Self { spec, shared, adapter }
    }

    pub(super) fn shape(&self) -> Option<Shape> {
        self.adapter.as_ref().map(Mlp::shape)
    }

    pub(super) fn parameters(&self) -> Vec<&Parameter> {
        self.adapter.as_ref().map(Mlp::parameters).unwrap_or_default()
    }

    /// Makes room for what is trained.
    pub(super) fn train(&self, device: &dyn Device, options: &Options) {
        self.adapter.iter().for_each(|adapter| adapter.train(device, options));
    }

    /// Values that a pass takes for batches of `rows` rows, and for each micro-batch that is kept.
    pub(super) fn values(&self, rows: usize, micro: usize) -> (usize, usize) {
        let (kept, scratch) = match self.shape() {
            Some(shape) => (Activations::values(shape) + self.shared, Scratch::values(shape)),
            None => (0, 0),
        };
        (rows * (2 * self.shared + 1) + micro * scratch, micro * (self.spec.width + kept))
    }

    /// Room for passes over up to `rows` rows in micro-batches of `micro`, of which `kept` keep their activations.
    pub(super) fn pass(&self, device: &dyn Device, [rows, micro]: [usize; 2], kept: usize, training: bool) -> Pass {
        let room = || Kept {
            latents: device.zeros(micro * self.spec.width),
            activations: self
                .shape()
                .map(|shape| (Activations::new(device, shape, micro), device.zeros(micro * self.shared))),
        };
        let slots = if self.adapter.is_some() { kept.clamp(1, rows.div_ceil(micro)) } else { 1 };
        Pass {
            rows,
            micro,
            kept: (0..slots).map(|_| room()).collect(),
            scratch: self.shape().map(|shape| Scratch::new(device, shape, micro, training)),
            embeddings: device.zeros(rows * self.shared),
            inverse: device.zeros(rows),
            gradient: training.then(|| device.zeros(rows * self.shared)),
        }
    }

    /// From the latents of a batch of `batch` rows to its embeddings.
    pub(super) fn forward(&self, device: &dyn Device, pass: &Pass, batch: usize, mode: Mode, feed: Feed<'_>) {
        for (index, rows) in pass.micro_batches(batch) {
            let adapted = self.adapted(device, pass.slot(index), rows, mode, pass, feed);
            let normalize = Normalize { rows: rows.count, width: self.shared };
            let inverse = pass.inverse.part(rows.first, rows.count);
            device.launch(&normalize, &[adapted], &[self.part(&pass.embeddings, rows), inverse]);
        }
    }

    /// The adapter's output for a micro-batch.
    fn adapted<'a>(
        &self,
        device: &dyn Device,
        kept: &'a Kept,
        rows: Rows,
        mode: Mode,
        pass: &Pass,
        feed: Feed<'_>,
    ) -> Slice<'a> {
        let latents = kept.latents.part(0, rows.count * self.spec.width);
        feed(rows, latents);
        let (Some(adapter), Some((activations, out)), Some(scratch)) =
            (&self.adapter, &kept.activations, &pass.scratch)
        else {
            return latents;
        };
        let out = out.part(0, rows.count * self.shared);
        adapter.forward(device, rows, mode, latents, (activations, scratch), out);
        out
    }

    /// From the gradient to the embeddings of a batch, which is consumed, to those of the parameters; after
    /// [`Tower::forward`] of the same batch.
    pub(super) fn backward(&self, device: &dyn Device, pass: &Pass, batch: usize, mode: Mode, feed: Feed<'_>) {
        let (Some(adapter), Some(scratch), Some(gradient)) = (&self.adapter, &pass.scratch, &pass.gradient) else {
            return;
        };
        let last = pass.micro_batches(batch).count() - 1;
        let mut micro_batches: Vec<_> = pass.micro_batches(batch).collect();
        micro_batches.reverse();
        for (index, rows) in micro_batches {
            let kept = pass.slot(index);
            // The last one came last, and is still there.
            if index + 1 >= pass.kept.len() && index < last {
                self.adapted(device, kept, rows, mode, pass, feed);
            }
            let gradient = self.part(gradient, rows);
            let normalize = NormalizeBackward { rows: rows.count, width: self.shared };
            let inverse = pass.inverse.part(rows.first, rows.count);
            device.launch(&normalize, &[self.part(&pass.embeddings, rows), inverse], &[gradient]);
            let (activations, _) = kept.activations.as_ref().expect("a tower with an adapter has activations");
            let latents = kept.latents.part(0, rows.count * self.spec.width);
            let (precision, scale) = (mode.precision, loss::scale(batch));
            let backward = Backward { device, rows: rows.count, precision, scale, accumulate: index < last };
            adapter.backward(backward, rows.first, mode, latents, (activations, scratch), gradient);
        }
        adapter.finish(device);
    }

    /// Some rows of a matrix `rows x shared`.
    fn part<'a>(&self, matrix: &'a Buffer, rows: Rows) -> Slice<'a> {
        matrix.part(rows.first * self.shared, rows.count * self.shared)
    }
}

impl Pass {
    /// Micro-batches that keep their activations.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    fn micro_batches(&self, batch: usize) -> impl Iterator<Item = (usize, Rows)> {
        assert!(batch <= self.rows, "a batch of {batch} rows, and room for {}", self.rows);
        let micro = self.micro;
        (0..batch).step_by(micro).map(move |first| Rows { first, count: micro.min(batch - first) }).enumerate()
    }

    fn slot(&self, micro_batch: usize) -> &Kept {
        &self.kept[micro_batch.min(self.kept.len() - 1)]
    }

    /// `values` of the embeddings from value `first` on.
    pub(super) fn embeddings(&self, first: usize, values: usize) -> Slice<'_> {
        self.embeddings.part(first, values)
    }

    /// `values` of the gradient to the embeddings from value `first` on.
    pub(super) fn gradient(&self, first: usize, values: usize) -> Slice<'_> {
        self.gradient.as_ref().expect("a pass for training").part(first, values)
    }
}
