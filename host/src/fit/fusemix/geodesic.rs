//! The term whose negatives are other pairs, mixed along the arc between their embeddings: m2-Mix (Oh et al., NeurIPS
//! 2023; see `kernels/geodesic.rs`).
//!
//! Of a batch, the mean over both sides of the mean loss of an anchor, whose own pair is to be nearer than the mixed
//! ones of all other rows.

use super::augment::Augment;
use super::loss::Sides;
use super::resolved::Options;
use super::tiles::{Part, parts};
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{
    AddLoss, Geodesic as Mixed, GeodesicGradient, LogSums, NegativesGradient, Precision, RowSums, SetOwn,
};

/// Room for the term over up to some pairs.
pub(super) struct Geodesic {
    width: usize,
    side: usize,
    tile: Buffer,
    /// The mixed embeddings, and the gradient to them.
    mixed: Buffer,
    to_mixed: Buffer,
    weights: Buffer,
    cosines: Buffer,
    to_own: Buffer,
    /// Of each anchor: log-sum-exps, the gradient to log tau, the loss.
    sums: [Buffer; 2],
    slope: Buffer,
    loss: Buffer,
}

impl Geodesic {
    fn is_meant(options: &Options) -> bool {
        options.augment == Augment::M2Mix
    }

    /// Values that it needs for `pairs` pairs and tiles of `side` rows and columns.
    pub(super) fn values(options: &Options, pairs: usize, side: usize) -> usize {
        if Self::is_meant(options) { side * side + pairs * (2 * options.width + 7) } else { 0 }
    }

    /// None if nothing is mixed in this way.
    pub(super) fn new(device: &dyn Device, options: &Options, pairs: usize, side: usize) -> Option<Self> {
        let vector = || device.zeros(pairs);
        Self::is_meant(options).then(|| Self {
            width: options.width,
            side,
            tile: device.zeros(side * side),
            mixed: device.zeros(pairs * options.width),
            to_mixed: device.zeros(pairs * options.width),
            weights: vector(),
            cosines: vector(),
            to_own: vector(),
            sums: [vector(), vector()],
            slope: vector(),
            loss: vector(),
        })
    }

    /// Adds the term, with these weights of the first side, to `losses[at]`, and its gradients to those of the passes
    /// and of log tau.
    pub(super) fn launch(
        &self,
        device: &dyn Device,
        precision: Precision,
        (sides, weights): (Sides<'_>, &[f32]),
        (log_tau, to_log_tau): (Slice<'_>, Slice<'_>),
        (losses, at): (Slice<'_>, usize),
    ) {
        let pairs = weights.len();
        let (rows, all) = (Mixed { rows: pairs, width: self.width }, (0, pairs * self.width));
        let of = |buffer| Buffer::part(buffer, 0, pairs);
        let whole = |buffer| Buffer::part(buffer, all.0, all.1);
        device.fill(of(&self.weights), &mut |out| out.copy_from_slice(weights));
        let [x, y] = sides.passes.map(|pass| pass.embeddings(all.0, all.1));
        device.launch(&rows, &[x, y, of(&self.weights)], &[whole(&self.mixed), of(&self.cosines)]);
        let factor = 1.0 / (2.0 * pairs as f32);
        for anchor in 0..2 {
            for part in parts(pairs, self.side) {
                let tile = self.cosines(device, part, precision, (sides, anchor));
                let sums = self.sums.each_ref().map(|sums| sums.part(part.row, part.rows));
                device.launch(&RowSums(part.tile()), &[tile, log_tau], &sums);
            }
            device.launch(&LogSums { count: pairs }, &[of(&self.sums[1])], &[of(&self.sums[0])]);
            for part in parts(pairs, self.side) {
                let tile = self.cosines(device, part, precision, (sides, anchor));
                let [row, slope, to_own, loss] = [&self.sums[0], &self.slope, &self.to_own, &self.loss]
                    .map(|values| values.part(part.row, part.rows));
                let (diagonal, add) = (part.diagonal(), anchor == 1);
                let kernel = NegativesGradient { tile: part.tile(), factor, diagonal, add };
                device.launch(&kernel, &[log_tau, row], &[tile, slope, to_own, loss]);
                let begins = [false, anchor == 0 && part.row == 0];
                let [to_anchor, to_mixed] = part.gradients(self.width, precision, begins);
                let [of_rows, of_columns] = part.of(self.width);
                let pass = sides.passes[anchor];
                let mixed = self.mixed.part(of_columns.0, of_columns.1);
                device.launch(&to_anchor, &[tile, mixed], &[pass.gradient(of_rows.0, of_rows.1)]);
                let out = self.to_mixed.part(of_columns.0, of_columns.1);
                device.launch(&to_mixed, &[tile, pass.embeddings(of_rows.0, of_rows.1)], &[out]);
            }
            device.launch(&AddLoss { count: pairs, step: 0, factor: 1.0 }, &[of(&self.slope)], &[to_log_tau]);
        }
        let reads = [x, y, of(&self.weights), of(&self.cosines), whole(&self.to_mixed), of(&self.to_own)];
        let writes = sides.passes.map(|pass| pass.gradient(all.0, all.1));
        device.launch(&GeodesicGradient(rows), &reads, &writes);
        device.launch(&AddLoss { count: pairs, step: at, factor }, &[of(&self.loss)], &[losses]);
    }

    /// The cosines of a tile's anchors with mixed rows, and with their own pairs.
    fn cosines(
        &self,
        device: &dyn Device,
        part: Part,
        precision: Precision,
        (sides, anchor): (Sides<'_>, usize),
    ) -> Slice<'_> {
        let tile = part.within(&self.tile);
        let [of_rows, of_columns] = part.of(self.width);
        let factors =
            [sides.passes[anchor].embeddings(of_rows.0, of_rows.1), self.mixed.part(of_columns.0, of_columns.1)];
        device.launch(&part.cosines(self.width, precision, false), &factors, &[tile]);
        if let Some(masked) = sides.masked {
            masked.apply(device, part, tile);
        }
        if part.diagonal() {
            let own = self.cosines.part(part.row, part.rows);
            device.launch(&SetOwn { count: part.rows }, &[own], &[tile]);
        }
        tile
    }
}
