//! The factor of all gradients: the scale that brings those of f16 into its range, and clipping.

use super::resolved::Options;
use crate::device::{Buffer, Device, DeviceError, Slice};
use crate::kernels::{ClipFactor, Format, LossScale, SquareSums};
use crate::nn::Parameter;

/// The limits of the scale: that of gradients as they are, and 2^40.
const RANGE: [f32; 2] = [1.0, 1_099_511_627_776.0];

/// Buffers for the factor of a step's gradients.
pub(super) struct Scaling {
    /// Sums of squares of each parameter's gradient.
    parts: Buffer,
    /// The scale, the steps since it changed, and the steps in a row that were not taken.
    state: Buffer,
    /// The factors of gradients that are scaled, and of those that are not.
    factors: [Buffer; 2],
    format: Format,
    longest: f32,
}

impl Scaling {
    /// For steps of up to `pairs` pairs, and so many parameters.
    pub(super) fn new(device: &dyn Device, options: &Options, (pairs, parameters): (usize, usize)) -> Self {
        let format = options.format(device);
        let first = if format == Format::F16 { options.loss.scale(pairs) } else { 1.0 };
        Self {
            parts: device.zeros(parameters * SquareSums::PARTS),
            state: device.upload(&[first, 0.0, 0.0]),
            factors: [(); 2].map(|()| device.upload(&[1.0])),
            format,
            longest: options.clip,
        }
    }

    /// The scale of the gradients to parameters of adapters; that of log tau has none.
    pub(super) fn scale(&self) -> Slice<'_> {
        self.state.part(0, 1)
    }

    /// The state that goes into a checkpoint: where gradients are not scaled, none.
    pub(super) fn state(&self, device: &dyn Device) -> Result<Option<[f32; 2]>, DeviceError> {
        if self.format == Format::F32 {
            return Ok(None);
        }
        let state = device.read(self.state.all())?;
        Ok(Some([state[0], state[1]]))
    }

    /// True if gradients are not finite however small the scale is.
    pub(super) fn is_stuck(&self, device: &dyn Device) -> Result<bool, DeviceError> {
        // From its limit to 1 the scale takes 40 steps.
        Ok(self.format == Format::F16 && device.read(self.state.all())?[2] >= 64.0)
    }

    /// Restores the state of a checkpoint.
    pub(super) fn restore(&self, device: &dyn Device, state: [f32; 2]) {
        if self.format == Format::F16 {
            let [scale, steps] = state;
            device.write(self.state.all(), &[scale, steps, 0.0]);
        }
    }

    /// Computes the factors of the gradients to these parameters, and to log tau if it is trained.
    pub(super) fn measure(&self, device: &dyn Device, parameters: &[&Parameter], log_tau: Option<&Parameter>) {
        if self.format == Format::F32 && self.longest == 0.0 {
            return;
        }
        for (at, parameter) in parameters.iter().copied().chain(log_tau).enumerate() {
            parameter.square_sums(device, self.parts.part(at * SquareSums::PARTS, SquareSums::PARTS));
        }
        let count = (parameters.len() + usize::from(log_tau.is_some())) * SquareSums::PARTS;
        let [factor, unscaled] = self.factors.each_ref().map(Buffer::all);
        if self.format == Format::F32 {
            let kernel = ClipFactor { count, longest: self.longest };
            return device.launch(&kernel, &[self.parts.all()], &[factor]);
        }
        let longest = if self.longest > 0.0 { self.longest } else { f32::MAX };
        let kernel = LossScale { count, unscaled: log_tau.is_some(), longest, range: RANGE };
        device.launch(&kernel, &[self.parts.all()], &[self.state.all(), factor, unscaled]);
    }

    /// The factor of the gradients to parameters of adapters.
    pub(super) fn factor(&self) -> Slice<'_> {
        self.factors[0].all()
    }

    /// The factor of log tau's.
    pub(super) fn unscaled(&self) -> Slice<'_> {
        self.factors[usize::from(self.format == Format::F16)].all()
    }
}
