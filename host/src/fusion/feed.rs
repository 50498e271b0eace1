//! How a step's latents get to the device: mapped rows are mixed on their way there; latents that are resident are mixed there.

use rayon::prelude::*;

use super::adapter::Rows;
use super::batches::Batch;
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{Mix, mixed};
use crate::latents::Latents;

/// One side of a pair set.
pub(super) struct Feed {
    latents: Box<dyn Latents>,
    resident: Option<Resident>,
}

/// Latents in the memory of a device.
struct Resident {
    /// Rows in order, in as many buffers as its limits ask for: the first row, how many, and their values.
    chunks: Vec<(usize, usize, Buffer)>,
    /// The rows and weights of a micro-batch.
    pairs: Buffer,
    lambdas: Buffer,
}

impl Feed {
    /// Latents that are fed in micro-batches of `micro` rows; resident if `device` has memory of its own and they are no
    /// more than `room` values.
    pub(super) fn new(device: &dyn Device, latents: Box<dyn Latents>, micro: usize, room: usize) -> Self {
        let (rows, width) = (latents.len(), latents.width());
        if device.shares_memory() || rows * width > room {
            return Self { latents, resident: None };
        }
        let at_once = (device.largest() / width).clamp(1, rows);
        let chunk = |first| {
            let count = at_once.min(rows - first);
            let buffer = device.zeros(count * width);
            device.fill(buffer.all(), &mut |values| {
                let rows = values.par_chunks_mut(width).enumerate();
                rows.with_min_len(16).for_each(|(at, out)| latents.copy_row(first + at, out));
            });
            (first, count, buffer)
        };
        let chunks = (0..rows).step_by(at_once).map(chunk).collect();
        let resident = Resident { chunks, pairs: device.zeros(2 * micro), lambdas: device.zeros(micro) };
        Self { latents, resident: Some(resident) }
    }

    /// Writes the mixed latents of some rows of a batch to `out (count x width)`.
    pub(super) fn write(&self, device: &dyn Device, batch: &Batch, rows: Rows, out: Slice<'_>) {
        let Rows { first, count } = rows;
        let (width, all) = (self.latents.width(), batch.rows());
        let (pairs, others) = (&batch.pairs[first..][..count], batch.pairs.get(all + first..all + first + count));
        let lambdas = batch.lambdas.get(first..first + count);
        let Some(resident) = &self.resident else {
            return device.fill(out, &mut |values| {
                let rows = values.par_chunks_mut(width).enumerate().with_min_len(16);
                rows.for_each_init(
                    || vec![0.0; width],
                    |other, (at, out)| {
                        self.latents.copy_row(pairs[at], out);
                        if let (Some(others), Some(lambdas)) = (others, lambdas) {
                            self.latents.copy_row(others[at], other);
                            out.iter_mut().zip(&*other).for_each(|(out, b)| *out = mixed(lambdas[at], *out, *b));
                        }
                    },
                );
            });
        };
        let (indices, weights) = (resident.pairs.part(0, 2 * count), resident.lambdas.part(0, count));
        let bits = |values: &[usize], out: &mut [f32]| {
            out.iter_mut().zip(values).for_each(|(out, &value)| *out = f32::from_bits(value as u32));
        };
        device.fill(indices, &mut |out| {
            let (first, second) = out.split_at_mut(count);
            bits(pairs, first);
            bits(others.unwrap_or(pairs), second);
        });
        device.fill(weights, &mut |out| match lambdas {
            Some(lambdas) => out.copy_from_slice(lambdas),
            None => out.fill(1.0),
        });
        for (first, rows, chunk) in &resident.chunks {
            let mix = Mix { rows: count, width, first: *first, count: *rows };
            device.launch(&mix, &[chunk.all(), indices, weights], &[out]);
        }
    }
}
