//! Timing of launches on a GPU.

use ::wgpu::{
    Buffer, BufferDescriptor, BufferUsages, CommandEncoder, ComputePassTimestampWrites, Device, MapMode, PollType,
    QuerySet, QuerySetDescriptor, QueryType, Queue,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::device::profile::Profile;

/// The most launches that are timed before collection: two queries each, of the 4096 that wgpu allows.
const LAUNCHES: u32 = 2048;

/// Queries around launches.
pub(super) struct Timestamps {
    queries: QuerySet,
    resolved: Buffer,
    mapped: Buffer,
    /// Nanoseconds of a tick.
    period: f64,
    kernels: Mutex<Vec<&'static str>>,
}

impl Timestamps {
    pub(super) fn new(device: &Device, queue: &Queue) -> Self {
        let count = 2 * LAUNCHES;
        let buffer = |usage| {
            let size = u64::from(count) * 8;
            device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
        };
        Self {
            queries: device.create_query_set(&QuerySetDescriptor { label: None, ty: QueryType::Timestamp, count }),
            resolved: buffer(BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC),
            mapped: buffer(BufferUsages::MAP_READ | BufferUsages::COPY_DST),
            period: f64::from(queue.get_timestamp_period()),
            kernels: Mutex::default(),
        }
    }

    fn kernels(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.kernels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if no further launch can be timed before the others are collected.
    pub(super) fn are_full(&self) -> bool {
        self.kernels().len() as u32 >= LAUNCHES
    }

    /// The queries to which the next launch writes its times.
    pub(super) fn begin(&self, kernel: &'static str) -> ComputePassTimestampWrites<'_> {
        let mut kernels = self.kernels();
        let first = 2 * kernels.len() as u32;
        kernels.push(kernel);
        ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }

    /// Records the copy of the times that [`Timestamps::collect`] reads.
    pub(super) fn resolve(&self, encoder: &mut CommandEncoder) {
        let count = 2 * self.kernels().len() as u32;
        if count > 0 {
            encoder.resolve_query_set(&self.queries, 0..count, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.mapped, 0, u64::from(count) * 8);
        }
    }

    /// Waits for the launches, and adds their times to a profile.
    pub(super) fn collect(&self, device: &Device, profile: &Profile) {
        let kernels = std::mem::take(&mut *self.kernels());
        if kernels.is_empty() {
            return;
        }
        self.mapped.map_async(MapMode::Read, .., |_| ());
        // What is wrong with the device, the next read reports.
        if device.poll(PollType::wait_indefinitely()).is_ok()
            && let Ok(bytes) = self.mapped.get_mapped_range(..)
        {
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes[..kernels.len() * 16]);
            for (kernel, ticks) in kernels.into_iter().zip(ticks.chunks_exact(2)) {
                let nanoseconds = ticks[1].saturating_sub(ticks[0]) as f64 * self.period;
                profile.add(kernel, Duration::from_nanos(nanoseconds as u64));
            }
        }
        self.mapped.unmap();
    }
}
