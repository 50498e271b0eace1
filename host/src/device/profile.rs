//! Where a device's time goes, kernel by kernel.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time and launches of each kernel.
#[derive(Default)]
pub struct Profile(Mutex<BTreeMap<&'static str, KernelTime>>);

/// What a kernel took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelTime {
    /// The time of all launches.
    pub time: Duration,
    /// How many there were.
    pub launches: usize,
}

impl Profile {
    pub(super) fn add(&self, kernel: &'static str, time: Duration) {
        let mut kernels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = kernels.entry(kernel).or_default();
        entry.time += time;
        entry.launches += 1;
    }

    /// What was measured since the last call, the longest first.
    pub fn take(&self) -> Vec<(&'static str, KernelTime)> {
        let kernels = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut kernels: Vec<_> = kernels.into_iter().collect();
        kernels.sort_by_key(|(_, kernel)| Reverse(kernel.time));
        kernels
    }
}
