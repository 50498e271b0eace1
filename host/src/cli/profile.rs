//! Where a device's time went, kernel by kernel.

use serde_json::{Value, json};

use crate::device::KernelTime;

/// A table on standard error, of all `steps` steps together.
pub(super) fn print(kernels: &[(&'static str, KernelTime)], steps: usize) {
    note!("{steps} steps:");
    let all: f64 = kernels.iter().map(|(_, kernel)| kernel.time.as_secs_f64()).sum();
    for (name, KernelTime { time, launches }) in kernels {
        let (seconds, share) = (time.as_secs_f64(), 100.0 * time.as_secs_f64() / all.max(1e-9));
        note!("{name:<24} {seconds:>9.3} s {share:>5.1} % {launches:>8} launches");
    }
}

/// The same for programs: seconds and launches a step.
pub(super) fn to_json(kernels: &[(&'static str, KernelTime)], steps: usize) -> Value {
    let kernel = |KernelTime { time, launches }: &KernelTime| json!({"seconds": time.as_secs_f64() / steps as f64, "launches": *launches as f64 / steps as f64});
    kernels.iter().map(|(name, time)| ((*name).to_owned(), kernel(time))).collect()
}
