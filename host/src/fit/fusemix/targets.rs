//! The targets of a loss beyond each pair's own (see `kernels/targets.rs`).

use std::collections::HashSet;
use std::sync::Arc;

use super::augment::Augment;
use super::centred::CentredRows;
use super::draws::Draw;
use super::mask::Mask;
use super::objective::{Loss, TargetKind};
use super::resolved::Options;
use super::tiles::{Part, parts};
use crate::device::{Buffer, Device, Slice};
use crate::fit::PairSet;
use crate::kernels::{FACTS, LogSums, Overlaps, Precision, RowSums, RowTotals, Soften, Spread};

/// Targets at work, over up to some pairs.
pub(super) struct Targets {
    loss: Loss,
    side: usize,
    tile: Buffer,
    /// Of each row: the sum of its overlaps, or the log-sum-exp of its similarities.
    sums: [Buffer; 2],
    kind: Kind,
}

enum Kind {
    /// Virtual labels: facts of the rows, and of the columns.
    Labels {
        facts: [Buffer; 2],
    },
    Items {
        facts: Buffer,
    },
    Similar {
        share: f32,
        log_tau: Buffer,
    },
}

impl Targets {
    /// Values that they need for `pairs` pairs and tiles of `side` rows and columns.
    pub(super) fn values(options: &Options, pairs: usize, side: usize) -> usize {
        match (options.targets, options.augment) {
            (_, Augment::IMix) => side * side + (2 + 2 * FACTS) * pairs,
            (TargetKind::Pairs, _) => 0,
            _ => side * side + (2 + FACTS) * pairs,
        }
    }

    /// None if each pair is all that its row belongs to.
    pub(super) fn new(device: &dyn Device, options: &Options, pairs: usize, side: usize) -> Option<Self> {
        let kind = match options.targets {
            _ if options.augment == Augment::IMix => {
                Kind::Labels { facts: [(); 2].map(|()| device.zeros(FACTS * pairs)) }
            }
            TargetKind::Pairs => return None,
            TargetKind::Items => Kind::Items { facts: device.zeros(FACTS * pairs) },
            TargetKind::Similar => {
                // The mean of two cosines, by their sum.
                let temperature = options.target_temperature.expect("soft targets have a temperature");
                let log_tau = device.upload(&[(2.0 * temperature).ln()]);
                Kind::Similar { share: options.target_share.expect("soft targets have a share"), log_tau }
            }
        };
        let sums = [device.zeros(pairs), device.zeros(pairs)];
        Some(Self { loss: options.loss, side, tile: device.zeros(side * side), sums, kind })
    }

    /// Prepares the targets of a batch of `pairs` pairs: of the draw's items, or of the latents of both sides.
    pub(super) fn prepare(
        &self,
        device: &dyn Device,
        (pairs, precision): (usize, Precision),
        (draw, items): (&Draw, &Items),
        latents: Option<[&CentredRows; 2]>,
    ) {
        if let Kind::Items { facts } = &self.kind {
            device.fill(facts.part(0, FACTS * pairs), &mut |out| items.facts(draw, out));
        }
        if let Kind::Labels { facts } = &self.kind {
            let [of_rows, of_columns] = labels(draw);
            for ((facts, sums), labels) in facts.iter().zip(&self.sums).zip([&of_rows, &of_columns]) {
                device.fill(facts.part(0, FACTS * pairs), &mut |out| labels.facts(out));
                device.fill(sums.part(0, pairs), &mut |out| out.copy_from_slice(&labels.sums));
            }
            return;
        }
        for part in parts(pairs, self.side) {
            let tile = self.similarities(device, part, precision, latents);
            let sums = self.sums.each_ref().map(|sums| sums.part(part.row, part.rows));
            match &self.kind {
                Kind::Labels { .. } => {}
                Kind::Items { .. } => device.launch(&RowTotals(part.tile()), &[tile], &sums[1..]),
                Kind::Similar { log_tau, .. } => {
                    device.launch(&RowSums(part.tile()), &[tile, log_tau.all()], &sums);
                }
            }
        }
        if let Kind::Similar { .. } = &self.kind {
            let [most, sum] = self.sums.each_ref().map(|sums| sums.part(0, pairs));
            device.launch(&LogSums { count: pairs }, &[sum], &[most]);
        }
    }

    /// A tile of the targets of the prepared batch of `pairs` pairs; each is asked for once.
    pub(super) fn tile(
        &self,
        device: &dyn Device,
        part: Part,
        (pairs, precision): (usize, Precision),
        latents: Option<[&CentredRows; 2]>,
    ) -> Slice<'_> {
        let are_labels = matches!(self.kind, Kind::Labels { .. });
        let tile = match parts(pairs, self.side).len() {
            // It is still there.
            1 if !are_labels => part.within(&self.tile),
            _ => self.similarities(device, part, precision, latents),
        };
        // What rows have in common is the same of columns; labels are those of either.
        let [of_rows, of_columns] = match &self.kind {
            Kind::Labels { .. } => [&self.sums[0], &self.sums[1]],
            Kind::Items { .. } => [&self.sums[1]; 2],
            Kind::Similar { .. } => [&self.sums[0]; 2],
        };
        let sums = [of_rows.part(part.row, part.rows), of_columns.part(part.column, part.columns)];
        match (&self.kind, self.loss) {
            (Kind::Labels { .. } | Kind::Items { .. }, Loss::Sigmoid) => {}
            (Kind::Labels { .. } | Kind::Items { .. }, Loss::InfoNce) => {
                device.launch(&Spread(part.tile()), &sums, &[tile])
            }
            (Kind::Similar { share, log_tau }, loss) => {
                let whole = if loss == Loss::InfoNce { 2.0 } else { 1.0 };
                let soften = Soften { tile: part.tile(), diagonal: part.diagonal(), share: *share, whole };
                device.launch(&soften, &[log_tau.all(), sums[0], sums[1]], &[tile]);
            }
        }
        tile
    }

    /// A tile of overlaps, or of the sums of both sides' cosines.
    fn similarities(
        &self,
        device: &dyn Device,
        part: Part,
        precision: Precision,
        latents: Option<[&CentredRows; 2]>,
    ) -> Slice<'_> {
        let tile = part.within(&self.tile);
        match &self.kind {
            Kind::Labels { facts } => {
                let [of_rows, of_columns] = part.of(FACTS);
                let facts = [facts[0].part(of_rows.0, of_rows.1), facts[1].part(of_columns.0, of_columns.1)];
                device.launch(&Overlaps(part.tile()), &facts, &[tile]);
            }
            Kind::Items { facts } => {
                let [rows, columns] = part.of(FACTS).map(|(first, count)| facts.part(first, count));
                device.launch(&Overlaps(part.tile()), &[rows, columns], &[tile]);
            }
            Kind::Similar { .. } => {
                let sides = latents.expect("soft targets have latents").into_iter().enumerate();
                for (side, latents) in sides {
                    let [rows, columns] = part.of(latents.width()).map(|of| latents.unit(of));
                    let product = part.cosines(latents.width(), precision, side > 0);
                    device.launch(&product, &[rows, columns], &[tile]);
                }
            }
        }
        tile
    }
}

/// The virtual labels of a side: of each row, the weight of its own label; the rest is that of the next row's.
struct Labels {
    weights: Vec<f32>,
    /// The sums of the labels that each row has in common with all rows of the other side.
    sums: Vec<f32>,
}

/// The labels of both sides of a draw.
fn labels(draw: &Draw) -> [Labels; 2] {
    let rows = draw.rows();
    let weights = [0, 1].map(|side| match draw.weights(side) {
        [] => vec![1.0; rows],
        weights => weights.to_vec(),
    });
    // A side has its own label, and is the next one of the row before; one of them has labels of one kind alone.
    let sums = |other: &[f32]| (0..rows).map(|row| other[row] + (1.0 - other[(row + rows - 1) % rows])).collect();
    let sums = [sums(&weights[1]), sums(&weights[0])];
    let mut both = weights.into_iter().zip(sums).map(|(weights, sums)| Labels { weights, sums });
    [(); 2].map(|()| both.next().expect("there are two"))
}

impl Labels {
    /// The facts of its rows, as the kernels take them.
    fn facts(&self, out: &mut [f32]) {
        let rows = self.weights.len();
        for ((row, facts), weight) in out.chunks_exact_mut(FACTS).enumerate().zip(&self.weights) {
            let [own, next] = [row, (row + 1) % rows].map(|label| f32::from_bits(label as u32));
            facts.copy_from_slice(&[own, next, own, next, *weight]);
        }
    }
}

/// The items of a pair set by number, on either side; none where they do not matter.
pub(super) struct Items {
    numbers: [Arc<[u32]>; 2],
    repeat: bool,
}

impl Items {
    /// Those of the sides of a set. Where nobody says which items they are of, equal latents are of one.
    pub(super) fn of(options: &Options, pairs: &PairSet) -> Self {
        if options.targets != TargetKind::Items && !Mask::is_meant(options) {
            return Self { numbers: [[].into(), [].into()], repeat: false };
        }
        let numbers = pairs.numbers();
        let repeats = |numbers: &Arc<[u32]>| {
            let mut seen = HashSet::with_capacity(numbers.len());
            !numbers.iter().all(|number| seen.insert(*number))
        };
        let repeat = numbers.iter().any(repeats);
        Self { numbers, repeat }
    }

    /// The items of row `at` of a draw, as bits: the first and the second one of either side, the same without mixing.
    fn items_of(&self, draw: &Draw, at: usize) -> [f32; 4] {
        let (first, second) = (draw.pairs[at], draw.pairs.get(draw.rows() + at).copied().unwrap_or(draw.pairs[at]));
        [(0, first), (0, second), (1, first), (1, second)].map(|(side, pair)| f32::from_bits(self.numbers[side][pair]))
    }

    /// True if an item is in more than one pair.
    pub(super) fn repeat(&self) -> bool {
        self.repeat
    }

    /// The items of the rows of a draw: their first and second ones on either side, a list of each, as bits.
    pub(super) fn lists(&self, draw: &Draw, out: &mut [f32]) {
        let rows = draw.rows();
        for (of, list) in out.chunks_exact_mut(rows).enumerate() {
            list.iter_mut().enumerate().for_each(|(at, item)| *item = self.items_of(draw, at)[of]);
        }
    }

    /// The facts of the rows of a draw, as the kernels take them.
    fn facts(&self, draw: &Draw, out: &mut [f32]) {
        for (at, facts) in out.chunks_exact_mut(FACTS).enumerate() {
            facts[..4].copy_from_slice(&self.items_of(draw, at));
            facts[4] = draw.lambdas.get(at).copied().unwrap_or(1.0);
        }
    }
}
