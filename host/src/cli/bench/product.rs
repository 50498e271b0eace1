//! `fusemix bench product`: the speed of a product of matrices.

use anyhow::Result;
use serde_json::json;

use super::{Cli, invalid, limit_threads, precision, print};
use crate::device::{self, DeviceChoice};
use crate::fit::fusemix::time_product;
use crate::kernels::{Matmul, Order};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Rows of the first factor, columns of the second, and terms of each sum
    #[arg(long, value_name = "M,N,K", value_delimiter = ',', default_value = "4096,4096,4096")]
    shape: Vec<usize>,
    /// The layout of the factors, row by row or by columns: rc as on the way forward, rr as towards a layer's input, cr
    /// as towards its weights
    #[arg(long, value_name = "ORDERS", default_value = "rc")]
    orders: String,
    /// The precision of the factors: f32 or bf16
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    precision: String,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// Rounds of products to time
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// CPU threads [default: all]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// The most values of a matrix.
const MOST_VALUES: usize = 1 << 30;

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let &[m, n, k] = &arguments.shape[..] else {
        return Err(invalid("--shape takes three numbers, such as 4096,4096,512"));
    };
    let [a, b] = match arguments.orders.as_str() {
        "rc" => [Order::Rows, Order::Columns],
        "rr" => [Order::Rows, Order::Rows],
        "cr" => [Order::Columns, Order::Rows],
        other => return Err(invalid(format!("`--orders {other}`: choose rc, rr or cr"))),
    };
    if [m, n, k, arguments.rounds].contains(&0) {
        return Err(invalid("--shape and --rounds must be at least 1"));
    }
    let largest = [(m, k), (k, n), (m, n)].map(|(rows, columns)| rows.saturating_mul(columns)).into_iter().max();
    if largest > Some(MOST_VALUES) {
        return Err(invalid(format!("--shape: a matrix of it has more than {MOST_VALUES} values, 4 GiB")));
    }
    let precision = precision(&arguments.precision)?;
    limit_threads(arguments.threads)?;
    let device = device::open(arguments.device, true)?;
    let product = Matmul::new([m, n, k], [a, b], precision);
    let mut times = time_product(&*device, &product, arguments.rounds)?;
    times.sort_unstable();
    let seconds = times[times.len() / 2].as_secs_f64();
    let flops = 2.0 * [m, n, k].map(|side| side as f64).iter().product::<f64>() / seconds;
    if cli.json {
        print::json(&json!({"device": device.describe(), "shape": arguments.shape, "orders": arguments.orders,
                "precision": precision, "rounds": times.len(), "median_seconds": seconds, "flops_per_second": flops}));
    } else {
        say!("{}: {:.3} ms per product, {:.0} GFLOP/s", device.describe(), 1e3 * seconds, flops / 1e9);
    }
    Ok(0)
}
