//! What a training keeps in memory: as many activations and tiles of logits as its budget allows.

use super::error::TrainError;
use super::loss::{InfoNce, TILE};
use super::options::Options;
use super::pass::Pass;
use crate::bytes::Bytes;
use crate::device::{Device, DeviceError};
use crate::space::{Space, Tower, TowerSpec};

/// The budget if nobody says another, in bytes; no more than half of what is free.
const BUDGET: u64 = 4 << 30;

/// What goes to everything else: packed factors of products, what is read and written, the program.
const OTHERS: u64 = 256 << 20;

/// What is kept of a step for its backward pass; the rest is computed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Rows of a micro-batch.
    pub(super) micro: usize,
    /// Micro-batches whose activations are kept.
    pub(super) kept: usize,
    /// Rows and columns of a tile of logits.
    pub(super) tile: usize,
    /// Tiles that are kept.
    pub(super) tiles: usize,
    /// Values that are left for latents.
    pub(super) left: usize,
    /// Bytes that it takes if nothing is kept that can be computed again.
    pub(super) least: u64,
    /// Bytes of what is kept.
    kept_bytes: u64,
}

impl Plan {
    /// Whether it keeps anything that can be computed again.
    pub(super) fn keeps(&self) -> bool {
        self.kept > 1 || self.tiles > 1
    }

    /// Bytes that it takes.
    pub(super) fn used(&self) -> u64 {
        self.least + OTHERS + self.kept_bytes
    }
}

/// Copies of a parameter: the value, its gradient and moments, and what else is asked for.
fn copies(options: &Options) -> usize {
    4 + usize::from(options.ema > 0.0) + usize::from(options.patience > 0)
}

/// Bytes of all parameters of a training.
pub(super) fn parameters(towers: &[TowerSpec], options: &Options) -> u64 {
    4 * copies(options) as u64 * towers.iter().map(|spec| options.shape(spec).values()).sum::<u64>()
}

/// What the options allow, or the device.
fn budget(device: &dyn Device, options: &Options) -> u64 {
    let free = device.memory().map_or(u64::MAX, |free| free / 2);
    options.memory.map_or(BUDGET.min(free), |memory| memory.0)
}

/// Plans steps of up to `batch` rows within `budget` bytes, if that can be.
fn plan(device: &dyn Device, space: &Space, options: &Options, batch: usize, budget: u64) -> Plan {
    // Parts of a buffer start at multiples of 64 values.
    let micro = if batch <= options.micro_batch { batch } else { options.micro_batch / 64 * 64 };
    let (micro_batches, tile) = (batch.div_ceil(micro), TILE.min(batch));
    let parameters =
        copies(options) * space.parameters().iter().map(|(_, parameter)| parameter.gradient().len()).sum::<usize>();
    let sizes: Vec<(usize, usize)> = space.towers.iter().map(|tower| Pass::values(tower, batch, micro)).collect();
    // A GPU's latents wait in memory for up to three steps.
    let widths: usize = space.towers.iter().map(|tower| tower.spec.width).sum();
    let staged = if device.shares_memory() { 0 } else { 3 * batch * widths };
    let least =
        parameters + staged + 6 * batch + tile * tile + sizes.iter().map(|(fixed, kept)| fixed + kept).sum::<usize>();
    if budget < 4 * least as u64 && options.memory == Some(Bytes(budget)) {
        let least = (4 * least as u64).div_ceil(1 << 20);
        tracing::warn!("the training takes at least {least}MiB, and its `memory` is {}", Bytes(budget));
    }
    let all = ((budget.saturating_sub(OTHERS) / 4) as usize).saturating_sub(least);
    let mut left = all;
    // The activations first: what they save is worth more.
    let wanted = sizes.iter().map(|(_, kept)| (micro_batches - 1) * kept).sum::<usize>();
    let share = left.min(wanted) as f64 / wanted.max(1) as f64;
    let kept = ((micro_batches - 1) as f64 * share) as usize;
    left -= sizes.iter().map(|(_, size)| kept * size).sum::<usize>();
    // A GPU has use for the latents too.
    let for_tiles = if device.shares_memory() { left } else { left / 2 };
    let tiles = (batch.div_ceil(tile).pow(2) - 1).min(for_tiles / (tile * tile));
    left -= tiles * tile * tile;
    let (least, kept_bytes) = (4 * least as u64, 4 * (all - left) as u64);
    Plan { micro, kept: 1 + kept, tile, tiles: 1 + tiles, left, least, kept_bytes }
}

/// Room for steps of up to `batch` rows. Where the device has none, in smaller micro-batches.
pub(super) fn room(
    device: &dyn Device,
    space: &Space,
    options: &mut Options,
    batch: usize,
) -> Result<(Plan, Vec<Pass>, InfoNce), TrainError> {
    let mut budget = budget(device, options);
    loop {
        let plan = plan(device, space, options, batch, budget);
        if let Some(free) = device.memory().filter(|free| *free < plan.least) {
            return Err(TrainError::Large { needed: Bytes::rounded(plan.least), free: Bytes::rounded(free) });
        }
        let pass = |tower: &Tower| Pass::new(device, tower, [batch, plan.micro], plan.kept);
        let passes = space.towers.iter().map(pass).collect();
        let loss = InfoNce::new(device, batch, space.width(), plan.tile, plan.tiles);
        match device.submit() {
            Err(DeviceError::Memory { device, .. }) if plan.keeps() => {
                budget = plan.used() / 2;
                let less = Bytes::rounded(budget);
                tracing::warn!("{device} has no memory left: trying with {less}, and computing more again");
            }
            Err(DeviceError::Memory { device, .. }) if options.micro_batch >= 128 && plan.micro >= 128 => {
                options.micro_batch = plan.micro / 2;
                let micro = options.micro_batch;
                tracing::warn!("{device} has no memory left: trying with micro-batches of {micro}");
            }
            other => {
                other?;
                return Ok((plan, passes, loss));
            }
        }
    }
}
