//! A step of a training: the loss of a draw, its gradients, and what the optimizer makes of them.

use super::checkpoint::Position;
use super::draws::Draw;
use super::error::TrainError;
use super::loss::Sides;
use super::memory::Room;
use super::pass::{Batch, GoOn};
use super::resolved::Options;
use super::set::TrainedSet;
use super::train::Trainer;
use crate::device::Slice;
use crate::kernels::{Format, Precision, hash};
use crate::nn::{AdapterKind, Mode, Rows, Step, Version};

/// Values without a range.
const ANY: [f32; 2] = [f32::MIN, f32::MAX];

impl Trainer {
    /// Takes the next step; false if it is not to go on, and then it was not taken.
    pub(super) fn step(&mut self, draw: &Draw, lr: f32, go_on: GoOn<'_>) -> Result<bool, TrainError> {
        if !self.gradients(draw, go_on) {
            return Ok(false);
        }
        let towers = self.sets[draw.set].towers;
        towers.iter().for_each(|&tower| self.position.taken[tower] += 1);
        self.position.step += 1;
        self.position.at += 1;
        let (device, network, options) = (&*self.device, &self.network, &self.options);
        let log_tau = options.temperature_learned.then_some(&network.log_tau);
        let parameters: Vec<_> = towers.iter().flat_map(|&tower| network.towers[tower].parameters()).collect();
        self.scaling.measure(device, &parameters, log_tau);
        let decay = options.weight_decay;
        let step = Step {
            betas: [options.beta1, options.beta2],
            epsilon: options.epsilon,
            number: 0,
            lr,
            decay: [decay, if options.decay_vectors { decay } else { 0.0 }],
            average: options.ema,
            factor: self.scaling.factor(),
        };
        for tower in towers {
            let step = Step { number: self.position.taken[tower], ..step };
            network.towers[tower].parameters().into_iter().for_each(|parameter| parameter.update(device, step, ANY));
        }
        if let Some(log_tau) = log_tau {
            let factor = self.scaling.unscaled();
            let step = Step { number: self.position.step, decay: [0.0; 2], factor, ..step };
            log_tau.update(device, step, [options.temperature_min.ln(), options.temperature_max.ln()]);
        }
        device.submit()?;
        Ok(true)
    }

    /// The loss of the next step, and its gradients to the parameters of both towers; false if it is not to go on.
    pub(super) fn gradients(&self, draw: &Draw, go_on: GoOn<'_>) -> bool {
        let (device, network, set) = (&*self.device, &self.network, &self.sets[draw.set]);
        let (pairs, &Position { step, at, .. }) = (draw.rows(), &self.position);
        let Options { dropout, precision, .. } = self.options;
        let format = self.options.format(device);
        set.towers.iter().flat_map(|&tower| network.towers[tower].parameters()).for_each(|matrix| matrix.halve(device));
        let mode = |tower| {
            let key = key(self.seed, step, tower);
            Mode { version: Version::Trained, precision, format, dropout, key }
        };
        let Room { passes, latents, .. } = &self.room;
        // The same rows and lambdas on both sides: a mixed pair is a pair.
        let batches = draw.batches();
        let feeds = [0, 1].map(|side| move |rows: Rows, out: Slice<'_>| set.write(device, draw, side, rows, out));
        for ((side, tower), feed) in set.towers.into_iter().enumerate().zip(&feeds) {
            if !passes[tower].forward(device, &network.towers[tower], batches[side], mode(tower), (feed, go_on)) {
                return false;
            }
        }
        if !latents.is_empty() {
            for (side, tower) in set.towers.into_iter().enumerate() {
                let rows = &latents[tower];
                for part in (Batch { pairs, unpaired: 0 }).micro_batches(self.options.micro_batch / 64 * 64) {
                    set.write_latents(device, draw, side, part, rows.raw(part.first, part.count));
                }
                rows.set(device, pairs, rows.raw(0, pairs));
            }
        }
        if !self.descend(set, draw, (pairs, precision), (at, go_on)) {
            return false;
        }
        for ((side, tower), feed) in set.towers.into_iter().enumerate().zip(&feeds) {
            let batch = (batches[side], self.scaling.scale());
            if !passes[tower].backward(device, &network.towers[tower], batch, mode(tower), (feed, go_on)) {
                return false;
            }
        }
        true
    }

    /// Writes the loss of a draw, with its terms, to place `at`, and its gradients to the embeddings of the passes;
    /// false if it is not to go on.
    fn descend(
        &self,
        set: &TrainedSet,
        draw: &Draw,
        shape: (usize, Precision),
        (at, go_on): (usize, GoOn<'_>),
    ) -> bool {
        let (device, room, losses) = (&*self.device, &self.room, (self.losses.all(), at));
        let log_tau = &self.network.log_tau;
        let passes = set.towers.map(|tower| &room.passes[tower]);
        let latents = (!room.latents.is_empty()).then(|| set.towers.map(|tower| &room.latents[tower]));
        // Of 16 bits on a GPU, only the loss and the adapters have factors in f16.
        let terms = match self.options.format(device) {
            Format::F16 => (shape.0, Precision::F32),
            Format::F32 => shape,
        };
        let wanted = room.targets.as_ref().map(|targets| {
            targets.prepare(device, terms, (draw, set.items()), latents);
            (targets, latents)
        });
        let taus = (log_tau.values(Version::Trained), log_tau.gradient());
        let masked = room.mask.as_ref().and_then(|mask| mask.prepare(device, draw, set.items()));
        if !room.loss.launch(device, shape, (Sides { passes, masked }, wanted), taus, (losses, go_on)) {
            return false;
        }
        if let (Some(geodesic), [_, ..]) = (&room.geodesic, &draw.arcs[..]) {
            geodesic.launch(device, terms.1, (Sides { passes, masked }, &draw.arcs), taus, losses);
        }
        if let (Some(structure), Some(latents)) = (&room.structure, latents) {
            for (pass, (tower, latents)) in passes.into_iter().zip(set.towers.into_iter().zip(latents)) {
                // An identity tower has its neighbourhoods as they are.
                if self.network.towers[tower].spec.adapter != AdapterKind::Identity {
                    structure.launch(device, terms, latents, pass, losses);
                }
            }
        }
        if let (Some(transport), Some(pools), Some(items)) = (&room.transport, set.pools(), &draw.unpaired) {
            let (pools, batch) = (pools.each_ref(), draw.batches()[0]);
            transport.launch(device, (batch, terms.1), (pools, items), passes, losses);
        }
        true
    }
}

/// The key that distinguishes the dropout of a tower in a step.
fn key(seed: u64, step: usize, tower: usize) -> u32 {
    let words = [seed as u32, (seed >> 32) as u32, step as u32, tower as u32];
    words.into_iter().fold(0, |key, word| hash(key ^ hash(word.wrapping_add(0x9e37_79b9))))
}
