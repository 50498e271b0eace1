//! The rows of a batch less their mean, and of length 1: what neighbourhoods are found in.

use crate::device::{Buffer, Device, Slice};
use crate::kernels::{Centred, ColumnSum, Format, Normalize, NormalizeBackward};

/// Room for up to some rows.
pub(super) struct CentredRows {
    width: usize,
    /// The sum of the rows, `width`.
    sums: Buffer,
    /// Less their mean, `rows x width`.
    centred: Buffer,
    /// And of length 1, with the inverse of their length before.
    unit: Buffer,
    inverse: Buffer,
    /// 1, the scale of gradients here.
    one: Buffer,
}

impl CentredRows {
    /// Values of a row.
    pub(super) fn values(width: usize) -> usize {
        2 * width + 1
    }

    pub(super) fn new(device: &dyn Device, rows: usize, width: usize) -> Self {
        Self {
            width,
            sums: device.zeros(width),
            centred: device.zeros(rows * width),
            unit: device.zeros(rows * width),
            inverse: device.zeros(rows),
            one: device.upload(&[1.0]),
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Room for `rows` rows that [`CentredRows::set`] may be given.
    pub(super) fn raw(&self, first: usize, rows: usize) -> Slice<'_> {
        self.unit.part(first * self.width, rows * self.width)
    }

    /// Centres `raw (rows x width)`.
    pub(super) fn set(&self, device: &dyn Device, rows: usize, raw: Slice<'_>) {
        let (width, values) = (self.width, rows * self.width);
        device.launch(&ColumnSum { rows, width, accumulate: false, format: Format::F32 }, &[raw], &[self.sums.all()]);
        let centred = self.centred.part(0, values);
        device.launch(&Centred { rows, width, accumulate: false }, &[raw, self.sums.all()], &[centred]);
        let out = [self.unit.part(0, values), self.inverse.part(0, rows)];
        device.launch(&Normalize { rows, width }, &[centred], &out);
    }

    /// `values` of the rows from value `first` on.
    pub(super) fn unit(&self, (first, values): (usize, usize)) -> Slice<'_> {
        self.unit.part(first, values)
    }

    /// Adds the gradient to what was centred to `out (rows x width)`, from `gradient (rows x width)` to the rows, which
    /// is consumed.
    pub(super) fn backward(&self, device: &dyn Device, rows: usize, gradient: Slice<'_>, out: Slice<'_>) {
        let width = self.width;
        let reads = [self.unit.part(0, rows * width), self.inverse.part(0, rows), self.one.all()];
        device.launch(&NormalizeBackward { rows, width }, &reads, &[gradient]);
        device.launch(
            &ColumnSum { rows, width, accumulate: false, format: Format::F32 },
            &[gradient],
            &[self.sums.all()],
        );
        device.launch(&Centred { rows, width, accumulate: true }, &[gradient, self.sums.all()], &[out]);
    }
}
