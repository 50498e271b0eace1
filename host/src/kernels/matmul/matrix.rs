//! Matrices as read by products.

/// The layout of a matrix in its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Row by row.
    Rows,
    /// Column by column: its transpose lies row by row.
    Columns,
}

impl Order {
    /// The strides from one row and from one column to the next, in a matrix of these dimensions.
    pub(super) fn strides(self, rows: usize, columns: usize) -> [usize; 2] {
        match self {
            Self::Rows => [columns, 1],
            Self::Columns => [1, rows],
        }
    }

    /// The same in a matrix whose lines are `line` values apart.
    pub(super) fn steps(self, line: usize) -> [usize; 2] {
        match self {
            Self::Rows => [line, 1],
            Self::Columns => [1, line],
        }
    }
}

/// A matrix that a product reads.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) order: Order,
}

impl Matrix<'_> {
    /// The transpose, in the same place.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn transposed(self) -> Self {
        let order = match self.order {
            Order::Rows => Order::Columns,
            Order::Columns => Order::Rows,
        };
        Self { order, ..self }
    }
}
