//! LayerNorm, forward and backward, over `rows` rows.

use super::backward::Backward;
use super::linear::Linear;
use super::parameter::{Parameter, Source, Version};
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{AddNorm, Format, LayerNorm, LayerNormBackward, LayerNormGains, Standardize, Unfold};

/// LayerNorm with gain and shift.
pub(crate) struct Norm {
    weight: Parameter,
    bias: Parameter,
    width: usize,
}

/// The record of a [`Norm`] for its backward pass: its output `(rows x width)`, and mean and 1 / deviation of each row.
pub(crate) struct Normed {
    out: Buffer,
    moments: Buffer,
    format: Format,
    width: usize,
}

impl Normed {
    /// Values of a row whose output has this format.
    pub(crate) fn values(width: usize, format: Format) -> usize {
        format.values(1, width) + 2
    }

    pub(crate) fn new(device: &dyn Device, rows: usize, width: usize, format: Format) -> Self {
        Self { out: device.zeros(format.values(rows, width)), moments: device.zeros(2 * rows), format, width }
    }

    /// The output of `rows` rows.
    pub(crate) fn out(&self, rows: usize) -> Slice<'_> {
        self.out.part(0, self.format.values(rows, self.width))
    }
}

impl Norm {
    pub(crate) fn new(device: &dyn Device, source: &mut dyn Source, name: &str, width: usize) -> Self {
        let mut parameter = |part: &str, value| {
            let name = format!("{name}.{part}");
            let values = source.constant(&name, &[width], value);
            Parameter::new(device, name, &[width], &values)
        };
        Self { weight: parameter("weight", 1.0), bias: parameter("bias", 0.0), width }
    }

    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        [&self.weight, &self.bias].into_iter()
    }

    pub(crate) fn forward(&self, device: &dyn Device, rows: usize, version: Version, x: Slice<'_>, y: &Normed) {
        let kernel = LayerNorm { rows, width: self.width, format: y.format };
        let reads = [x, self.weight.values(version), self.bias.values(version)];
        device.launch(&kernel, &reads, &[y.out(rows), y.moments.part(0, 2 * rows)]);
    }

    /// The same of `sum (rows x width)`, to which bias and residual are added before.
    pub(crate) fn forward_of_sum(
        &self,
        device: &dyn Device,
        rows: usize,
        version: Version,
        (sum, bias, residual): (Slice<'_>, Slice<'_>, Slice<'_>),
        y: &Normed,
    ) {
        let kernel = AddNorm { rows, width: self.width, format: y.format };
        let reads = [bias, residual, self.weight.values(version), self.bias.values(version)];
        device.launch(&kernel, &reads, &[sum, y.out(rows), y.moments.part(0, 2 * rows)]);
    }

    /// Writes the rows without gain and shift, again, in the format of `y`.
    pub(crate) fn standardize(&self, device: &dyn Device, rows: usize, x: Slice<'_>, y: &Normed, out: Slice<'_>) {
        let kernel = Standardize { rows, width: self.width, format: y.format };
        device.launch(&kernel, &[x, y.moments.part(0, 2 * rows)], &[out]);
    }

    /// The gradients to the parameters, and to those of the following Linear, whose weight's gradient so far is that of
    /// the standardised rows.
    pub(crate) fn unfold(&self, device: &dyn Device, linear: &Linear) {
        let kernel = Unfold { rows: linear.outputs, width: self.width };
        let version = Version::Trained;
        let (gain, shift) = (self.weight.values(version), self.bias.values(version));
        let reads = [linear.weight.values(version), gain, shift, linear.bias.gradient()];
        let writes = [linear.weight.gradient(), self.weight.gradient(), self.bias.gradient()];
        device.launch(&kernel, &reads, &writes);
    }

    /// The gradients to the parameters, and to `x`, which is written or, with `add`, added to `to_input`, and then
    /// written to `halves` too, if those are there.
    pub(crate) fn backward(
        &self,
        pass: Backward<'_>,
        (x, y): (Slice<'_>, &Normed),
        gradient: Slice<'_>,
        (to_input, add, halves): (Slice<'_>, bool, Option<Slice<'_>>),
    ) {
        let (Backward { device, rows, accumulate, .. }, width) = (pass, self.width);
        let moments = y.moments.part(0, 2 * rows);
        let gains = LayerNormGains { rows, width, accumulate };
        device.launch(&gains, &[x, moments, gradient], &[self.weight.gradient(), self.bias.gradient()]);
        let kernel = LayerNormBackward { rows, width, accumulate: add, halved: halves.is_some() };
        let writes: Vec<_> = [to_input].into_iter().chain(halves).collect();
        device.launch(&kernel, &[x, self.weight.values(Version::Trained), moments, gradient], &writes);
    }
}
