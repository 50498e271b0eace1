//! A tower's passes over batches, in micro-batches: activations live for one of them, or are kept as far as memory
//! allows, and beyond that are recomputed in the backward pass.

use crate::device::{Buffer, Device, Slice};
use crate::kernels::{Format, NormalizeBackward};
use crate::nn::{Activations, AdapterKind, Backward, Mode, Rows, Scratch};
use crate::space::Tower;

/// Buffers for a tower's passes over batches.
pub(super) struct Pass {
    /// The most rows of a batch, and the rows of a micro-batch.
    rows: usize,
    micro: usize,
    /// Width of the shared space.
    shared: usize,
    /// One per micro-batch for the first ones; the last is shared by all others.
    kept: Vec<Kept>,
    scratch: Scratch,
    /// `rows x shared`, of length 1, and the inverse of their original length.
    embeddings: Buffer,
    inverse: Buffer,
    /// The gradient to the embeddings.
    gradient: Buffer,
}

/// The record of a micro-batch for the backward pass: latents `(micro x width)`, and the adapter's activations.
struct Kept {
    latents: Buffer,
    activations: Activations,
}

/// The rows of a batch: those of pairs, and behind them, from a multiple of 64 on, those of items without a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) pairs: usize,
    pub(super) unpaired: usize,
}

impl Batch {
    /// The first row of an item without a pair.
    pub(super) fn first_unpaired(self) -> usize {
        self.pairs.next_multiple_of(64)
    }

    /// All rows.
    pub(super) fn rows(self) -> usize {
        if self.unpaired == 0 { self.pairs } else { self.first_unpaired() + self.unpaired }
    }

    /// Micro-batches of up to `micro` rows.
    pub(super) fn micro_batches(self, micro: usize) -> impl DoubleEndedIterator<Item = Rows> {
        let ranges = [(0, self.pairs), (self.first_unpaired(), self.first_unpaired() + self.unpaired)];
        let rows = move |(first, end): (usize, usize)| {
            (first..end).step_by(micro).map(move |first| Rows { first, count: micro.min(end - first) })
        };
        ranges.into_iter().flat_map(rows)
    }
}

/// True while a step goes on; one that does not is left without a trace, as weights change at its end.
pub(super) type GoOn<'a> = &'a dyn Fn() -> bool;

/// Writes the latents of some rows of a batch.
pub(super) type WriteLatents<'a> = &'a dyn Fn(Rows, Slice<'_>);

impl Pass {
    /// Values needed by a pass over batches of `rows` rows, and by each kept micro-batch.
    pub(super) fn values(tower: &Tower, rows: usize, micro: usize, format: Format) -> (usize, usize) {
        let shape = tower.adapter.shape();
        let fixed = rows * (2 * shape.shared + 1) + micro * Scratch::values(shape, format);
        (fixed, micro * (shape.width + Activations::values(shape, format)))
    }

    /// Buffers for passes over up to `rows` rows in micro-batches of up to `micro`, of which `kept` keep their
    /// activations, where factors of products have this format.
    pub(super) fn new(
        device: &dyn Device,
        tower: &Tower,
        ([rows, micro], kept): ([usize; 2], usize),
        format: Format,
    ) -> Self {
        let shape = tower.adapter.shape();
        let room = || Kept {
            latents: device.zeros(micro * shape.width),
            activations: Activations::new(device, shape, micro, format),
        };
        let slots = match shape.kind {
            AdapterKind::Identity => 1,
            _ => kept.max(1),
        };
        Self {
            rows,
            micro,
            shared: shape.shared,
            kept: (0..slots).map(|_| room()).collect(),
            scratch: Scratch::new(device, shape, micro, (true, format)),
            embeddings: device.zeros(rows * shape.shared),
            inverse: device.zeros(rows),
            gradient: device.zeros(rows * shape.shared),
        }
    }

    /// Computes the embeddings of a batch from its latents; false if it is not to go on.
    pub(super) fn forward(
        &self,
        device: &dyn Device,
        tower: &Tower,
        batch: Batch,
        mode: Mode,
        (write, go_on): (WriteLatents<'_>, GoOn<'_>),
    ) -> bool {
        for (index, rows) in self.micro_batches(batch) {
            if !go_on() {
                return false;
            }
            let adapted = self.adapted(device, tower, self.slot(index), rows, mode, write);
            let out = [self.part(&self.embeddings, rows), self.inverse.part(rows.first, rows.count)];
            tower.normalize(device, rows.count, adapted, out);
        }
        true
    }

    /// The adapter's output for a micro-batch.
    fn adapted<'a>(
        &self,
        device: &dyn Device,
        tower: &Tower,
        kept: &'a Kept,
        rows: Rows,
        mode: Mode,
        write: WriteLatents<'_>,
    ) -> Slice<'a> {
        let latents = kept.latents.part(0, rows.count * tower.spec.width);
        write(rows, latents);
        tower.adapter.forward(device, rows, mode, latents, (&kept.activations, &self.scratch))
    }

    /// Computes the gradients to the parameters from that to the embeddings of a batch, which is consumed, after
    /// [`Pass::forward`] of the same batch. They are `scale` times what they are without it.
    pub(super) fn backward(
        &self,
        device: &dyn Device,
        tower: &Tower,
        (batch, scale): (Batch, Slice<'_>),
        mode: Mode,
        (write, go_on): (WriteLatents<'_>, GoOn<'_>),
    ) -> bool {
        if tower.adapter.shape().kind == AdapterKind::Identity {
            return true;
        }
        let mut micro_batches: Vec<_> = self.micro_batches(batch).collect();
        let last = micro_batches.len() - 1;
        micro_batches.reverse();
        for (index, rows) in micro_batches {
            if !go_on() {
                return false;
            }
            let kept = self.slot(index);
            // The last one came last, and is still there.
            if index + 1 >= self.kept.len() && index < last {
                self.adapted(device, tower, kept, rows, mode, write);
            }
            let gradient = self.part(&self.gradient, rows);
            let normalize = NormalizeBackward { rows: rows.count, width: self.shared };
            let inverse = self.inverse.part(rows.first, rows.count);
            device.launch(&normalize, &[self.part(&self.embeddings, rows), inverse, scale], &[gradient]);
            let latents = kept.latents.part(0, rows.count * tower.spec.width);
            let Mode { precision, format, .. } = mode;
            let backward = Backward { device, rows: rows.count, precision, format, accumulate: index < last };
            let room = (&kept.activations, &self.scratch);
            tower.adapter.backward(backward, rows.first, mode, latents, room, gradient);
        }
        tower.adapter.finish(device);
        true
    }

    /// Micro-batches that keep their activations.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    fn micro_batches(&self, batch: Batch) -> impl Iterator<Item = (usize, Rows)> {
        assert!(batch.rows() <= self.rows, "{batch:?}, and room for {} rows", self.rows);
        batch.micro_batches(self.micro).enumerate()
    }

    fn slot(&self, micro_batch: usize) -> &Kept {
        &self.kept[micro_batch.min(self.kept.len() - 1)]
    }

    /// Some rows of a matrix `rows x shared`.
    fn part<'a>(&self, matrix: &'a Buffer, rows: Rows) -> Slice<'a> {
        matrix.part(rows.first * self.shared, rows.count * self.shared)
    }

    /// `values` of the embeddings from value `first` on.
    pub(super) fn embeddings(&self, first: usize, values: usize) -> Slice<'_> {
        self.embeddings.part(first, values)
    }

    /// `values` of the gradient to the embeddings from value `first` on.
    pub(super) fn gradient(&self, first: usize, values: usize) -> Slice<'_> {
        self.gradient.part(first, values)
    }
}
