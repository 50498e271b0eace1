//! The loss between two sides, in O(B) memory besides some tiles of logits (see `kernels/info_nce.rs` and
//! `sigmoid.rs`).

use super::centred::CentredRows;
use super::mask::Masked;
use super::objective::Loss;
use super::pass::{GoOn, Pass};
use super::targets::Targets;
use super::tiles::{Part, parts};
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{
    ColumnSums, Diagonal, Format, Gradient, HalfGradient, Halve, LogSums, Matmul, Precision, Reduce, RowSums,
    SigmoidGradient, SigmoidReduce, SigmoidTargetGradient, TargetGradient, Tile,
};

/// Buffers for the loss over up to `pairs` pairs of embeddings of `width` values.
pub(super) struct PairLoss {
    width: usize,
    side: usize,
    /// One per tile for the first tiles; the last is shared by all other tiles, whose cosines are recomputed.
    tiles: Vec<Buffer>,
    /// Log-sum-exps of rows and columns: the largest logit first, and the sum of exponentials relative to it.
    row: [Buffer; 2],
    column: [Buffer; 2],
    /// Each pair's own logit.
    own: Buffer,
    /// Each row's gradient to log tau.
    slope: Buffer,
    /// The bias of the sigmoid's logits; none for InfoNCE.
    bias: Option<f32>,
    /// The factors of products, if those are f16.
    halves: Option<Halves>,
}

/// Factors in f16: the embeddings of both sides, and a tile of gradients.
struct Halves {
    sides: [Buffer; 2],
    tile: Buffer,
}

impl Halves {
    /// Values for up to `pairs` pairs of `width` values and tiles of `side` rows and columns.
    fn values((pairs, width): (usize, usize), side: usize) -> usize {
        2 * Format::F16.values(pairs, width) + Format::F16.values(side, side)
    }

    fn new(device: &dyn Device, (pairs, width): (usize, usize), side: usize) -> Self {
        let sides = [(); 2].map(|()| device.zeros(Format::F16.values(pairs, width)));
        Self { sides, tile: device.zeros(Format::F16.values(side, side)) }
    }
}

/// The targets of a batch, and the centred latents of both sides that they may come from.
pub(super) type Wanted<'a> = (&'a Targets, Option<[&'a CentredRows; 2]>);

/// What a loss compares: the embeddings of both sides, with the pairs that are no negatives of each other.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) passes: [&'a Pass; 2],
    pub(super) masked: Option<Masked<'a>>,
}

impl PairLoss {
    /// Values of factors in f16, if products have those.
    pub(super) fn values_in_f16(shape: (usize, usize), side: usize, format: Format) -> usize {
        if format == Format::F16 { Halves::values(shape, side) } else { 0 }
    }

    /// Keeps `kept` tiles, at least one, of `side` rows and columns.
    pub(super) fn new(
        device: &dyn Device,
        (pairs, width): (usize, usize),
        (side, kept): (usize, usize),
        (bias, format): (Option<f32>, Format),
    ) -> Self {
        let side = side.min(pairs);
        let vector = || device.zeros(pairs);
        let tiles = pairs.div_ceil(side) * pairs.div_ceil(side);
        Self {
            width,
            side,
            tiles: (0..kept.clamp(1, tiles)).map(|_| device.zeros(side * side)).collect(),
            row: [vector(), vector()],
            column: [vector(), vector()],
            own: vector(),
            slope: vector(),
            bias,
            halves: (format == Format::F16).then(|| Halves::new(device, (pairs, width), side)),
        }
    }

    /// Writes the loss over `pairs` pairs to `losses[at]`, and the gradients to both sides and to log tau. Each pair is
    /// all that its row belongs to, or there are prepared targets. False if it is not to go on.
    pub(super) fn launch(
        &self,
        device: &dyn Device,
        shape: (usize, Precision),
        (sides, wanted): (Sides<'_>, Option<Wanted<'_>>),
        taus: (Slice<'_>, Slice<'_>),
        (losses, go_on): ((Slice<'_>, usize), GoOn<'_>),
    ) -> bool {
        if let Some(halves) = &self.halves {
            let (rows, width) = (shape.0, self.width);
            for (half, side) in halves.sides.iter().zip(sides.passes) {
                let kernel = Halve { rows, width, scale: 1.0 };
                let half = half.part(0, Format::F16.values(rows, width));
                device.launch(&kernel, &[side.embeddings(0, rows * width)], &[half]);
            }
        }
        match self.bias {
            None => self.info_nce(device, shape, (sides, wanted), taus, (losses, go_on)),
            Some(bias) => self.sigmoid((device, bias), shape, (sides, wanted), taus, (losses, go_on)),
        }
    }

    fn sigmoid(
        &self,
        (device, bias): (&dyn Device, f32),
        (pairs, precision): (usize, Precision),
        (sides, wanted): (Sides<'_>, Option<Wanted<'_>>),
        (log_tau, to_log_tau): (Slice<'_>, Slice<'_>),
        ((losses, at), go_on): ((Slice<'_>, usize), GoOn<'_>),
    ) -> bool {
        let [loss, _] = &self.row;
        for part in parts(pairs, self.side) {
            if !go_on() {
                return false;
            }
            let tile = self.cosines(device, part, precision, sides);
            let gradient = SigmoidGradient { tile: part.tile(), pairs, diagonal: part.diagonal(), bias };
            let [slope, loss] = [&self.slope, loss].map(|buffer| buffer.part(part.row, part.rows));
            match wanted {
                None => device.launch(&gradient, &[log_tau], &[tile, slope, loss]),
                Some((targets, latents)) => {
                    let targets = targets.tile(device, part, (pairs, self.of_targets(precision)), latents);
                    device.launch(&SigmoidTargetGradient(gradient), &[log_tau, targets], &[tile, slope, loss]);
                }
            }
            let begins = [part.column == 0, part.row == 0];
            let scale = Loss::Sigmoid.scale(pairs);
            self.halve(device, part, scale);
            self.to_sides(device, part, (precision, scale), sides.passes, begins);
        }
        let reads = [loss.part(0, pairs), self.slope.part(0, pairs)];
        device.launch(&SigmoidReduce { pairs, step: at }, &reads, &[losses, to_log_tau]);
        true
    }

    /// The gradients to both sides from a tile of gradients, which `scale` brings into f16's range; `begins` are true
    /// for the first of its rows, and of its columns.
    fn to_sides(
        &self,
        device: &dyn Device,
        part: Part,
        (precision, scale): (Precision, f32),
        [x, y]: [&Pass; 2],
        begins: [bool; 2],
    ) {
        let products = part.gradients(self.width, precision, begins);
        let (tile, formats, scale) = match self.halves(part) {
            None => (self.tile(part), [Format::F32; 2], 1.0),
            Some(tile) => (tile, [Format::F16, Format::F32], scale),
        };
        let [to_x, to_y] = products.map(|product| Matmul { formats, scale, ..product });
        let [of_x, of_y] = part.of(self.width);
        let [factor_x, factor_y] = self.factors(part, [x, y]);
        device.launch(&to_x, &[tile, factor_y], &[x.gradient(of_x.0, of_x.1)]);
        device.launch(&to_y, &[tile, factor_x], &[y.gradient(of_y.0, of_y.1)]);
    }

    /// The precision of targets, whose factors are f32 in memory.
    fn of_targets(&self, precision: Precision) -> Precision {
        if self.halves.is_some() { Precision::F32 } else { precision }
    }

    /// A tile of gradients in f16, if products read those.
    fn halves(&self, part: Part) -> Option<Slice<'_>> {
        let values = Format::F16.values(part.rows, part.columns);
        self.halves.as_ref().map(|halves| halves.tile.part(0, values))
    }

    /// Brings a tile of gradients, times `scale`, into f16, if products read that.
    fn halve(&self, device: &dyn Device, part: Part, scale: f32) {
        if let Some(halves) = self.halves(part) {
            device.launch(&Halve { rows: part.rows, width: part.columns, scale }, &[self.tile(part)], &[halves]);
        }
    }

    /// The embeddings of a tile's rows and columns, as factors of products.
    fn factors<'a>(&'a self, part: Part, sides: [&'a Pass; 2]) -> [Slice<'a>; 2] {
        let [of_x, of_y] = part.of(self.width);
        match &self.halves {
            None => [sides[0].embeddings(of_x.0, of_x.1), sides[1].embeddings(of_y.0, of_y.1)],
            Some(Halves { sides: [x, y], .. }) => {
                let values = |rows| Format::F16.values(rows, self.width);
                [x.part(values(part.row), values(part.rows)), y.part(values(part.column), values(part.columns))]
            }
        }
    }

    fn info_nce(
        &self,
        device: &dyn Device,
        (pairs, precision): (usize, Precision),
        (sides, wanted): (Sides<'_>, Option<Wanted<'_>>),
        (log_tau, to_log_tau): (Slice<'_>, Slice<'_>),
        ((losses, at), go_on): ((Slice<'_>, usize), GoOn<'_>),
    ) -> bool {
        for part in parts(pairs, self.side) {
            if !go_on() {
                return false;
            }
            let tile = self.cosines(device, part, precision, sides);
            let (row, column) = (self.row_part(part), self.column_part(part));
            let whole = part.tile();
            device.launch(&RowSums(whole), &[tile, log_tau], &row);
            device.launch(&ColumnSums(Tile { begin: part.row == 0, ..whole }), &[tile, log_tau], &column);
            if part.diagonal() && wanted.is_none() {
                device.launch(&Diagonal { count: part.rows }, &[tile, log_tau], &[self.own.part(part.row, part.rows)]);
            }
        }
        for [most, sum] in [&self.row, &self.column] {
            device.launch(&LogSums { count: pairs }, &[sum.part(0, pairs)], &[most.part(0, pairs)]);
        }
        let last = parts(pairs, self.side).len() - 1;
        // The last tile came last, and is still there.
        for part in parts(pairs, self.side).rev() {
            if !go_on() {
                return false;
            }
            let tile = match part.index + 1 >= self.tiles.len() && part.index < last {
                true => self.cosines(device, part, precision, sides),
                false => self.tile(part),
            };
            let ([row, _], [column, _]) = (self.row_part(part), self.column_part(part));
            let end = |first: usize, count: usize| first + count == pairs;
            let begins = [end(part.column, part.columns), end(part.row, part.rows)];
            let (whole, slope) = (Tile { begin: begins[0], ..part.tile() }, self.slope.part(part.row, part.rows));
            match wanted {
                None => {
                    let gradient = Gradient { tile: whole, pairs, diagonal: part.diagonal() };
                    match self.halves(part) {
                        None => device.launch(&gradient, &[log_tau, row, column], &[tile, slope]),
                        Some(halves) => {
                            let kernel = HalfGradient { gradient, scale: Loss::InfoNce.scale(pairs) };
                            device.launch(&kernel, &[log_tau, row, column, tile], &[halves, slope]);
                        }
                    }
                }
                Some((targets, latents)) => {
                    let targets = targets.tile(device, part, (pairs, self.of_targets(precision)), latents);
                    let own = self.own.part(part.row, part.rows);
                    let gradient = TargetGradient { tile: whole, pairs };
                    device.launch(&gradient, &[log_tau, row, column, targets], &[tile, slope, own]);
                    self.halve(device, part, Loss::InfoNce.scale(pairs));
                }
            }
            self.to_sides(device, part, (precision, Loss::InfoNce.scale(pairs)), sides.passes, begins);
        }
        let [row, column] = [&self.row[0], &self.column[0]].map(|sums| sums.part(0, pairs));
        let reads = [row, column, self.own.part(0, pairs), self.slope.part(0, pairs)];
        device.launch(&Reduce { pairs, step: at }, &reads, &[losses, to_log_tau]);
        true
    }

    fn tile(&self, part: Part) -> Slice<'_> {
        self.tiles[part.index.min(self.tiles.len() - 1)].part(0, part.rows * part.columns)
    }

    fn row_part(&self, part: Part) -> [Slice<'_>; 2] {
        self.row.each_ref().map(|buffer| buffer.part(part.row, part.rows))
    }

    fn column_part(&self, part: Part) -> [Slice<'_>; 2] {
        self.column.each_ref().map(|buffer| buffer.part(part.column, part.columns))
    }

    fn cosines(&self, device: &dyn Device, part: Part, precision: Precision, sides: Sides<'_>) -> Slice<'_> {
        let tile = self.tile(part);
        let formats = [if self.halves.is_some() { Format::F16 } else { Format::F32 }, Format::F32];
        let product = Matmul { formats, ..part.cosines(self.width, precision, false) };
        device.launch(&product, &self.factors(part, sides.passes), &[tile]);
        if let Some(masked) = sides.masked {
            masked.apply(device, part, tile);
        }
        tile
    }
}

#[cfg(test)]
mod tests;
