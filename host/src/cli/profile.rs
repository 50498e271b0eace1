//! The work that a device did kernel by kernel, and the time it spent on it.

use serde_json::{Value, json};

use crate::device::KernelTime;
use crate::wording::count;

/// Prints a table of the mean of `steps` steps to standard error.
pub(super) fn print(kernels: &[(&'static str, KernelTime)], steps: usize) {
    let (all, steps_long) = (sum(kernels), steps.max(1) as f64);
    let mean = KernelTime { time: all.time.div_f64(steps_long), ..all };
    note!(
        "{}, of which each takes {:.2} ms, {:.0} launches and {:.3} GB:",
        count(steps, "step"),
        1e3 * mean.time.as_secs_f64(),
        all.launches as f64 / steps_long,
        all.bytes as f64 / steps_long / 1e9,
    );
    note!("{:<24} {:>10} {:>6} {:>9} {:>9} {:>7} {:>8}", "kernel", "ms", "share", "launches", "GB", "GB/s", "GFLOP/s");
    for (name, kernel) in kernels {
        let seconds = kernel.time.as_secs_f64();
        let share = 100.0 * seconds / all.time.as_secs_f64().max(1e-9);
        let rate = |amount: f64| if seconds > 0.0 { format!("{:.0}", amount / seconds / 1e9) } else { "-".to_owned() };
        note!(
            "{name:<24} {:>10.3} {share:>5.1}% {:>9.1} {:>9.4} {:>7} {:>8}",
            1e3 * seconds / steps_long,
            kernel.launches as f64 / steps_long,
            kernel.bytes as f64 / steps_long / 1e9,
            rate(kernel.bytes as f64),
            if kernel.operations > 0.0 { rate(kernel.operations) } else { String::new() },
        );
    }
}

/// All kernels together.
pub(super) fn sum(kernels: &[(&'static str, KernelTime)]) -> KernelTime {
    kernels.iter().fold(KernelTime::default(), |sum, (_, kernel)| KernelTime {
        time: sum.time + kernel.time,
        launches: sum.launches + kernel.launches,
        bytes: sum.bytes + kernel.bytes,
        operations: sum.operations + kernel.operations,
    })
}

/// The same as JSON: launches, bytes and floating-point operations per step, and seconds where they were measured.
pub(super) fn to_json(kernels: &[(&'static str, KernelTime)], steps: usize) -> Value {
    let steps = steps as f64;
    let kernel = |kernel: &KernelTime| {
        let mut row = json!({
            "launches": kernel.launches as f64 / steps,
            "bytes": kernel.bytes as f64 / steps,
            "operations": kernel.operations / steps,
        });
        if !kernel.time.is_zero() {
            row["seconds"] = (kernel.time.as_secs_f64() / steps).into();
        }
        row
    };
    kernels.iter().map(|(name, time)| ((*name).to_owned(), kernel(time))).collect()
}
