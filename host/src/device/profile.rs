//! The time that a device spends on each kernel.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time and launches of each kernel.
#[derive(Default)]
pub struct Profile(Mutex<BTreeMap<&'static str, KernelTime>>);

/// The time and launches of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelTime {
    /// The time of all launches.
    pub time: Duration,
    /// The number of launches.
    pub launches: usize,
}

impl Profile {
    pub(super) fn add(&self, kernel: &'static str, time: Duration) {
        let mut kernels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = kernels.entry(kernel).or_default();
        entry.time += time;
        entry.launches += 1;
    }

    /// The measurements since the last call, longest first.
    pub fn take(&self) -> Vec<(&'static str, KernelTime)> {
        let kernels = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut kernels: Vec<_> = kernels.into_iter().collect();
        kernels.sort_by_key(|(_, kernel)| Reverse(kernel.time));
        kernels
    }
}
