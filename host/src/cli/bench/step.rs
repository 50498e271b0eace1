//! `fusemix bench step`: the speed of training steps.

use anyhow::Result;
use serde_json::json;
use std::sync::Arc;

use super::model::Model;
use super::{Cli, invalid, limit_threads, print, profile};
use crate::device::{self, Device, DeviceChoice};
use crate::fit::fusemix::{Precision, time_product};
use crate::kernels::{Matmul, Order};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: Model,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// Steps to time
    #[arg(long, value_name = "N", default_value_t = 5)]
    steps: usize,
    /// Warm-up steps before those
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: usize,
    /// Do not time kernels, which costs a GPU some time
    #[arg(long)]
    no_profile: bool,
    /// CPU threads [default: all]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { model, .. } = &arguments;
    limit_threads(arguments.threads)?;
    if arguments.steps == 0 {
        return Err(invalid("--steps must be at least 1"));
    }
    let device = device::open(arguments.device, !arguments.no_profile)?;
    let mut trainer = model.trainer(device.clone())?;
    trainer.time_steps(arguments.warmup)?;
    device.profile().take();
    let mut times = trainer.time_steps(arguments.steps)?;
    let kernels = device.profile().take();
    times.sort_unstable();
    let seconds = times[times.len() / 2].as_secs_f64();
    let (pairs, flops) = (model.batch as f64 / seconds, trainer.step_flops() / seconds);
    let resident = peak_resident();
    let peak = peak_flops(&device, trainer.options().precision)?;
    if cli.json {
        let mut report = json!({"device": device.describe(), "dims": model.dims, "blocks": model.blocks,
                "batch": model.batch, "precision": trainer.options().precision, "steps": times.len(),
                "median_step_seconds": seconds, "pairs_per_second": pairs, "flops_per_second": flops,
                "peak_flops_per_second": peak, "peak_resident_bytes": resident,
                "flops": trainer.step_flops()});
        if !arguments.no_profile {
            report["kernels"] = profile::to_json(&kernels, times.len());
        }
        print::json(&report);
    } else {
        say!("{}: {seconds:.3} s per step, {pairs:.0} pairs/s", device.describe());
        say!(
            "{:.0} GFLOP/s, {:.0}% of the {:.0} GFLOP/s of large matrix products",
            flops / 1e9,
            100.0 * flops / peak,
            peak / 1e9
        );
        if let Some(resident) = resident {
            say!("peak resident memory {:.2} GiB", resident as f64 / f64::from(1 << 30));
        }
        if !arguments.no_profile {
            profile::print(&kernels, times.len());
        }
    }
    Ok(0)
}

/// The speed that the device reaches in a product of two square matrices, of 2048 x 2048 where that is quick.
fn peak_flops(device: &Arc<dyn Device>, precision: Precision) -> Result<f64> {
    let mut most = 0.0_f64;
    for side in [512, 1024, 2048] {
        let product = Matmul::new([side; 3], [Order::Rows; 2], precision);
        let time = time_product(&**device, &product, 1)?[0].as_secs_f64();
        most = most.max(2.0 * (side as f64).powi(3) / time);
        if time > 0.1 {
            break;
        }
    }
    Ok(most)
}

/// The most memory that this process has had, where the system tells.
fn peak_resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
