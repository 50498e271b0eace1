//! A Linear layer, forward and backward, over `rows` rows.

use super::backward::Backward;
use super::parameter::{Keep, Parameter, Source, Version};
use crate::device::{Device, Slice};
use crate::kernels::{ColumnSum, Matmul, Order, Precision};

/// `y = x W^T`, with `W (outputs x inputs)`, and a bias that the layer behind it adds.
pub(crate) struct Linear {
    pub(crate) weight: Parameter,
    /// Untrained zeros, in an adapter without biases.
    pub(crate) bias: Parameter,
    biased: bool,
    inputs: usize,
    pub(super) outputs: usize,
}

impl Linear {
    pub(crate) fn new(
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

    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        [&self.weight].into_iter().chain(self.biased.then_some(&self.bias))
    }

    /// The gradient to the bias, which is computed even if the bias is not trained.
    pub(crate) fn train(&self, device: &dyn Device, keep: Keep) {
        self.bias.train(device, keep);
    }

    /// Writes `x W^T (rows x outputs)` of `x (rows x inputs)`.
    pub(crate) fn forward(
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
    pub(crate) fn backward_input(&self, pass: Backward<'_>, gradient: Slice<'_>, to_input: Slice<'_>) {
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
    pub(crate) fn backward_parameters(&self, pass: Backward<'_>, x: Slice<'_>, gradient: Slice<'_>) {
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
