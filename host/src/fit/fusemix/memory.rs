//! The memory plan of a training: as many activations and tiles of logits as its budget allows.

use super::centred::CentredRows;
use super::error::TrainError;
use super::geodesic::Geodesic;
use super::loss::PairLoss;
use super::mask::Mask;
use super::objective::Loss;
use super::pass::{Batch, Pass};
use super::resolved::Options;
use super::structure::Structure;
use super::targets::Targets;
use super::tiles::{GPU_TILE, TILE};
use super::transport::Transport;
use crate::bytes::Bytes;
use crate::device::{Device, DeviceError};
use crate::space::{Network, Tower, TowerSpec};

/// The default budget, in bytes; at most half of the free memory, and of a GPU's own at least a tenth.
const BUDGET: u64 = 4 << 30;

/// The share of everything else: packed factors of products, buffers of files, the program.
const OTHERS: u64 = 256 << 20;

/// The part of a step that is kept for its backward pass; the rest is recomputed.
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
    /// Values of room for latents.
    pub(super) left: usize,
    /// Bytes needed if everything that can be recomputed is.
    pub(super) least: u64,
    /// Bytes needed for what is kept.
    kept_bytes: u64,
}

impl Plan {
    /// True if it keeps anything that can be recomputed.
    pub(super) fn keeps(&self) -> bool {
        self.kept > 1 || self.tiles > 1
    }

    /// Bytes needed in all.
    pub(super) fn used(&self) -> u64 {
        self.least + OTHERS + self.kept_bytes
    }
}

/// Copies of a parameter: the value, its gradient and moments, and the requested extras.
fn copies(options: &Options) -> usize {
    4 + usize::from(options.ema > 0.0) + usize::from(options.patience > 0)
}

/// Bytes of all parameters of a training.
pub(super) fn parameters(towers: &[TowerSpec], options: &Options) -> u64 {
    4 * copies(options) as u64 * towers.iter().map(|spec| options.shape(spec).values()).sum::<u64>()
}

/// The budget by the options, or by the device.
fn budget(device: &dyn Device, options: &Options) -> u64 {
    let memory = device.memory().unwrap_or(u64::MAX);
    let own = if device.shares_memory() || memory == u64::MAX { 0 } else { memory / 10 };
    options.memory.map_or(BUDGET.min(memory / 2).max(own), |memory| memory.0)
}

/// Values of the terms beside the loss, and of other targets.
fn terms(network: &Network, options: &Options, Most { batch, taught }: Most, tile: usize) -> usize {
    let pairs = batch.pairs;
    let centred = |tower: usize| pairs * CentredRows::values(network.latent_width(tower));
    let latents = if options.needs_centred() { (0..network.towers.len()).map(centred).sum() } else { 0 };
    let transport = if batch.unpaired > 0 { Transport::values(batch.unpaired, taught) } else { 0 };
    latents
        + Mask::values(options, pairs)
        + Targets::values(options, pairs, tile)
        + Structure::values(options, pairs, tile)
        + Geodesic::values(options, pairs, tile)
        + transport
}

/// Plans steps of up to some rows within `budget` bytes, if possible.
fn plan(device: &dyn Device, network: &Network, options: &Options, most: Most, budget: u64) -> Plan {
    let Most { batch: whole, .. } = most;
    let (rows, batch) = (whole.rows(), whole.pairs);
    // Parts of a buffer start at multiples of 64 values.
    let widest = network.towers.iter().map(|tower| tower.adapter.shape().widest()).max().unwrap_or(1);
    let bound = options.micro_batch.min(device.largest() / widest).max(64);
    let micro = if rows <= bound { rows } else { bound / 64 * 64 };
    let side = if device.shares_memory() { TILE } else { GPU_TILE.min(device.largest().isqrt() / 64 * 64).max(64) };
    let (micro_batches, tile) = (whole.micro_batches(micro).count(), side.min(batch));
    let values = network.parameters().iter().map(|(_, parameter)| parameter.gradient().len()).sum::<usize>();
    let format = options.format(device);
    // In f16 matrices are there once more.
    let of_halves = network.parameters().iter().map(|(_, parameter)| parameter.halves()).sum::<usize>();
    let parameters = copies(options) * values + of_halves;
    let sizes: Vec<(usize, usize)> =
        network.towers.iter().map(|tower| Pass::values(tower, rows, micro, format)).collect();
    // A GPU's latents wait in memory for up to three steps.
    let widths: usize = network.towers.iter().map(|tower| tower.spec.width).sum();
    let times = if options.needs_centred() { 6 } else { 3 };
    let staged = if device.shares_memory() { 0 } else { times * rows * widths };
    let passes = sizes.iter().map(|(fixed, kept)| fixed + kept).sum::<usize>();
    let halves = PairLoss::values_in_f16((batch, network.width), tile, format);
    let terms = terms(network, options, most, tile) + halves;
    let least = parameters + staged + 6 * batch + tile * tile + passes + terms;
    let all = ((budget.saturating_sub(OTHERS) / 4) as usize).saturating_sub(least);
    let mut left = all;
    // The activations first: what they save is worth more.
    let wanted = sizes.iter().map(|(_, kept)| (micro_batches - 1) * kept).sum::<usize>();
    let share = left.min(wanted) as f64 / wanted.max(1) as f64;
    let kept = ((micro_batches - 1) as f64 * share) as usize;
    left -= sizes.iter().map(|(_, size)| kept * size).sum::<usize>();
    // A GPU has use for the latents too.
    let for_tiles = if device.shares_memory() { left } else { left / 2 };
    // The sigmoid's tiles are used once.
    let reused = if options.loss == Loss::Sigmoid { 0 } else { batch.div_ceil(tile).pow(2) - 1 };
    let tiles = reused.min(for_tiles / (tile * tile));
    left -= tiles * tile * tile;
    let (least, kept_bytes) = (4 * least as u64, 4 * (all - left) as u64);
    Plan { micro, kept: 1 + kept, tile, tiles: 1 + tiles, left, least, kept_bytes }
}

/// The largest step: its rows, and the dimensions of the teacher of those without a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) batch: Batch,
    pub(super) taught: usize,
}

/// The buffers of a step: a pass per tower, the loss, and what some losses need.
pub(super) struct Room {
    pub(super) passes: Vec<Pass>,
    pub(super) loss: PairLoss,
    pub(super) mask: Option<Mask>,
    pub(super) targets: Option<Targets>,
    pub(super) structure: Option<Structure>,
    pub(super) geodesic: Option<Geodesic>,
    pub(super) transport: Option<Transport>,
    /// Of each tower, where it is needed.
    pub(super) latents: Vec<CentredRows>,
}

impl Room {
    fn new(
        device: &dyn Device,
        network: &Network,
        options: &Options,
        plan: &Plan,
        Most { batch, taught }: Most,
    ) -> Self {
        let (pairs, tile, format) = (batch.pairs, plan.tile, options.format(device));
        let pass = |tower: &Tower| Pass::new(device, tower, ([batch.rows(), plan.micro], plan.kept), format);
        let centred = |tower: usize| CentredRows::new(device, pairs, network.latent_width(tower));
        let needing = if options.needs_centred() { network.towers.len() } else { 0 };
        let kind = (options.logit_bias(pairs), format);
        let loss = PairLoss::new(device, (pairs, network.width), (tile, plan.tiles), kind);
        Self {
            passes: network.towers.iter().map(pass).collect(),
            loss,
            mask: Mask::is_meant(options).then(|| Mask::new(device, pairs)),
            targets: Targets::new(device, options, pairs, tile),
            structure: Structure::new(device, options, pairs, tile),
            geodesic: Geodesic::new(device, options, pairs, tile),
            transport: (batch.unpaired > 0).then(|| Transport::new(device, options, batch.unpaired, taught)),
            latents: (0..needing).map(centred).collect(),
        }
    }
}

#[cfg(test)]
impl Room {
    /// The same with tiles of `side` rows and columns, of which one is kept.
    pub(super) fn resize(&mut self, device: &dyn Device, options: &Options, pairs: usize, side: usize) {
        let kind = (options.logit_bias(pairs), options.format(device));
        self.loss = PairLoss::new(device, (pairs, options.width), (side, 1), kind);
        self.targets = Targets::new(device, options, pairs, side);
        self.structure = Structure::new(device, options, pairs, side);
        self.geodesic = Geodesic::new(device, options, pairs, side);
    }
}

/// Allocates buffers for steps of up to some rows, with smaller micro-batches if the device runs out of memory, and
/// down to `least_micro` if they need more than the budget.
pub(super) fn room(
    device: &dyn Device,
    network: &Network,
    options: &mut Options,
    (most, least_micro): (Most, usize),
) -> Result<(Plan, Room), TrainError> {
    let mut budget = budget(device, options);
    loop {
        let plan = plan(device, network, options, most, budget);
        // What nobody asked for makes way first.
        if plan.least > budget && plan.micro > least_micro {
            options.micro_batch = (plan.micro / 2).max(least_micro);
            continue;
        }
        if plan.least > budget && options.memory == Some(Bytes(budget)) {
            let least = plan.least.div_ceil(1 << 20);
            tracing::warn!("training needs at least {least}MiB, but `memory` is {}", Bytes(budget));
        }
        if let Some(free) = device.memory().filter(|free| *free < plan.least) {
            return Err(TrainError::Large { needed: Bytes::rounded(plan.least), free: Bytes::rounded(free) });
        }
        let room = Room::new(device, network, options, &plan, most);
        match device.submit() {
            Err(DeviceError::Memory { device, .. }) if plan.keeps() => {
                budget = plan.used() / 2;
                let less = Bytes::rounded(budget);
                tracing::warn!("{device} is out of memory; retrying with {less} and more recomputation");
            }
            Err(DeviceError::Memory { device, .. }) if options.micro_batch >= 128 && plan.micro >= 128 => {
                options.micro_batch = plan.micro / 2;
                let micro = options.micro_batch;
                tracing::warn!("{device} is out of memory; retrying with micro-batches of {micro}");
            }
            other => {
                other?;
                return Ok((plan, room));
            }
        }
    }
}
