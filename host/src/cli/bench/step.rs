//! `fusemix bench step`: the speed of training steps.

use anyhow::{Result, bail};
use serde_json::json;
use std::sync::Arc;

use super::{Cli, limit_threads, precision, print, profile};
use crate::bytes::Bytes;
use crate::device::{self, Device, DeviceChoice};
use crate::fit::PairSet;
use crate::fit::fusemix::{Precision, TrainOptions, Trainer, time_product};
use crate::kernels::{Matmul, Order};
use crate::latents::Latents;
use crate::space::{AdapterKind, TowerSpec};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The widths of the two sides' latents
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1280,384")]
    dims: Vec<usize>,
    /// Blocks per adapter
    #[arg(long, value_name = "N", default_value_t = 4)]
    blocks: usize,
    /// Mixed pairs per step
    #[arg(long, value_name = "N", default_value_t = 4096)]
    batch: usize,
    /// The inner width of a block, as a multiple of its latents' width
    #[arg(long, value_name = "N", default_value_t = 4)]
    expansion: usize,
    /// The width of the shared space
    #[arg(long, value_name = "N", default_value_t = 512)]
    width: usize,
    /// The precision of matrix products: f32 or bf16
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    precision: String,
    /// The memory that training may use, such as 4GiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// Mixed pairs that pass through an adapter at once
    #[arg(long, value_name = "N")]
    micro_batch: Option<usize>,
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
    let &[first, second] = &arguments.dims[..] else { bail!("--dims takes two numbers, such as 1280,384") };
    let precision = precision(&arguments.precision)?;
    limit_threads(arguments.threads)?;
    if first.min(second) == 0 || arguments.batch < 2 || arguments.steps == 0 {
        bail!("--dims and --steps must be at least 1, --batch at least 2");
    }
    let device = device::open(arguments.device, !arguments.no_profile)?;
    let options = TrainOptions {
        blocks: Some(arguments.blocks),
        expansion: Some(arguments.expansion),
        width: Some(arguments.width),
        batch: Some(arguments.batch),
        micro_batch: arguments.micro_batch,
        memory: arguments.memory,
        precision: Some(precision),
        ..TrainOptions::default()
    };
    let spec = |(name, width): (&str, usize)| TowerSpec {
        name: name.to_owned(),
        width,
        adapter: AdapterKind::Mlp,
        blocks: None,
    };
    let side = |width| Arc::new(Random::new(2 * arguments.batch, width)) as Arc<dyn Latents>;
    let pairs = PairSet { towers: [0, 1], latents: [side(first), side(second)], weight: 1.0 };
    let towers = [("first", first), ("second", second)].map(spec).into();
    let mut trainer = Trainer::new(device.clone(), towers, vec![pairs], &options, 0)?;
    trainer.time_steps(arguments.warmup)?;
    device.profile().take();
    let mut times = trainer.time_steps(arguments.steps)?;
    let kernels = device.profile().take();
    times.sort_unstable();
    let seconds = times[times.len() / 2].as_secs_f64();
    let (pairs, flops) = (arguments.batch as f64 / seconds, trainer.step_flops() / seconds);
    let resident = peak_resident();
    let peak = peak_flops(&device, trainer.options().precision)?;
    if cli.json {
        print::json(&json!({"device": device.describe(), "dims": arguments.dims, "blocks": arguments.blocks,
                "batch": arguments.batch, "precision": trainer.options().precision, "steps": times.len(),
                "median_step_seconds": seconds, "pairs_per_second": pairs, "flops_per_second": flops,
                "peak_flops_per_second": peak, "peak_resident_bytes": resident,
                "kernels": profile::to_json(&kernels, times.len())}));
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
        profile::print(&kernels, times.len());
    }
    Ok(0)
}

/// Random latents of which only some are in memory, and come again and again.
struct Random {
    len: usize,
    width: usize,
    rows: Vec<f32>,
}

impl Random {
    fn new(len: usize, width: usize) -> Self {
        let mut state = width as u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        Self { len, width, rows: (0..len.min(8192) * width).map(|_| random()).collect() }
    }
}

impl Latents for Random {
    fn len(&self) -> usize {
        self.len
    }

    fn width(&self) -> usize {
        self.width
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        let row = index % (self.rows.len() / self.width);
        out.copy_from_slice(&self.rows[row * self.width..(row + 1) * self.width]);
    }
}

/// The speed that the device reaches in a product of two square matrices, of 2048 x 2048 where that is quick.
fn peak_flops(device: &Arc<dyn Device>, precision: Precision) -> Result<f64> {
    let mut most = 0.0_f64;
    let (rows, accumulate) = (Order::Rows, false);
    for side in [512, 1024, 2048] {
        let product = Matmul { m: side, n: side, k: side, a: rows, b: rows, accumulate, precision, scale: 1.0 };
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
