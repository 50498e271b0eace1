//! The scale that brings gradients into f16's range, and the factor that undoes it and clips.

use super::{Gpu, Kernel, Shader, SquareSums, slices};

/// The scale of gradients that pass through f16: reads `parts (count)`, the last [`SquareSums::PARTS`] of which are
/// those of a gradient that is not scaled, log tau's; changes `state (3)`, the scale, the steps since it changed and
/// the steps in a row that were not taken, and writes `factor (1)`, which undoes it and clips, and `unscaled (1)`,
/// which clips what is not scaled. Where a gradient is not finite, both are -1, the step is not to be taken, and the
/// scale is halved; after enough others it is doubled (Micikevicius et al., arXiv 1710.03740, section 3.2).
#[derive(Clone, Copy, Debug)]
pub struct LossScale {
    pub count: usize,
    /// True if there is such a gradient.
    pub unscaled: bool,
    /// The longest that all gradients together may be; infinite for no limit.
    pub longest: f32,
    /// The scale's limits.
    pub range: [f32; 2],
}

impl LossScale {
    /// Steps without overflow after which the scale is doubled.
    pub const STEPS: f32 = 1000.0;
}

impl Kernel for LossScale {
    fn name(&self) -> &'static str {
        "loss_scale"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let scaled = self.count - if self.unscaled { SquareSums::PARTS } else { 0 };
        let [low, high] = self.range.map(f32::to_bits);
        Shader {
            source: concat!(include_str!("loss_scale.wgsl"), include_str!("total.wgsl")),
            entry: "loss_scale",
            params: vec![self.count as u32, self.longest.to_bits(), scaled as u32, low, high, Self::STEPS.to_bits()],
            workgroups: [1, 1, 1],
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([parts], [state, factor, unscaled]) = slices(reads, writes);
        let (scaled, others) =
            parts[..self.count].split_at(self.count - usize::from(self.unscaled) * SquareSums::PARTS);
        let ([scale, steps], [low, high]) = ([state[0], state[1]], self.range);
        let (scaled, others) = (scaled.iter().sum::<f32>().sqrt() / scale, others.iter().sum::<f32>());
        let length = (scaled * scaled + others).sqrt();
        if !length.is_finite() {
            (factor[0], unscaled[0]) = (-1.0, -1.0);
            return state.copy_from_slice(&[(scale / 2.0).max(low), 0.0, state[2] + 1.0]);
        }
        unscaled[0] = (self.longest / (length + 1e-6)).min(1.0);
        factor[0] = unscaled[0] / scale;
        let grown = steps + 1.0 >= Self::STEPS;
        state.copy_from_slice(&if grown { [(2.0 * scale).min(high), 0.0, 0.0] } else { [scale, steps + 1.0, 0.0] });
    }
}
