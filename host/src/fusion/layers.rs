//! The layers of an adapter, forward and backward, over `rows` rows.

use super::parameter::{Parameter, Source};
use crate::device::{Buffer, Device};
use crate::kernels::{AddBias, ColumnSum, LayerNorm, LayerNormBackward, LayerNormGains, Matmul, View};

/// `y = x W^T + b`, with `W (outputs x inputs)`.
pub(super) struct Linear {
    weight: Parameter,
    bias: Parameter,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    pub(super) fn new(device: &dyn Device, source: &mut dyn Source, name: &str, inputs: usize, outputs: usize) -> Self {
        let mut parameter = |part: &str, shape: &[usize]| {
            let name = format!("{name}.{part}");
            let values = source.uniform(&name, shape, inputs);
            Parameter::new(device, name, shape, &values)
        };
        let weight = parameter("weight", &[outputs, inputs]);
        Self { weight, bias: parameter("bias", &[outputs]), inputs, outputs }
    }

    pub(super) fn parameters(&self) -> [&Parameter; 2] {
        [&self.weight, &self.bias]
    }

    /// Writes `y (rows x outputs)` of `x (rows x inputs)`, plus a residual `(rows x outputs)`.
    pub(super) fn forward(&self, device: &dyn Device, rows: usize, x: &Buffer, residual: Option<&Buffer>, y: &Buffer) {
        let product = Matmul {
            m: rows,
            n: self.outputs,
            k: self.inputs,
            a: View::rows(self.inputs),
            b: View::transposed(self.inputs),
            out: 0,
            accumulate: false,
        };
        device.launch(&product, &[x, &self.weight.value], &[y]);
        let bias = AddBias { rows, width: self.outputs, residual: residual.is_some() };
        let reads: Vec<&Buffer> = [&self.bias.value].into_iter().chain(residual).collect();
        device.launch(&bias, &reads, &[y]);
    }

    /// The gradients to the parameters, and to `x` where somebody wants it, from `gradient (rows x outputs)`.
    pub(super) fn backward(
        &self,
        device: &dyn Device,
        rows: usize,
        x: &Buffer,
        gradient: &Buffer,
        to_input: Option<&Buffer>,
    ) {
        let to_weight = Matmul {
            m: self.outputs,
            n: self.inputs,
            k: rows,
            a: View::transposed(self.outputs),
            b: View::rows(self.inputs),
            out: 0,
            accumulate: false,
        };
        device.launch(&to_weight, &[gradient, x], &[self.weight.gradient()]);
        device.launch(&ColumnSum { rows, width: self.outputs }, &[gradient], &[self.bias.gradient()]);
        if let Some(to_input) = to_input {
            let product = Matmul {
                m: rows,
                n: self.inputs,
                k: self.outputs,
                a: View::rows(self.outputs),
                b: View::rows(self.inputs),
                out: 0,
                accumulate: false,
            };
            device.launch(&product, &[gradient, &self.weight.value], &[to_input]);
        }
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
    pub(super) out: Buffer,
    moments: Buffer,
}

impl Normed {
    pub(super) fn new(device: &dyn Device, rows: usize, width: usize) -> Self {
        Self { out: device.zeros(rows * width), moments: device.zeros(2 * rows) }
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

    pub(super) fn parameters(&self) -> [&Parameter; 2] {
        [&self.weight, &self.bias]
    }

    pub(super) fn forward(&self, device: &dyn Device, rows: usize, x: &Buffer, y: &Normed) {
        let kernel = LayerNorm { rows, width: self.width };
        device.launch(&kernel, &[x, &self.weight.value, &self.bias.value], &[&y.out, &y.moments]);
    }

    /// The gradients to the parameters, and to `x`, which is written or added to `to_input`.
    pub(super) fn backward(
        &self,
        device: &dyn Device,
        rows: usize,
        x: &Buffer,
        y: &Normed,
        gradient: &Buffer,
        (to_input, accumulate): (&Buffer, bool),
    ) {
        let width = self.width;
        let gains = [self.weight.gradient(), self.bias.gradient()];
        device.launch(&LayerNormGains { rows, width }, &[x, &y.moments, gradient], &gains);
        let kernel = LayerNormBackward { rows, width, accumulate };
        device.launch(&kernel, &[x, &self.weight.value, &y.moments, gradient], &[to_input]);
    }
}
