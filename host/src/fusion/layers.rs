//! The layers of an adapter, forward and backward, over `rows` rows.

use super::Options;
use super::parameter::{Parameter, Source, Version};
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{
    ColumnSum, LayerNorm, LayerNormBackward, LayerNormGains, Matmul, Order, Precision, Standardize, Unfold,
};

/// `y = x W^T`, with `W (outputs x inputs)`, and a bias that the layer behind it adds.
pub(super) struct Linear {
    pub(super) weight: Parameter,
    /// Zeros that nobody trains, in an adapter without biases.
    pub(super) bias: Parameter,
    biased: bool,
    inputs: usize,
    outputs: usize,
}

/// A backward pass over a micro-batch.
#[derive(Clone, Copy)]
pub(super) struct Backward<'a> {
    pub(super) device: &'a dyn Device,
    pub(super) rows: usize,
    pub(super) precision: Precision,
    /// What brings gradients to the order of 1.
    pub(super) scale: f32,
    /// Whether the gradients to the parameters are added to those of other micro-batches.
    pub(super) accumulate: bool,
}

impl Linear {
    pub(super) fn new(
        device: &dyn Device,
        source: &mut dyn Source,
        name: &str,
        [inputs, outputs]: [usize; 2],
        biased: bool,
    ) -> Self {
        let mut parameter = |part: &str, shape: &[usize], there: bool| {
            let name = format!("{name}.{part}");
            let values = if there { source.uniform(&name, shape, inputs) } else { vec![0.0; outputs] };
            Parameter::new(device, name, shape, &values)
        };
        let weight = parameter("weight", &[outputs, inputs], true);
        Self { weight, bias: parameter("bias", &[outputs], biased), biased, inputs, outputs }
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        [&self.weight].into_iter().chain(self.biased.then_some(&self.bias))
    }

    /// Room for the gradient to the bias, which is computed even where it trains nothing.
    pub(super) fn train(&self, device: &dyn Device, options: &Options) {
        self.bias.train(device, options);
    }

    /// Writes `x W^T (rows x outputs)` of `x (rows x inputs)`.
    pub(super) fn forward(
        &self,
        device: &dyn Device,
        rows: usize,
        (version, precision): (Version, Precision),
        x: Slice<'_>,
        y: Slice<'_>,
    ) {
        let product = Matmul {
            m: rows,
            n: self.outputs,
            k: self.inputs,
            a: Order::Rows,
            b: Order::Columns,
            accumulate: false,
            precision,
            scale: 1.0,
        };
        device.launch(&product, &[x, self.weight.values(version)], &[y]);
    }

    /// The gradient to `x` from `gradient (rows x outputs)`.
    pub(super) fn backward_input(&self, pass: Backward<'_>, gradient: Slice<'_>, to_input: Slice<'_>) {
        let product = Matmul {
            m: pass.rows,
            n: self.inputs,
            k: self.outputs,
            a: Order::Rows,
            b: Order::Rows,
            accumulate: false,
            precision: pass.precision,
            scale: pass.scale,
        };
        pass.device.launch(&product, &[gradient, self.weight.values(Version::Trained)], &[to_input]);
    }

    /// The gradients to the parameters from `x (rows x inputs)` and `gradient (rows x outputs)`.
    pub(super) fn backward_parameters(&self, pass: Backward<'_>, x: Slice<'_>, gradient: Slice<'_>) {
        let Backward { device, rows, precision, scale, accumulate } = pass;
        let product = Matmul {
            m: self.outputs,
            n: self.inputs,
            k: rows,
            a: Order::Columns,
            b: Order::Rows,
            accumulate,
            precision,
            scale,
        };
        device.launch(&product, &[gradient, x], &[self.weight.gradient()]);
        let sum = ColumnSum { rows, width: self.outputs, accumulate };
        device.launch(&sum, &[gradient], &[self.bias.gradient()]);
    }
}

/// LayerNorm with gain and shift.
pub(super) struct Norm {
    weight: Parameter,
    bias: Parameter,
    width: usize,
}

/// What a [`Norm`] leaves for its backward pass: its output `(rows x width)`, and mean and 1 / deviation of each row.
pub(super) struct Normed {
    out: Buffer,
    moments: Buffer,
}

impl Normed {
    /// Values of a row.
    pub(super) fn values(width: usize) -> usize {
        width + 2
    }

    pub(super) fn new(device: &dyn Device, rows: usize, width: usize) -> Self {
        Self { out: device.zeros(rows * width), moments: device.zeros(2 * rows) }
    }

    pub(super) fn out(&self, values: usize) -> Slice<'_> {
        self.out.part(0, values)
    }
}

impl Norm {
    pub(super) fn new(device: &dyn Device, source: &mut dyn Source, name: &str, width: usize) -> Self {
        let mut parameter = |part: &str, value| {
            let name = format!("{name}.{part}");
            let values = source.constant(&name, &[width], value);
            Parameter::new(device, name, &[width], &values)
        };
        Self { weight: parameter("weight", 1.0), bias: parameter("bias", 0.0), width }
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        [&self.weight, &self.bias].into_iter()
    }

    pub(super) fn forward(&self, device: &dyn Device, rows: usize, version: Version, x: Slice<'_>, y: &Normed) {
        let kernel = LayerNorm { rows, width: self.width };
        let reads = [x, self.weight.values(version), self.bias.values(version)];
        device.launch(&kernel, &reads, &[y.out(rows * self.width), y.moments.part(0, 2 * rows)]);
    }

    /// Writes the rows without gain and shift, again.
    pub(super) fn standardize(&self, device: &dyn Device, rows: usize, x: Slice<'_>, y: &Normed, out: Slice<'_>) {
        let kernel = Standardize { rows, width: self.width };
        device.launch(&kernel, &[x, y.moments.part(0, 2 * rows)], &[out]);
    }

    /// The gradients to the parameters, and to those of the Linear behind, whose weight's gradient so far is that of the
    /// standardised rows.
    pub(super) fn unfold(&self, device: &dyn Device, linear: &Linear) {
        let kernel = Unfold { rows: linear.outputs, width: self.width };
        let version = Version::Trained;
        let (gain, shift) = (self.weight.values(version), self.bias.values(version));
        let reads = [linear.weight.values(version), gain, shift, linear.bias.gradient()];
        let writes = [linear.weight.gradient(), self.weight.gradient(), self.bias.gradient()];
        device.launch(&kernel, &reads, &writes);
    }

    /// The gradients to the parameters, and to `x`, which is written or, with `add`, added to `to_input`.
    pub(super) fn backward(
        &self,
        pass: Backward<'_>,
        (x, y): (Slice<'_>, &Normed),
        gradient: Slice<'_>,
        (to_input, add): (Slice<'_>, bool),
    ) {
        let (Backward { device, rows, accumulate, .. }, width) = (pass, self.width);
        let moments = y.moments.part(0, 2 * rows);
        let gains = LayerNormGains { rows, width, accumulate };
        device.launch(&gains, &[x, moments, gradient], &[self.weight.gradient(), self.bias.gradient()]);
        let kernel = LayerNormBackward { rows, width, accumulate: add };
        device.launch(&kernel, &[x, self.weight.values(Version::Trained), moments, gradient], &[to_input]);
    }
}
