//! The term that keeps the neighbourhoods of latents in the shared space (STRUCTURE, arXiv 2506.16895, at its first
//! level; see `kernels/divergence.rs`).
//!
//! Of a batch, `structure / 2` times the sum over both towers of the mean divergence of a row, between its
//! neighbourhood among the latents and that among the embeddings; rows are centred within the batch, and of length 1.

use super::centred::CentredRows;
use super::pass::Pass;
use super::resolved::Options;
use super::tiles::{Part, parts};
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{AddLoss, Divergence, DivergenceGradient, LogSums, Precision, RowSums, WithoutOwn};

/// Room for the term over up to some pairs.
pub(super) struct Structure {
    weight: f32,
    side: usize,
    log_tau: Buffer,
    /// Of the latents, and of the embeddings: a tile of cosines, and the log-sum-exps of rows.
    tiles: [Buffer; 2],
    sums: [[Buffer; 2]; 2],
    /// Of each row, KL(q | m), and its divergence.
    of_second: Buffer,
    divergence: Buffer,
    embeddings: CentredRows,
    /// The gradient to the centred embeddings.
    gradient: Buffer,
}

impl Structure {
    /// Values that it needs for `pairs` pairs and tiles of `side` rows and columns.
    pub(super) fn values(options: &Options, pairs: usize, side: usize) -> usize {
        let rows = pairs * (6 + options.width + CentredRows::values(options.width));
        options.structure.map_or(0, |_| 2 * side * side + rows)
    }

    /// None if the term has no weight.
    pub(super) fn new(device: &dyn Device, options: &Options, pairs: usize, side: usize) -> Option<Self> {
        let vector = || device.zeros(pairs);
        let temperature = options.structure_temperature;
        options.structure.zip(temperature).map(|(weight, temperature)| Self {
            weight,
            side,
            log_tau: device.upload(&[temperature.ln()]),
            tiles: [(); 2].map(|()| device.zeros(side * side)),
            sums: [(); 2].map(|()| [vector(), vector()]),
            of_second: vector(),
            divergence: vector(),
            embeddings: CentredRows::new(device, pairs, options.width),
            gradient: device.zeros(pairs * options.width),
        })
    }

    /// Adds the term of a tower to `losses[at]`, and its gradient to that of the pass.
    pub(super) fn launch(
        &self,
        device: &dyn Device,
        (pairs, precision): (usize, Precision),
        latents: &CentredRows,
        pass: &Pass,
        (losses, at): (Slice<'_>, usize),
    ) {
        let width = self.embeddings.width();
        self.embeddings.set(device, pairs, pass.embeddings(0, pairs * width));
        let spaces = [latents, &self.embeddings];
        let one = parts(pairs, self.side).len() == 1;
        for part in parts(pairs, self.side) {
            for (space, rows) in spaces.into_iter().enumerate() {
                let tile = self.cosines(device, part, precision, (space, rows));
                let sums = self.sums[space].each_ref().map(|sums| sums.part(part.row, part.rows));
                device.launch(&RowSums(part.tile()), &[tile, self.log_tau.all()], &sums);
            }
        }
        for [most, sum] in &self.sums {
            device.launch(&LogSums { count: pairs }, &[sum.part(0, pairs)], &[most.part(0, pairs)]);
        }
        let tiles = |part: Part| {
            let tile = |(space, rows)| match one {
                true => part.within(&self.tiles[space]),
                false => self.cosines(device, part, precision, (space, rows)),
            };
            [tile((0, spaces[0])), tile((1, spaces[1]))]
        };
        for part in parts(pairs, self.side) {
            let [first, second] = tiles(part);
            let [of_first, of_second] = self.sums.each_ref().map(|sums| sums[0].part(part.row, part.rows));
            let reads = [first, second, self.log_tau.all(), of_first, of_second];
            let writes = [&self.of_second, &self.divergence].map(|values| values.part(part.row, part.rows));
            device.launch(&Divergence(part.tile()), &reads, &writes);
        }
        let factor = self.weight / (2.0 * pairs as f32);
        for part in parts(pairs, self.side) {
            let [first, second] = tiles(part);
            let [of_first, of_second] = self.sums.each_ref().map(|sums| sums[0].part(part.row, part.rows));
            let slope = self.of_second.part(part.row, part.rows);
            let kernel = DivergenceGradient { tile: part.tile(), factor };
            device.launch(&kernel, &[first, self.log_tau.all(), of_first, of_second, slope], &[second]);
            // The tiles come row by row: a tile of the first row is the first of its columns.
            let begins = [part.index == 0, part.row == 0 && part.column > 0];
            let [to_rows, to_columns] = part.gradients(width, precision, begins);
            let [rows, columns] = part.of(width);
            let to = |(first, count): (usize, usize)| self.gradient.part(first, count);
            device.launch(&to_rows, &[second, self.embeddings.unit(columns)], &[to(rows)]);
            device.launch(&to_columns, &[second, self.embeddings.unit(rows)], &[to(columns)]);
        }
        let (gradient, out) = (self.gradient.part(0, pairs * width), pass.gradient(0, pairs * width));
        self.embeddings.backward(device, pairs, gradient, out);
        let add = AddLoss { count: pairs, step: at, factor };
        device.launch(&add, &[self.divergence.part(0, pairs)], &[losses]);
    }

    fn cosines(
        &self,
        device: &dyn Device,
        part: Part,
        precision: Precision,
        (space, rows): (usize, &CentredRows),
    ) -> Slice<'_> {
        let tile = part.within(&self.tiles[space]);
        let [of_rows, of_columns] = part.of(rows.width()).map(|of| rows.unit(of));
        device.launch(&part.cosines(rows.width(), precision, false), &[of_rows, of_columns], &[tile]);
        if part.diagonal() {
            device.launch(&WithoutOwn { count: part.rows }, &[], &[tile]);
        }
        tile
    }
}
