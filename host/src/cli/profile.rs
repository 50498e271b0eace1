//! The time that a device spent on each kernel.

use serde_json::{Value, json};

use crate::device::KernelTime;
use crate::wording::count;

/// Prints a table of all `steps` steps together to standard error.
pub(super) fn print(kernels: &[(&'static str, KernelTime)], steps: usize) {
    note!("{}:", count(steps, "step"));
    let all: f64 = kernels.iter().map(|(_, kernel)| kernel.time.as_secs_f64()).sum();
    for (name, KernelTime { time, launches }) in kernels {
        let (seconds, share) = (time.as_secs_f64(), 100.0 * time.as_secs_f64() / all.max(1e-9));
        let es = if *launches == 1 { "" } else { "es" };
        note!("{name:<24} {seconds:>9.3} s {share:>5.1}% {launches:>8} launch{es}");
    }
}

/// The same as JSON: seconds and launches per step.
pub(super) fn to_json(kernels: &[(&'static str, KernelTime)], steps: usize) -> Value {
    let steps = steps as f64;
    let kernel = |KernelTime { time, launches }: &KernelTime| {
        let (seconds, launches) = (time.as_secs_f64() / steps, *launches as f64 / steps);
        json!({"seconds": seconds, "launches": launches})
    };
    kernels.iter().map(|(name, time)| ((*name).to_owned(), kernel(time))).collect()
}
