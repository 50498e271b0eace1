//! A Linear layer, forward and backward, over `rows` rows.

use super::backward::Backward;
use super::mode::Mode;
use super::parameter::{Keep, Parameter, Source, Version};
use crate::device::{Device, Slice};
use crate::kernels::{ColumnSum, Format, Matmul, Order};

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

    /// Writes `x W^T (rows x outputs)` of `x (rows x inputs)`, which has the mode's format, in `format`.
    pub(crate) fn forward(
        &self,
        device: &dyn Device,
        rows: usize,
        mode: Mode,
        x: Slice<'_>,
        (y, format): (Slice<'_>, Format),
    ) {
        let product = Matmul {
            formats: [mode.format, format],
            ..Matmul::new([rows, self.outputs, self.inputs], [Order::Rows, Order::Columns], mode.precision)
        };
        device.launch(&product, &[x, self.weight.factor(mode.version, mode.format)], &[y]);
    }

    /// Writes the gradient to the input from that to the output, `gradient (rows x outputs)`, in `format`.
    pub(crate) fn backward_input(
        &self,
        pass: Backward<'_>,
        gradient: Slice<'_>,
        (to_input, format): (Slice<'_>, Format),
    ) {
        let product = Matmul {
            formats: [pass.format, format],
            ..Matmul::new([pass.rows, self.inputs, self.outputs], [Order::Rows; 2], pass.precision)
        };
        let weight = self.weight.factor(Version::Trained, pass.format);
        pass.device.launch(&product, &[gradient, weight], &[to_input]);
    }

    /// The gradients to the parameters from `x (rows x inputs)` and `gradient (rows x outputs)`, both in the pass's
    /// format.
    pub(crate) fn backward_parameters(&self, pass: Backward<'_>, x: Slice<'_>, gradient: Slice<'_>) {
        let Backward { device, rows, precision, format, accumulate } = pass;
        let product = Matmul {
            accumulate,
            formats: [format, Format::F32],
            ..Matmul::new([self.outputs, self.inputs, rows], [Order::Columns, Order::Rows], precision)
        };
        device.launch(&product, &[gradient, x], &[self.weight.gradient()]);
        let sum = ColumnSum { rows, width: self.outputs, accumulate, format };
        device.launch(&sum, &[gradient], &[self.bias.gradient()]);
    }
}
