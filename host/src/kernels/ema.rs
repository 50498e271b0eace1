//! An exponential moving average of trained values.

use rayon::prelude::*;

use super::{CHUNK, Gpu, Kernel, Shader, groups, slices};

/// `average = decay average + (1 - decay) value`. Reads `value (count)`; changes `average (count)`.
#[derive(Clone, Copy, Debug)]
pub struct Ema {
    pub count: usize,
    pub decay: f32,
}

impl Kernel for Ema {
    fn name(&self) -> &'static str {
        "ema"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: include_str!("ema.wgsl"),
            entry: "ema",
            params: vec![self.count as u32, self.decay.to_bits()],
            workgroups: groups(self.count, 256),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([value], [average]) = slices(reads, writes);
        average.par_chunks_mut(CHUNK).zip(value.par_chunks(CHUNK)).for_each(|(average, value)| {
            average
                .iter_mut()
                .zip(value)
                .for_each(|(average, v)| *average = self.decay * *average + (1.0 - self.decay) * v);
        });
    }
}
