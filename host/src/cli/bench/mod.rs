//! `fusemix bench`: the speed at which this machine trains.

mod model;
mod product;
mod roofline;
mod step;

use anyhow::{Context, Result};
use clap::Subcommand;

use super::exit::Invalid;
use super::{Cli, print, profile};
use crate::fit::fusemix::Precision;

/// Benchmark the parts of training.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Time training steps on random latents
    Step(step::Arguments),
    /// Time a product of random matrices
    Product(product::Arguments),
    /// Count the work of a training step, and the time that it takes a GPU at best
    Roofline(roofline::Arguments),
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    match arguments.command {
        Command::Step(arguments) => step::run(cli, arguments),
        Command::Product(arguments) => product::run(cli, arguments),
        Command::Roofline(arguments) => roofline::run(cli, arguments),
    }
}

/// The most threads that anybody may ask for.
const MOST_THREADS: usize = 1024;

/// The error of an argument.
fn invalid(message: impl Into<String>) -> anyhow::Error {
    Invalid(message.into()).into()
}

/// The value of `--precision`.
fn precision(text: &str) -> Result<Precision> {
    match text {
        "f32" => Ok(Precision::F32),
        "bf16" => Ok(Precision::Bf16),
        other => Err(invalid(format!("`--precision {other}`: choose f32 or bf16"))),
    }
}

/// Obeys `--threads`.
fn limit_threads(threads: Option<usize>) -> Result<()> {
    let Some(threads) = threads else { return Ok(()) };
    if !(1..=MOST_THREADS).contains(&threads) {
        return Err(invalid(format!("--threads {threads}: choose 1 to {MOST_THREADS}")));
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("--threads")
}
