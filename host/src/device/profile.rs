//! The work that a device is given kernel by kernel, and the time it spends on it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::buffer::Slice;
use crate::kernels::Kernel;

/// Time and work of each kernel.
#[derive(Default)]
pub struct Profile(Mutex<BTreeMap<&'static str, KernelTime>>);

/// The time and work of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelTime {
    /// The time of all launches; zero where the device is not timed.
    pub time: Duration,
    /// The number of launches.
    pub launches: usize,
    /// The bytes that they read or wrote, each counted once a launch.
    pub bytes: u64,
    /// Their multiplications and additions, if they are products.
    pub operations: f64,
}

/// The work of a launch.
pub(super) struct Work {
    bytes: u64,
    operations: f64,
}

impl Work {
    pub(super) fn of<'a>(kernel: &dyn Kernel, slices: impl Iterator<Item = &'a Slice<'a>>) -> Self {
        let values: usize = slices.map(Slice::len).sum();
        let given = (values * size_of::<f32>()) as u64;
        Self { bytes: kernel.bytes(given), operations: kernel.operations() }
    }
}

impl Profile {
    fn kernels(&self) -> MutexGuard<'_, BTreeMap<&'static str, KernelTime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a launch.
    pub(super) fn count(&self, kernel: &'static str, work: Work) {
        let mut kernels = self.kernels();
        let entry = kernels.entry(kernel).or_default();
        entry.launches += 1;
        entry.bytes += work.bytes;
        entry.operations += work.operations;
    }

    /// Adds the time of a launch.
    pub(super) fn add(&self, kernel: &'static str, time: Duration) {
        self.kernels().entry(kernel).or_default().time += time;
    }

    /// The measurements since the last call, longest first, and then by bytes.
    pub fn take(&self) -> Vec<(&'static str, KernelTime)> {
        let mut kernels: Vec<_> = std::mem::take(&mut *self.kernels()).into_iter().collect();
        kernels.sort_by_key(|(_, kernel)| Reverse((kernel.time, kernel.bytes)));
        kernels
    }
}
