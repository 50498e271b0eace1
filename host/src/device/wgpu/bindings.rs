//! The buffers that launches bind, kept for the next launch of the same: steps repeat.

use ::wgpu::{BindGroup, BindGroupDescriptor, BindGroupEntry, BindingResource, BufferBinding, Device};
use std::collections::HashMap;
use std::num::NonZeroU64;

use super::pipelines::{Key, Pipeline};
use super::{VALUE, memory};
use crate::device::Slice;

/// A buffer, and the first byte and number of bytes of it.
type Bound = (::wgpu::Buffer, u64, u64);

/// Bind groups by pipeline and slices.
#[derive(Default)]
pub(super) struct Bindings(HashMap<(Key, Vec<Bound>), BindGroup>);

impl Bindings {
    /// Forgets all, and with them the buffers.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The bind group of a launch: its slices from binding 1 on.
    pub(super) fn get<'a>(
        &mut self,
        device: &Device,
        (key, pipeline): (Key, &Pipeline),
        slices: impl Iterator<Item = &'a Slice<'a>>,
    ) -> BindGroup {
        let bytes = |slice: &Slice<'_>| (slice.start as u64 * VALUE, slice.len.max(1) as u64 * VALUE);
        let bound = |slice: &Slice<'_>| (memory(slice.buffer).clone(), bytes(slice).0, bytes(slice).1);
        let make = |bound: &[Bound]| {
            let entries: Vec<BindGroupEntry<'_>> = (1..)
                .zip(bound)
                .map(|(binding, (buffer, offset, size))| {
                    let part = BufferBinding { buffer, offset: *offset, size: NonZeroU64::new(*size) };
                    BindGroupEntry { binding, resource: BindingResource::Buffer(part) }
                })
                .collect();
            let layout = &pipeline.layout;
            device.create_bind_group(&BindGroupDescriptor { label: None, layout, entries: &entries })
        };
        let key = (key, slices.map(bound).collect::<Vec<_>>());
        self.0.entry(key).or_insert_with_key(|(_, bound)| make(bound)).clone()
    }
}
