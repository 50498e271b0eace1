//! The feed of a step's latents to the device: mapped rows are mixed on the way there, resident latents are mixed on
//! the device.

use rayon::prelude::*;
use std::sync::Arc;
use std::thread;

use super::augment::Change;
use super::draws::Draw;
use super::memory::Plan;
use super::resolved::Options;
use crate::device::{Buffer, Device, DeviceError, Slice};
use crate::kernels::{Mix, mixed};
use crate::latents::Latents;
use crate::nn::Rows;

/// The feeds of a training, which share a device's memory.
pub(super) struct Feeds<'a> {
    device: &'a dyn Device,
    /// Rows of a micro-batch.
    micro: usize,
    /// Values that there is room for.
    room: usize,
    options: &'a Options,
    known: Vec<Arc<Feed>>,
}

impl<'a> Feeds<'a> {
    pub(super) fn new(device: &'a dyn Device, Plan { micro, left: room, .. }: Plan, options: &'a Options) -> Self {
        Self { device, micro, room, options, known: Vec::new() }
    }

    /// The feed of latents; of the same ones there is one.
    pub(super) fn feed(&mut self, latents: &Arc<dyn Latents>) -> Result<Arc<Feed>, DeviceError> {
        if let Some(known) = self.known.iter().find(|feed| Arc::ptr_eq(&feed.latents, latents)) {
            return Ok(known.clone());
        }
        let change = Change::of(self.options, &**latents);
        let feed = Arc::new(Feed::new(self.device, (latents.clone(), change), self.micro, self.room)?);
        self.room -= feed.resident();
        self.known.push(feed.clone());
        Ok(feed)
    }

    /// Bytes of mapped latents.
    pub(super) fn mapped(&self) -> u64 {
        self.known.iter().map(|feed| feed.mapped()).sum()
    }
}

/// The latents of one tower in one pair set, or without a pair.
pub(super) struct Feed {
    latents: Arc<dyn Latents>,
    /// What is done to each, on the way to the device.
    change: Option<Change>,
    resident: Option<Resident>,
}

/// Latents in the memory of a device.
struct Resident {
    /// Rows in order, in as many buffers as the device's limits require: the first row, the count, and the values.
    chunks: Vec<(usize, usize, Buffer)>,
    /// The rows and weights of a micro-batch.
    pairs: Buffer,
    lambdas: Buffer,
}

impl Feed {
    /// Latents that are fed in micro-batches of `micro` rows. They are resident if `device` has memory of its own with
    /// room for them, and they have at most `room` values.
    fn new(
        device: &dyn Device,
        (latents, change): (Arc<dyn Latents>, Option<Change>),
        micro: usize,
        room: usize,
    ) -> Result<Self, DeviceError> {
        if device.shares_memory() || change.is_some() || latents.len() * latents.width() > room {
            return Ok(Self { latents, change, resident: None });
        }
        match Resident::new(device, &*latents, micro) {
            Ok(resident) => Ok(Self { latents, change, resident: Some(resident) }),
            Err(DeviceError::Memory { device, reason }) => {
                tracing::warn!(
                    "{device} has no memory for the latents ({reason}); copying them from the host in each step"
                );
                Ok(Self { latents, change, resident: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Values that are resident on the device.
    pub(super) fn resident(&self) -> usize {
        self.resident.as_ref().map_or(0, |_| self.latents.len() * self.latents.width())
    }

    /// Bytes of mapped latents.
    fn mapped(&self) -> u64 {
        let values = self.latents.len() * self.latents.width();
        ((values - self.resident()) * size_of::<f32>()) as u64
    }

    /// Starts reading the rows of a later step while the device works.
    pub(super) fn read_ahead(&self, draw: &Draw) {
        if self.resident.is_none() {
            let (latents, pairs) = (self.latents.clone(), draw.pairs.clone());
            let read = move || pairs.into_iter().for_each(|pair| latents.read_ahead(pair));
            if let Err(error) = thread::Builder::new().name("read ahead".to_owned()).spawn(read) {
                tracing::debug!("no reading ahead: {error}");
            }
        }
    }

    /// Writes the mixed or changed latents of some rows of a draw's side to `out (count x width)`.
    pub(super) fn write(&self, device: &dyn Device, (draw, side): (&Draw, usize), rows: Rows, out: Slice<'_>) {
        let Rows { first, count } = rows;
        let (width, all) = (self.latents.width(), draw.rows());
        let (pairs, others) = (&draw.pairs[first..][..count], draw.pairs.get(all + first..all + first + count));
        let lambdas = draw.weights(side).get(first..first + count);
        // Of either side another change.
        let changed = self.change.as_ref().zip(draw.changed).map(|(change, seed)| change.begin(seed ^ side as u64));
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
                        if let Some(changed) = &changed {
                            changed.apply(first + at, out);
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

impl Resident {
    fn new(device: &dyn Device, latents: &dyn Latents, micro: usize) -> Result<Self, DeviceError> {
        let (rows, width) = (latents.len(), latents.width());
        let at_once = (device.largest() / width).clamp(1, rows);
        let mut chunks = Vec::new();
        for first in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - first);
            let buffer = device.zeros(count * width);
            // Nothing is put where there is no room, and what is on its way to one chunk is gone before the next.
            device.submit()?;
            device.fill(buffer.all(), &mut |values| {
                let rows = values.par_chunks_mut(width).enumerate();
                rows.with_min_len(16).for_each(|(at, out)| latents.copy_row(first + at, out));
            });
            device.submit()?;
            chunks.push((first, count, buffer));
        }
        Ok(Self { chunks, pairs: device.zeros(2 * micro), lambdas: device.zeros(micro) })
    }
}
