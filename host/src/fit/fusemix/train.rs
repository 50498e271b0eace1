//! The training loop.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::{Checkpoints, Position};
use super::draws::{self, Deck, Draw};
use super::error::{OptionError, TrainError};
use super::feed::Feeds;
use super::memory::{self, Most, Room};
use super::objective::{Captions, Loss, TargetKind};
use super::observer::{EpochMetrics, Observer, Outcome};
use super::options::{GPU_MICRO_BATCH, TrainOptions};
use super::pass::Batch;
use super::resolved::Options;
use super::rules::{FEWEST_PAIRS, Planned, check};
use super::scaling::Scaling;
use super::schedule::learning_rate;
use super::set::TrainedSet;
use super::sizes::Size;
use super::start::Begun;
use super::unpaired::Unpaired;
use crate::bytes::Bytes;
use crate::device::{Buffer, Device, DeviceError, available_memory};
use crate::fit::PairSet;
use crate::kernels::{Format, Precision};
use crate::nn::{Fresh, Keep, Source, Version};
use crate::space::{Network, Space, TowerSpec};

/// Steps between checks of the losses, so that a non-finite one does not cost a long epoch.
const LOOK: usize = 256;

/// A training, ready to run.
pub struct Trainer {
    pub(super) device: Arc<dyn Device>,
    pub(super) network: Arc<Network>,
    pub(super) sets: Vec<TrainedSet>,
    pub(super) options: Options,
    pub(super) seed: u64,
    pub(super) position: Position,
    /// True if the latents exceed the memory, so that each epoch reads them from the disk.
    cold: bool,
    /// Buffers for a step.
    pub(super) room: Room,
    /// The losses of an epoch's steps.
    pub(super) losses: Buffer,
    pub(super) scaling: Scaling,
}

/// What a training may have beside its pairs.
#[derive(Default)]
pub struct Extras {
    /// The closed form that it goes on from.
    pub begun: Option<Begun>,
    /// Items without a pair.
    pub unpaired: Option<Unpaired>,
}

impl Trainer {
    /// A training of `towers` on `sets`; the same seed on the same device gives the same losses, bit for bit.
    pub fn new(
        device: Arc<dyn Device>,
        towers: Vec<TowerSpec>,
        sets: Vec<PairSet>,
        options: &TrainOptions,
        seed: u64,
    ) -> Result<Self, TrainError> {
        Self::begin(device, towers, sets, options, seed, &Extras::default())
    }

    /// The same, with extras.
    pub fn begin(
        device: Arc<dyn Device>,
        mut towers: Vec<TowerSpec>,
        sets: Vec<PairSet>,
        options: &TrainOptions,
        seed: u64,
        Extras { begun, unpaired }: &Extras,
    ) -> Result<Self, TrainError> {
        let drawn = options.sizes(&sets);
        let own = options.micro_batch;
        if let Some((items, _)) = drawn.iter().find(|(items, _)| *items < FEWEST_PAIRS)
            && options.captions == Some(Captions::One)
        {
            let reason = format!("a pair set has {items} different items, and needs at least {FEWEST_PAIRS}");
            return Err(OptionError { key: "captions", value: "\"one\"".to_owned(), reason }.into());
        }
        let mut options = options.resolve(&drawn)?;
        let least_micro = options.micro_batch;
        if own.is_none() && !device.shares_memory() {
            options.micro_batch = GPU_MICRO_BATCH;
        }
        let unpaired = unpaired.as_ref().filter(|_| options.transported().is_some());
        if let Some(begun) = begun {
            (towers, options.width) = (begun.towers(towers), begun.shared());
        }
        let planned = |spec: &'_ TowerSpec| (spec.name.clone(), spec.adapter, spec.width);
        let planned: Vec<_> = towers.iter().map(planned).collect();
        let planned: Vec<Planned<'_>> = planned
            .iter()
            .map(|(name, adapter, width)| Planned { name, adapter: *adapter, width: Some(*width) })
            .collect();
        let tied: Vec<([usize; 2], usize)> = sets.iter().map(|set| (set.towers, set.len())).collect();
        check(&planned, &tied, options.width)?;
        if options.precision == Precision::Bf16 && !device.has_16_bit() {
            tracing::warn!("{} has no fast 16-bit products; training in f32 instead", device.describe());
            options.precision = Precision::F32;
        }
        let taken = vec![0; towers.len()];
        let needed = memory::parameters(&towers, &options);
        if let Some(free) = device.memory().filter(|free| *free < needed) {
            return Err(TrainError::Large { needed: Bytes::rounded(needed), free: Bytes::rounded(free) });
        }
        let towers = towers.into_iter().map(|spec| (options.shape(&spec), spec)).collect();
        let mut fresh = Fresh(ChaCha8Rng::seed_from_u64(seed));
        let network =
            |source: &mut dyn Source| Network::new(device.clone(), towers, options.width, options.temperature, source);
        let network = Arc::new(match begun {
            Some(begun) => network(&mut begun.source(&mut fresh)).behind(begun.fronts()),
            None => network(&mut fresh),
        });
        let halves = options.format(&*device) == Format::F16;
        let keep = Keep { halves, ..options.keep() };
        network.towers.iter().for_each(|tower| tower.adapter.train(&*device, keep));
        network.log_tau.train(&*device, options.keep());
        let size = |(number, set): (usize, &PairSet)| {
            let (pairs, weight) = drawn[number];
            let unpaired = unpaired.and_then(|unpaired| unpaired.counts(set));
            debug_assert!(begun.as_ref().is_none_or(|begun| begun.seen()[number].len() == set.len()));
            Size { pairs, batch: options.batch.min(pairs / 2), weight, unpaired }
        };
        let sizes: Vec<Size> = sets.iter().enumerate().map(size).collect();
        let of_pairs = sizes.iter().map(|size| size.batch).max().unwrap_or(0);
        let items = sizes.iter().filter_map(|size| size.unpaired).flatten().max().unwrap_or(0);
        let batch = Batch { pairs: of_pairs, unpaired: items.min(options.unpaired_batch.unwrap_or(items)) };
        let most = Most { batch, taught: unpaired.map_or(0, Unpaired::width) };
        let (plan, room) = memory::room(&*device, &network, &mut options, (most, least_micro))?;
        let mut feeds = Feeds::new(&*device, plan, &options);
        let trained = |((set, number), size): ((PairSet, usize), &Size)| {
            let seen = begun.as_ref().map(|begun| &begun.seen()[number]);
            TrainedSet::new(&mut feeds, &options, (set, seen), *size)
        };
        let numbered = sets.into_iter().zip(0..).zip(&sizes);
        let mut sets = numbered.map(trained).collect::<Result<Vec<_>, DeviceError>>()?;
        // Few steps need an item without a pair, so pairs come first where memory ends.
        if let Some(unpaired) = unpaired {
            sets.iter_mut().try_for_each(|set| set.add_pools(&mut feeds, unpaired, begun.as_ref()))?;
        }
        let cold = available_memory().is_some_and(|available| feeds.mapped() > available);
        let most = |mixes| sizes.iter().map(|size| size.steps(mixes)).sum::<usize>();
        let losses = device.zeros(most(true).max(most(false)));
        let scaling = Scaling::new(&*device, &options, (of_pairs, network.parameters().len()));
        let (devices, micro_batch) = (vec![device.describe()], options.micro_batch);
        let precision = Some(options.precision);
        let position = Position { taken, devices, micro_batch, precision, ..Position::default() };
        Ok(Self { device, network, sets, options, seed, position, cold, room, losses, scaling })
    }

    /// The options with every value known.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The towers, which training goes on to change.
    pub fn space(&self) -> Space {
        Space::of_network(self.network.clone())
    }

    /// The towers as they are trained.
    pub fn towers(&self) -> impl Iterator<Item = &TowerSpec> {
        self.network.towers.iter().map(|tower| &tower.spec)
    }

    /// Steps of the whole training.
    pub fn planned_steps(&self) -> usize {
        let sizes = self.sizes();
        let steps = |mixes| sizes.iter().map(|size| size.steps(mixes)).sum::<usize>();
        let (mixed, plain) = (steps(true), steps(false));
        let of = |epoch| if self.options.mixes(epoch) { mixed } else { plain };
        let all = (0..self.options.epochs).map(of).fold(0, usize::saturating_add);
        all.min(self.options.steps.unwrap_or(usize::MAX))
    }

    /// The mean loss of a step whose adapters guess: the logarithm of its pairs, or what the sigmoid's bias says of
    /// them. None where that cannot be told: with terms beside the loss, or a number of positives or of negatives that
    /// differs by row.
    pub fn chance_loss(&self) -> Option<f32> {
        let several = self.options.loss == Loss::Sigmoid && self.options.targets == TargetKind::Items;
        let masked = self.room.mask.is_some() && self.sets.iter().any(|set| set.items().repeat());
        let terms = self.room.structure.is_some() || self.room.transport.is_some() || self.room.geodesic.is_some();
        if terms || several || masked {
            return None;
        }
        let sizes = self.sizes();
        let mixes = self.options.mixes(self.options.epochs - 1);
        let steps = |size: &Size| size.steps(mixes) as f32;
        let bias = self.options.logit_bias(sizes.iter().map(|size| size.batch).max().unwrap_or(0));
        let guess = |batch: f32| match bias {
            None => batch.ln(),
            Some(bias) => ((-bias).exp().ln_1p() + (batch - 1.0) * bias.exp().ln_1p()) / batch,
        };
        let sum: f32 = sizes.iter().map(|size| steps(size) * guess(size.batch as f32)).sum();
        Some(sum / sizes.iter().map(steps).sum::<f32>())
    }

    /// The recall of the adapters that are kept, where `patience` chooses them.
    pub fn kept_recall(&self) -> Option<f64> {
        self.position.best.map(|(recall, _)| f64::from_bits(recall))
    }

    /// The devices that it ran on.
    pub fn devices(&self) -> String {
        self.position.devices.join(", then ")
    }

    /// The number of finished steps and epochs.
    pub fn done(&self) -> (usize, usize) {
        (self.position.step, self.position.epoch)
    }

    /// Resumes from the last good checkpoint; false if there is none.
    pub fn resume(&mut self, checkpoints: &Checkpoints) -> Result<bool, TrainError> {
        let Some((position, losses)) = checkpoints.load(&self.network)? else { return Ok(false) };
        if !losses.is_empty() {
            self.device.write(self.losses.part(0, losses.len()), &losses);
        }
        if let Some(state) = position.scale {
            self.scaling.restore(&*self.device, state);
        }
        self.position = Position { precision: position.precision.or(self.position.precision), ..position };
        let device = self.device.describe();
        let before = self.position.devices.last().cloned();
        if let Some(before) = before.filter(|before| *before != device) {
            tracing::warn!("this training ran on {before} before; on {device}, results will differ slightly");
            self.position.devices.push(device);
        }
        let (then, now) = (self.position.micro_batch, self.options.micro_batch);
        if then != now {
            tracing::warn!(
                "this training used micro-batches of {then} before; with {now}, results will differ slightly"
            );
            self.position.micro_batch = now;
        }
        Ok(true)
    }

    /// Trains to the last epoch, writing checkpoints if it is given a place for them.
    pub fn run(
        &mut self,
        observer: &mut dyn Observer,
        checkpoints: Option<&Checkpoints>,
    ) -> Result<Outcome, TrainError> {
        let (planned, first) = (self.planned_steps(), self.position.epoch);
        let mut saved = Instant::now();
        // An epoch whose steps are done may still have its end before it.
        while self.position.epoch < self.options.epochs && (self.position.step < planned || self.position.at > 0) {
            let epoch = self.position.epoch;
            let plan = draws::epoch(self.seed, epoch, &self.decks(), &self.options);
            let (start, from) = (Instant::now(), self.position.at);
            while self.position.at < plan.len() && self.position.step < planned {
                let next = plan.get(self.position.at + 1).filter(|_| self.cold || epoch == first);
                if let Some(next) = next {
                    self.sets[next.set].read_ahead(next);
                }
                let lr = learning_rate(&self.options, self.position.step, epoch);
                let taken = !observer.stop() && self.step(&plan[self.position.at], lr, &|| !observer.stop())?;
                if !taken {
                    self.save(checkpoints)?;
                    return Ok(Outcome::Stopped(self.position.step));
                }
                if self.position.at.is_multiple_of(LOOK) {
                    self.losses()?;
                }
                observer.step(self.position.step);
                let due = |checkpoints: &Checkpoints| {
                    let steps = checkpoints.steps > 0 && self.position.step.is_multiple_of(checkpoints.steps);
                    steps || !checkpoints.every.is_zero() && saved.elapsed() >= checkpoints.every
                };
                if checkpoints.is_some_and(due) {
                    self.save(checkpoints)?;
                    saved = Instant::now();
                }
            }
            let losses = self.losses()?;
            let temperature = self.device.read(self.network.log_tau.values(Version::Trained))?[0].exp();
            let drawn: usize = plan[from..self.position.at].iter().map(Draw::drawn).sum();
            let pairs_per_second = drawn as f64 / start.elapsed().as_secs_f64().max(1e-9);
            (self.position.epoch, self.position.at) = (epoch + 1, 0);
            let steps = self.position.step;
            let lr = learning_rate(&self.options, steps - 1, epoch);
            let metrics = EpochMetrics { epoch: epoch + 1, steps, losses, temperature, lr, pairs_per_second };
            observer.epoch(&metrics).map_err(TrainError::Observer)?;
            let last = epoch + 1 == self.options.epochs || steps == planned;
            if last || self.options.eval_every > 0 && (epoch + 1).is_multiple_of(self.options.eval_every) {
                let recall = observer.evaluate(epoch + 1, &self.space()).map_err(TrainError::Observer)?;
                if !self.goes_on(recall) {
                    return Ok(Outcome::Ended(steps));
                }
            }
        }
        Ok(Outcome::Finished)
    }

    /// Keeps the best adapters so far; false once `patience` is exhausted.
    fn goes_on(&mut self, recall: Option<f64>) -> bool {
        let (patience, Some(recall)) = (self.options.patience, recall) else { return true };
        if patience == 0 {
            return true;
        }
        self.position.best = match self.position.best {
            Some((best, since)) if recall <= f64::from_bits(best) => Some((best, since + 1)),
            _ => {
                self.network.parameters().iter().for_each(|(_, parameter)| parameter.keep(&*self.device));
                Some((recall.to_bits(), 0))
            }
        };
        self.position.best.is_none_or(|(_, since)| since < patience)
    }

    /// The losses of the epoch so far, all finite.
    pub(super) fn losses(&self) -> Result<Vec<f32>, TrainError> {
        let Position { step, at, .. } = self.position;
        if at == 0 {
            return Ok(Vec::new());
        }
        let losses = self.device.read(self.losses.part(0, at))?;
        match losses.iter().position(|loss| !loss.is_finite()) {
            Some(bad) => Err(TrainError::Diverged { step: step - at + bad + 1, loss: losses[bad] }),
            None if self.scaling.is_stuck(&*self.device)? => Err(TrainError::Overflow { step }),
            None => Ok(losses),
        }
    }

    fn save(&self, checkpoints: Option<&Checkpoints>) -> Result<(), TrainError> {
        let Some(checkpoints) = checkpoints else { return Ok(()) };
        let position = Position { scale: self.scaling.state(&*self.device)?, ..self.position.clone() };
        Ok(checkpoints.save(&self.network, &position, &self.losses()?)?)
    }

    /// What its draws are made from.
    pub(super) fn decks(&self) -> Vec<Deck<'_>> {
        self.sets.iter().map(TrainedSet::deck).collect()
    }

    pub(super) fn sizes(&self) -> Vec<Size> {
        self.sets.iter().map(|set| set.size).collect()
    }
}

#[cfg(test)]
pub(super) mod tests;
