//! Symmetric InfoNCE between two sides, in O(B) memory beside one tile of logits (see `kernels/info_nce.rs`).

use super::tower::Pass;
use crate::device::{Buffer, Device};
use crate::kernels::{ColumnSums, Gradient, Matmul, Reduce, RowSums, Tile, View};

/// Logits of a tile, unless a row has more.
const TILE: usize = 1 << 22;

/// The loss over `pairs` pairs of embeddings of `width` values.
pub(super) struct InfoNce {
    pairs: usize,
    width: usize,
    tile_rows: usize,
    tile: Buffer,
    /// Log of each row's sum of exponentials, and each pair's own logit.
    row: Buffer,
    own: Buffer,
    /// Each column's largest logit, and its sum of exponentials relative to that.
    most: Buffer,
    sum: Buffer,
    /// Each row's gradient to log tau.
    slope: Buffer,
}

impl InfoNce {
    pub(super) fn new(device: &dyn Device, pairs: usize, width: usize) -> Self {
        Self::with_tiles(device, pairs, width, TILE / pairs)
    }

    pub(super) fn with_tiles(device: &dyn Device, pairs: usize, width: usize, rows: usize) -> Self {
        let tile_rows = rows.clamp(1, pairs);
        let vector = || device.zeros(pairs);
        let tile = device.zeros(tile_rows * pairs);
        Self {
            pairs,
            width,
            tile_rows,
            tile,
            row: vector(),
            own: vector(),
            most: vector(),
            sum: vector(),
            slope: vector(),
        }
    }

    /// Writes the loss to `losses[at]`, and the gradients to both sides and to log tau.
    pub(super) fn launch(
        &self,
        device: &dyn Device,
        [x, y]: [&Pass; 2],
        (log_tau, to_log_tau): (&Buffer, &Buffer),
        (losses, at): (&Buffer, usize),
    ) {
        let (to_x, to_y) = (gradient(x), gradient(y));
        for tile in self.tiles() {
            self.cosines(device, tile, x, y);
            device.launch(&RowSums(tile), &[&self.tile, log_tau], &[&self.row, &self.own]);
            device.launch(&ColumnSums(tile), &[&self.tile, log_tau], &[&self.most, &self.sum]);
        }
        for tile in self.tiles() {
            // A single tile still holds its cosines.
            if self.tile_rows < self.pairs {
                self.cosines(device, tile, x, y);
            }
            device.launch(&Gradient(tile), &[log_tau, &self.row, &self.most, &self.sum], &[&self.tile, &self.slope]);
            let (rows, columns) = (View::rows(self.pairs), View::transposed(self.pairs));
            let embeddings = View::rows(self.width);
            let first = tile.first * self.width;
            let for_x = Matmul {
                m: tile.rows,
                n: self.width,
                k: self.pairs,
                a: rows,
                b: embeddings,
                out: first,
                accumulate: false,
            };
            device.launch(&for_x, &[&self.tile, &y.embeddings], &[to_x]);
            let for_y = Matmul {
                m: self.pairs,
                n: self.width,
                k: tile.rows,
                a: columns,
                b: embeddings.from(first),
                out: 0,
                accumulate: tile.first > 0,
            };
            device.launch(&for_y, &[&self.tile, &x.embeddings], &[to_y]);
        }
        let sums = [&self.row, &self.most, &self.sum, &self.own, &self.slope];
        device.launch(&Reduce { pairs: self.pairs, step: at }, &sums, &[losses, to_log_tau]);
    }

    fn tiles(&self) -> impl Iterator<Item = Tile> {
        let firsts = (0..self.pairs).step_by(self.tile_rows);
        firsts.map(|first| Tile { first, rows: self.tile_rows.min(self.pairs - first), pairs: self.pairs })
    }

    fn cosines(&self, device: &dyn Device, tile: Tile, x: &Pass, y: &Pass) {
        let product = Matmul {
            m: tile.rows,
            n: self.pairs,
            k: self.width,
            a: View::rows(self.width).from(tile.first * self.width),
            b: View::transposed(self.width),
            out: 0,
            accumulate: false,
        };
        device.launch(&product, &[&x.embeddings, &y.embeddings], &[&self.tile]);
    }
}

fn gradient(pass: &Pass) -> &Buffer {
    pass.gradient.as_ref().expect("a pass for training")
}
