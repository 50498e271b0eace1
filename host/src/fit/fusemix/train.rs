//! The training loop.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::{Checkpoints, Position};
use super::draws::{self, Draw};
use super::error::TrainError;
use super::feed::Feed;
use super::memory::{self, Most, Room};
use super::observer::{EpochMetrics, Observer, Outcome};
use super::options::{Options, TrainOptions};
use super::pass::Batch;
use super::rules::{Planned, check};
use super::schedule::learning_rate;
use super::sizes::Size;
use super::start::Begun;
use super::targets::Items;
use super::unpaired::{Pool, Taught, Unpaired};
use crate::bytes::Bytes;
use crate::device::{Buffer, Device, DeviceError, Slice, available_memory};
use crate::fit::PairSet;
use crate::kernels::{ClipFactor, Precision, SquareSums, hash};
use crate::latents::Latents;
use crate::nn::{AdapterKind, Fresh, Mode, Rows, Source, Step, Version};
use crate::space::{Network, Space, TowerSpec};

/// Steps between checks of the losses, so that a non-finite one does not cost a long epoch.
const LOOK: usize = 256;

/// Values without a range.
const ANY: [f32; 2] = [f32::MIN, f32::MAX];

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
    room: Room,
    /// The losses of an epoch's steps.
    losses: Buffer,
    clipping: Clipping,
}

/// A pair set at work.
pub(super) struct TrainedSet {
    pub(super) towers: [usize; 2],
    sides: [Feed; 2],
    items: Items,
    pools: Option<[Pool; 2]>,
    pub(super) size: Size,
}

impl TrainedSet {
    /// Starts reading the rows of a later step while the device works.
    fn read_ahead(&self, draw: &Draw) {
        self.sides.iter().for_each(|side| side.read_ahead(draw));
        if let (Some(pools), Some(items)) = (&self.pools, &draw.unpaired) {
            pools.iter().zip(items.iter()).for_each(|(pool, items)| pool.feed.read_ahead(items));
        }
    }

    /// Writes the latents of some rows of a draw's batch on one side.
    fn write(&self, device: &dyn Device, draw: &Draw, side: usize, rows: Rows, out: Slice<'_>) {
        match (&self.pools, &draw.unpaired) {
            (Some(pools), Some(items)) if rows.first >= draw.rows() => {
                let first = rows.first - draw.batches()[side].first_unpaired();
                pools[side].feed.write(device, &items[side], Rows { first, ..rows }, out);
            }
            _ => self.sides[side].write(device, draw, rows, out),
        }
    }
}

/// What a training may have beside its pairs.
#[derive(Default)]
pub struct Extras {
    /// The closed form that it goes on from.
    pub begun: Option<Begun>,
    /// Items without a pair.
    pub unpaired: Option<Unpaired>,
}

/// The factor of the gradients.
struct Clipping {
    /// Sums of squares of each parameter's gradient.
    parts: Buffer,
    factor: Buffer,
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

    /// The same, with extras; going on from a closed form, the pairs are as its adapters see them.
    pub fn begin(
        device: Arc<dyn Device>,
        mut towers: Vec<TowerSpec>,
        sets: Vec<PairSet>,
        options: &TrainOptions,
        seed: u64,
        Extras { begun, unpaired }: &Extras,
    ) -> Result<Self, TrainError> {
        let sizes: Vec<(usize, f32)> = sets.iter().map(|set| (set.len(), set.weight)).collect();
        let mut options = options.resolve(&sizes)?;
        let unpaired = unpaired.as_ref().filter(|_| options.unpaired.is_some());
        let given: Vec<Option<[Taught; 2]>> =
            unpaired.map_or_else(|| vec![None; sets.len()], |of_sets| of_sets.0.clone());
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
        network.towers.iter().for_each(|tower| tower.adapter.train(&*device, options.keep()));
        network.log_tau.train(&*device, options.keep());
        let size = |(set, given): (&PairSet, &Option<[Taught; 2]>)| {
            let (pairs, weight) = (set.len(), set.weight);
            let unpaired = given.as_ref().map(|sides| sides.each_ref().map(|side| side.latents.len()));
            Size { pairs, batch: options.batch.min(pairs / 2), weight, unpaired }
        };
        let sizes: Vec<Size> = sets.iter().zip(&given).map(size).collect();
        let unpaired = sizes.iter().filter_map(|size| size.unpaired).flatten().max().unwrap_or(0);
        let pairs = sizes.iter().map(|size| size.batch).max().unwrap_or(0);
        let taught = given.iter().flatten().flatten().map(|side| side.teacher.width()).max().unwrap_or(0);
        let most =
            Most { batch: Batch { pairs, unpaired: unpaired.min(options.unpaired_batch.unwrap_or(unpaired)) }, taught };
        let (plan, room) = memory::room(&*device, &network, &mut options, most)?;
        let mut left = plan.left;
        let mut feed = |latents: Arc<dyn Latents>| {
            let feed = Feed::new(&*device, latents, plan.micro, left)?;
            left -= feed.resident();
            Ok::<_, DeviceError>(feed)
        };
        let set = |((set, size), given): ((PairSet, &Size), Option<[Taught; 2]>)| {
            let PairSet { towers, latents: [first, second], .. } = set;
            let items = Items::of(&options, [&*first, &*second]);
            let mut pool = |taught: Taught| Ok(Pool::new(feed(taught.seen.clone())?, taught));
            let pools = match given {
                None => None,
                Some([x, y]) => Some([pool(x)?, pool(y)?]),
            };
            Ok(TrainedSet { towers, sides: [feed(first)?, feed(second)?], items, pools, size: *size })
        };
        let sets = sets.into_iter().zip(&sizes).zip(given).map(set).collect::<Result<Vec<_>, DeviceError>>()?;
        let mapped = sets.iter().flat_map(|set| &set.sides).map(Feed::mapped).sum::<u64>();
        let cold = available_memory().is_some_and(|available| mapped > available);
        let most = |mixes| sizes.iter().map(|size| size.steps(mixes)).sum::<usize>();
        let losses = device.zeros(most(true).max(most(false)));
        let clipping = Clipping {
            parts: device.zeros(network.parameters().len() * SquareSums::PARTS),
            factor: device.upload(&[1.0]),
        };
        let (devices, micro_batch) = (vec![device.describe()], options.micro_batch);
        let position = Position { taken, devices, micro_batch, ..Position::default() };
        Ok(Self { device, network, sets, options, seed, position, cold, room, losses, clipping })
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
    /// them. Infinite with terms beside the loss, which say nothing of guessing.
    pub fn chance_loss(&self) -> f32 {
        if self.room.structure.is_some() || self.room.transport.is_some() {
            return f32::INFINITY;
        }
        let sizes = self.sizes();
        let mixes = self.options.mixes(self.options.epochs - 1);
        let steps = |size: &Size| size.steps(mixes) as f32;
        let bias = self.options.bias(sizes.iter().map(|size| size.batch).max().unwrap_or(0));
        let guess = |batch: f32| match bias {
            None => batch.ln(),
            Some(bias) => ((-bias).exp().ln_1p() + (batch - 1.0) * bias.exp().ln_1p()) / batch,
        };
        let sum: f32 = sizes.iter().map(|size| steps(size) * guess(size.batch as f32)).sum();
        sum / sizes.iter().map(steps).sum::<f32>()
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
        self.position = position;
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
        let (planned, sizes, first) = (self.planned_steps(), self.sizes(), self.position.epoch);
        let mut saved = Instant::now();
        // An epoch whose steps are done may still have its end before it.
        while self.position.epoch < self.options.epochs && (self.position.step < planned || self.position.at > 0) {
            let epoch = self.position.epoch;
            let plan = draws::epoch(self.seed, epoch, &sizes, &self.options);
            let (start, from) = (Instant::now(), self.position.at);
            while self.position.at < plan.len() && self.position.step < planned {
                if observer.stop() {
                    self.save(checkpoints)?;
                    return Ok(Outcome::Stopped(self.position.step));
                }
                let next = plan.get(self.position.at + 1).filter(|_| self.cold || epoch == first);
                if let Some(next) = next {
                    self.sets[next.set].read_ahead(next);
                }
                let lr = learning_rate(&self.options, self.position.step, epoch);
                self.step(&plan[self.position.at], lr)?;
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
            let drawn: usize = plan[from..self.position.at].iter().map(|draw| draw.pairs.len()).sum();
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
            None => Ok(losses),
        }
    }

    fn save(&self, checkpoints: Option<&Checkpoints>) -> Result<(), TrainError> {
        let Some(checkpoints) = checkpoints else { return Ok(()) };
        Ok(checkpoints.save(&self.network, &self.position, &self.losses()?)?)
    }

    pub(super) fn sizes(&self) -> Vec<Size> {
        self.sets.iter().map(|set| set.size).collect()
    }

    /// Takes the next step.
    pub(super) fn step(&mut self, draw: &Draw, lr: f32) -> Result<(), TrainError> {
        self.gradients(draw);
        let towers = self.sets[draw.set].towers;
        towers.iter().for_each(|&tower| self.position.taken[tower] += 1);
        self.position.step += 1;
        self.position.at += 1;
        let (device, network, options) = (&*self.device, &self.network, &self.options);
        let log_tau = options.temperature_learned.then_some(&network.log_tau);
        if options.clip > 0.0 {
            let parameters = towers.iter().flat_map(|&tower| network.towers[tower].parameters()).chain(log_tau);
            let mut count = 0;
            for (at, parameter) in parameters.enumerate() {
                parameter.square_sums(device, self.clipping.parts.part(at * SquareSums::PARTS, SquareSums::PARTS));
                count += SquareSums::PARTS;
            }
            let factor = ClipFactor { count, longest: options.clip };
            device.launch(&factor, &[self.clipping.parts.all()], &[self.clipping.factor.all()]);
        }
        let decay = options.weight_decay;
        let step = Step {
            betas: [options.beta1, options.beta2],
            epsilon: options.epsilon,
            number: 0,
            lr,
            decay: [decay, if options.decay_vectors { decay } else { 0.0 }],
            average: options.ema,
            factor: self.clipping.factor.all(),
        };
        for tower in towers {
            let step = Step { number: self.position.taken[tower], ..step };
            network.towers[tower].parameters().into_iter().for_each(|parameter| parameter.update(device, step, ANY));
        }
        if let Some(log_tau) = log_tau {
            let step = Step { number: self.position.step, decay: [0.0; 2], ..step };
            log_tau.update(device, step, [options.temperature_min.ln(), options.temperature_max.ln()]);
        }
        Ok(device.submit()?)
    }

    /// The loss of the next step, and its gradients to the parameters of both towers.
    pub(super) fn gradients(&self, draw: &Draw) {
        let (device, network, set) = (&*self.device, &self.network, &self.sets[draw.set]);
        let (pairs, &Position { step, at, .. }) = (draw.rows(), &self.position);
        let Options { dropout, precision, .. } = self.options;
        let mode = |tower| {
            let key = key(self.seed, step, tower);
            Mode { version: Version::Trained, precision, dropout, key }
        };
        let Room { passes, latents, .. } = &self.room;
        // The same rows and lambdas on both sides: a mixed pair is a pair.
        let batches = draw.batches();
        let feeds = [0, 1].map(|side| move |rows: Rows, out: Slice<'_>| set.write(device, draw, side, rows, out));
        for ((side, tower), feed) in set.towers.into_iter().enumerate().zip(&feeds) {
            passes[tower].forward(device, &network.towers[tower], batches[side], mode(tower), feed);
        }
        if !latents.is_empty() {
            for (side, tower) in set.towers.into_iter().enumerate() {
                let rows = &latents[tower];
                for part in (Batch { pairs, unpaired: 0 }).micro_batches(self.options.micro_batch / 64 * 64) {
                    set.write(device, draw, side, part, rows.raw(part.first, part.count));
                }
                rows.set(device, pairs, rows.raw(0, pairs));
            }
        }
        self.descend(set, draw, (pairs, precision), at);
        for ((side, tower), feed) in set.towers.into_iter().enumerate().zip(&feeds) {
            passes[tower].backward(device, &network.towers[tower], batches[side], mode(tower), feed);
        }
    }

    /// Writes the loss of a draw, with its terms, to place `at`, and its gradients to the embeddings of the passes.
    fn descend(&self, set: &TrainedSet, draw: &Draw, shape: (usize, Precision), at: usize) {
        let (device, room, losses) = (&*self.device, &self.room, (self.losses.all(), at));
        let log_tau = &self.network.log_tau;
        let passes = set.towers.map(|tower| &room.passes[tower]);
        let latents = (!room.latents.is_empty()).then(|| set.towers.map(|tower| &room.latents[tower]));
        let wanted = room.targets.as_ref().map(|targets| {
            targets.prepare(device, shape, (draw, &set.items), latents);
            (targets, latents)
        });
        let taus = (log_tau.values(Version::Trained), log_tau.gradient());
        room.loss.launch(device, shape, (passes, wanted), taus, losses);
        if let (Some(structure), Some(latents)) = (&room.structure, latents) {
            for (pass, (tower, latents)) in passes.into_iter().zip(set.towers.into_iter().zip(latents)) {
                // An identity tower has its neighbourhoods as they are.
                if self.network.towers[tower].spec.adapter != AdapterKind::Identity {
                    structure.launch(device, shape, latents, pass, losses);
                }
            }
        }
        if let (Some(transport), Some(pools), Some(items)) = (&room.transport, &set.pools, &draw.unpaired) {
            let (pools, batch) = (pools.each_ref(), draw.batches()[0]);
            transport.launch(device, (batch, shape.1), (pools, items), passes, losses);
        }
    }
}

/// The key that distinguishes the dropout of a tower in a step.
fn key(seed: u64, step: usize, tower: usize) -> u32 {
    let words = [seed as u32, (seed >> 32) as u32, step as u32, tower as u32];
    words.into_iter().fold(0, |key, word| hash(key ^ hash(word.wrapping_add(0x9e37_79b9))))
}

#[cfg(test)]
pub(super) mod tests;
