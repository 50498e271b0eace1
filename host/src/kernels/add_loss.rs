//! A term that is added to a loss.

use super::{Gpu, Kernel, Shader, slices};

/// Adds `factor` times the sum of `values (count)` to `losses[step]`.
#[derive(Clone, Copy, Debug)]
pub struct AddLoss {
    pub count: usize,
    pub step: usize,
    pub factor: f32,
}

impl Kernel for AddLoss {
    fn name(&self) -> &'static str {
        "add_loss"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let params = vec![self.count as u32, self.step as u32, self.factor.to_bits()];
        Shader {
            source: include_str!("add_loss.wgsl"),
            entry: "add_loss",
            params,
            workgroups: [1, 1, 1],
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([values], [losses]) = slices(reads, writes);
        let sum: f64 = values[..self.count].iter().map(|&value| f64::from(value)).sum();
        losses[self.step] += self.factor * sum as f32;
    }
}
