//! Tiles of a matrix over the pairs of a batch, such as that of their cosines: no more than some of them are in memory.

use crate::device::Slice;
use crate::kernels::{Matmul, Order, Precision, Tile};

/// Rows and columns of a tile: large enough for products at full speed, and 16 MiB in size.
pub(super) const TILE: usize = 2048;

/// The same on a GPU, which wants fewer launches, and work for all of its processors in each.
pub(super) const GPU_TILE: usize = 4096;

/// A part of the matrix: tile `index`, rows and columns from here on.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) index: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) column: usize,
    pub(super) columns: usize,
}

/// The tiles of `side` rows and columns of a matrix of `pairs` each, row by row.
pub(super) fn parts(pairs: usize, side: usize) -> impl DoubleEndedIterator<Item = Part> + ExactSizeIterator {
    let across = pairs.div_ceil(side);
    (0..across * across).map(move |index| {
        let (row, column) = (index / across * side, index % across * side);
        let count = |first: usize| side.min(pairs - first);
        Part { index, row, rows: count(row), column, columns: count(column) }
    })
}

impl Part {
    /// The tile as the first of its rows.
    pub(super) fn tile(self) -> Tile {
        Tile { rows: self.rows, columns: self.columns, begin: self.column == 0 }
    }

    /// True if the pairs themselves are on its diagonal.
    pub(super) fn diagonal(self) -> bool {
        self.row == self.column
    }

    /// The product of rows of width `width` with columns of the same, `rows x columns`.
    pub(super) fn cosines(self, width: usize, precision: Precision, accumulate: bool) -> Matmul {
        let orders = [Order::Rows, Order::Columns];
        Matmul { accumulate, ..Matmul::new([self.rows, self.columns, width], orders, precision) }
    }

    /// The products of a tile of gradients that give those to its rows `(rows x width)` and to its columns `(columns x
    /// width)`; `begins` are true where nothing is there that they are added to.
    pub(super) fn gradients(self, width: usize, precision: Precision, begins: [bool; 2]) -> [Matmul; 2] {
        let Self { rows, columns, .. } = self;
        let to_rows =
            Matmul { accumulate: !begins[0], ..Matmul::new([rows, width, columns], [Order::Rows; 2], precision) };
        let to_columns = Matmul { m: columns, k: rows, a: Order::Columns, accumulate: !begins[1], ..to_rows };
        [to_rows, to_columns]
    }

    /// Its rows, and its columns, of a matrix of width `width`: the first value, and their number.
    pub(super) fn of(self, width: usize) -> [(usize, usize); 2] {
        [(self.row * width, self.rows * width), (self.column * width, self.columns * width)]
    }

    /// Its part of a buffer for tiles.
    pub(super) fn within(self, buffer: &crate::device::Buffer) -> Slice<'_> {
        buffer.part(0, self.rows * self.columns)
    }
}
