//! The term over items without a pair: the plan of optimal transport between the embeddings of both sides is to be that
//! of a teacher (KLOT of SOTAlign, arXiv 2602.23353; see `kernels/transport.rs`).

use super::draws::Draw;
use super::pass::{Batch, Pass};
use super::resolved::Options;
use super::tiles::Part;
use super::unpaired::Pool;
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{AddLoss, Kernel, PlanGradient, Potentials, Precision};

/// Sinkhorn's steps.
const TURNS: usize = 100;
/// The temperatures of the own plan, and of the teacher's.
const EPSILONS: [f32; 2] = [0.05, 0.005];

/// Room for the term over up to some items of either side.
pub(super) struct Transport {
    weight: f32,
    /// Widths of the shared space, and of the teacher's.
    widths: [usize; 2],
    /// The teacher's embeddings of either side.
    taught: [Buffer; 2],
    /// Of the own space, and of the teacher's: the cosines, and the potentials of rows and columns.
    cosines: [Buffer; 2],
    potentials: [[Buffer; 2]; 2],
    losses: Buffer,
    /// Potentials to begin with.
    zeros: Buffer,
}

impl Transport {
    /// Values that it needs for `items` items of either side.
    pub(super) fn values(items: usize, taught: usize) -> usize {
        items * (2 * taught + 2 * items + 6)
    }

    /// Room for `items` items of either side, whose teacher has `taught` dimensions.
    pub(super) fn new(device: &dyn Device, options: &Options, items: usize, taught: usize) -> Self {
        let vector = || device.zeros(items);
        Self {
            weight: options.transported().unwrap_or_default(),
            widths: [options.width, taught],
            taught: [(); 2].map(|()| device.zeros(items * taught)),
            cosines: [(); 2].map(|()| device.zeros(items * items)),
            potentials: [(); 2].map(|()| [vector(), vector()]),
            losses: vector(),
            zeros: vector(),
        }
    }

    /// Adds the term over the items drawn from both pools to `losses[at]`, and writes its gradients to those rows of
    /// the passes.
    pub(super) fn launch(
        &self,
        device: &dyn Device,
        (batch, precision): (Batch, Precision),
        (pools, items): ([&Pool; 2], &[Draw; 2]),
        passes: [&Pass; 2],
        (losses, at): (Slice<'_>, usize),
    ) {
        let [shared, taught] = self.widths;
        let [rows, columns] = items.each_ref().map(|items| items.pairs.len());
        let whole = Part { index: 0, row: 0, rows, column: 0, columns };
        let first = batch.first_unpaired() * shared;
        let counts = [rows, columns];
        let teachers: [Slice<'_>; 2] = [0, 1].map(|side| self.taught[side].part(0, counts[side] * taught));
        for (side, out) in teachers.into_iter().enumerate() {
            pools[side].teach(device, &items[side], out);
        }
        let own: [Slice<'_>; 2] = [0, 1].map(|side| passes[side].embeddings(first, counts[side] * shared));
        let tiles = self.cosines.each_ref().map(|cosines| whole.within(cosines));
        device.launch(&whole.cosines(shared, precision, false), &own, &tiles[..1]);
        device.launch(&whole.cosines(taught, Precision::F32, false), &teachers, &tiles[1..]);
        for (space, epsilon) in EPSILONS.into_iter().enumerate() {
            self.sinkhorn(device, (tiles[space], epsilon), space, counts);
        }
        let [[u, v], [teacher_u, teacher_v]] = [0, 1].map(|space| self.potential(space, counts));
        let kernel = PlanGradient { rows, columns, epsilons: EPSILONS, factor: self.weight };
        let of_rows = self.losses.part(0, rows);
        device.launch(&kernel, &[tiles[1], teacher_u, teacher_v, u, v], &[tiles[0], of_rows]);
        let [to_rows, to_columns] = whole.gradients(shared, precision, [true; 2]);
        device.launch(&to_rows, &[tiles[0], own[1]], &[passes[0].gradient(first, rows * shared)]);
        device.launch(&to_columns, &[tiles[0], own[0]], &[passes[1].gradient(first, columns * shared)]);
        device.launch(&AddLoss { count: rows, step: at, factor: self.weight }, &[of_rows], &[losses]);
    }

    fn potential(&self, space: usize, [rows, columns]: [usize; 2]) -> [Slice<'_>; 2] {
        let [u, v] = &self.potentials[space];
        [u.part(0, rows), v.part(0, columns)]
    }

    /// The potentials of a plan.
    fn sinkhorn(&self, device: &dyn Device, (cosines, epsilon): (Slice<'_>, f32), space: usize, counts: [usize; 2]) {
        let ([rows, columns], [u, v]) = (counts, self.potential(space, counts));
        let of_rows = Potentials { rows, columns, of_columns: false, halfway: false, epsilon };
        let of_columns = Potentials { of_columns: true, ..of_rows };
        let halfway = Potentials { halfway: true, ..of_rows };
        let launch = |kernel: &dyn Kernel, other, own| device.launch(kernel, &[cosines, other], &[own]);
        for turn in 0..TURNS {
            launch(&of_rows, if turn == 0 { self.zeros.part(0, columns) } else { v }, u);
            launch(&of_columns, u, v);
        }
        // Neither side's masses are exact then, and both nearly.
        launch(&halfway, v, u);
    }
}
