//! f32 values in the memory of a device, and parts of them.

use std::sync::RwLock;

use crate::pages::Pages;

/// f32 values in the memory of a device.
pub struct Buffer {
    pub(super) len: usize,
    pub(super) memory: Memory,
}

pub(super) enum Memory {
    Host(RwLock<Pages<f32>>),
    Wgpu(::wgpu::Buffer),
}

impl Buffer {
    /// Values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All values.
    pub fn all(&self) -> Slice<'_> {
        Slice { buffer: self, start: 0, len: self.len }
    }

    /// `len` values from `start` on, which must be a multiple of [`Slice::ALIGNMENT`].
    pub fn part(&self, start: usize, len: usize) -> Slice<'_> {
        assert!(start.is_multiple_of(Slice::ALIGNMENT) && start + len <= self.len, "a part at {start} of {}", self.len);
        Slice { buffer: self, start, len }
    }
}

/// Some values of a [`Buffer`].
#[derive(Clone, Copy)]
pub struct Slice<'a> {
    pub(super) buffer: &'a Buffer,
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Slice<'_> {
    /// The alignment of a part's start: 256 bytes, the strictest that a GPU asks for.
    pub const ALIGNMENT: usize = 64;

    /// Values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
