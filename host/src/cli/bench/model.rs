//! The model whose steps are measured, on random latents.

use anyhow::Result;
use std::sync::Arc;

use super::{invalid, precision};
use crate::bytes::Bytes;
use crate::device::Device;
use crate::fit::PairSet;
use crate::fit::fusemix::{OptionError, TrainError, TrainOptions, Trainer};
use crate::latents::Latents;
use crate::space::{AdapterKind, TowerSpec};

#[derive(clap::Args)]
pub(super) struct Model {
    /// The widths of the two sides' latents
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1280,384")]
    pub(super) dims: Vec<usize>,
    /// Blocks per adapter
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(super) blocks: usize,
    /// Mixed pairs per step
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub(super) batch: usize,
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
}

/// The largest widths, and batches, that anybody may ask for: far beyond any model, and no memory ends.
const MOST_WIDTH: usize = 1 << 16;
const MOST_BATCH: usize = 1 << 24;

/// Refuses a value beyond its limits.
fn within(option: &str, value: usize, [least, most]: [usize; 2]) -> Result<()> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(invalid(format!("{option} {value}: choose {least} to {most}"))),
    }
}

impl Model {
    /// A training of it on a device.
    pub(super) fn trainer(&self, device: Arc<dyn Device>) -> Result<Trainer> {
        let &[first, second] = &self.dims[..] else {
            return Err(invalid("--dims takes two numbers, such as 1280,384"));
        };
        for width in [first, second] {
            within("--dims", width, [1, MOST_WIDTH])?;
        }
        within("--width", self.width, [1, MOST_WIDTH])?;
        within("--batch", self.batch, [2, MOST_BATCH])?;
        let options = TrainOptions {
            blocks: Some(self.blocks),
            expansion: Some(self.expansion),
            width: Some(self.width),
            batch: Some(self.batch),
            micro_batch: self.micro_batch,
            memory: self.memory,
            precision: Some(precision(&self.precision)?),
            ..TrainOptions::default()
        };
        let spec = |(name, width): (&str, usize)| TowerSpec {
            name: name.to_owned(),
            width,
            adapter: AdapterKind::Mlp,
            blocks: None,
        };
        let side = |width| Arc::new(Random::new(2 * self.batch, width)) as Arc<dyn Latents>;
        let pairs = PairSet { towers: [0, 1], latents: [side(first), side(second)], weight: 1.0, items: None };
        let towers = [("first", first), ("second", second)].map(spec).into();
        Trainer::new(device, towers, vec![pairs], &options, 0).map_err(|error| match error {
            TrainError::Option(OptionError { key, value, reason }) => {
                invalid(format!("--{} {value}: {reason}", key.replace('_', "-")))
            }
            error => error.into(),
        })
    }
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
