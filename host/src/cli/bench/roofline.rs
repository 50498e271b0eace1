//! `fusemix bench roofline`: the work of a training step, and the time that it takes a GPU at best.

use anyhow::{Result, bail};
use serde_json::json;
use std::str::FromStr;
use std::sync::Arc;

use super::model::Model;
use super::{Cli, print, profile};
use crate::device::{Counted, Device, KernelTime};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: Model,
    /// A GPU's products in TFLOP/s and its memory's GB/s, such as 67,3350; several times for several
    #[arg(long, value_name = "N,N", required = true)]
    gpu: Vec<Gpu>,
}

/// The rates of a GPU: operations a second of products, and bytes a second of memory.
#[derive(Clone, Copy)]
struct Gpu {
    operations: f64,
    bytes: f64,
}

impl FromStr for Gpu {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split(',').map(|number| number.trim().parse::<f64>().ok());
        match numbers.collect::<Option<Vec<f64>>>().as_deref() {
            Some(&[operations, bytes]) if [operations, bytes].iter().all(|rate| (1e-3..1e9).contains(rate)) => {
                Ok(Self { operations: operations * 1e12, bytes: bytes * 1e9 })
            }
            _ => bail!("takes two numbers, TFLOP/s and GB/s, such as 67,3350"),
        }
    }
}

impl Gpu {
    /// The seconds that a kernel's launches take at best: as long as its products, or as its bytes.
    fn seconds(self, kernel: &KernelTime) -> f64 {
        (kernel.operations / self.operations).max(kernel.bytes as f64 / self.bytes)
    }
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { model, gpu: gpus } = arguments;
    let device = Arc::new(Counted::default());
    let mut trainer = model.trainer(device.clone())?;
    device.profile().take();
    trainer.time_steps(1)?;
    let mut kernels = device.profile().take();
    kernels.sort_by(|(_, a), (_, b)| gpus[0].seconds(b).total_cmp(&gpus[0].seconds(a)));
    let at_best = |gpu: &Gpu| kernels.iter().map(|(_, kernel)| gpu.seconds(kernel)).sum::<f64>();
    if cli.json {
        let seconds: Vec<f64> = gpus.iter().map(at_best).collect();
        print::json(&json!({"dims": model.dims, "blocks": model.blocks, "batch": model.batch,
                "precision": trainer.options().precision, "kernels": profile::to_json(&kernels, 1),
                "seconds_at_best": seconds}));
        return Ok(0);
    }
    let columns = |cells: &mut dyn Iterator<Item = f64>| -> String {
        cells.map(|seconds| format!(" {:>12.3}", 1e3 * seconds)).collect()
    };
    let head = |gpu: &Gpu| format!("ms {:.0}/{:.0}", gpu.operations / 1e12, gpu.bytes / 1e9);
    let heads: String = gpus.iter().map(|gpu| format!(" {:>12}", head(gpu))).collect();
    say!("{:<24} {:>9} {:>9} {:>9}{heads}", "kernel", "launches", "GB", "TFLOP");
    let row = |name: &str, kernel: &KernelTime, cells: String| {
        let (gigabytes, operations) = (kernel.bytes as f64 / 1e9, kernel.operations / 1e12);
        say!("{name:<24} {:>9} {gigabytes:>9.3} {operations:>9.3}{cells}", kernel.launches);
    };
    for (name, kernel) in &kernels {
        row(name, kernel, columns(&mut gpus.iter().map(|gpu| gpu.seconds(kernel))));
    }
    row("all", &profile::sum(&kernels), columns(&mut gpus.iter().map(at_best)));
    Ok(0)
}
