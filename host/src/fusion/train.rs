//! The training loop.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use super::adapter::{Mode, Rows};
use super::batches::{self, Batch, Size};
use super::checkpoint::{CheckpointError, Checkpoints, Position};
use super::feed::Feed;
use super::loss::InfoNce;
use super::memory;
use super::observer::{EpochMetrics, Observer, Outcome};
use super::parameter::{Step, Version};
use super::schedule::learning_rate;
use super::tower::Pass;
use super::{AdapterKind, Fusion, OptionError, Options, TowerSpec, TrainOptions};
use crate::bytes::Bytes;
use crate::device::{Buffer, Device, DeviceError, Slice, available_memory};
use crate::kernels::{ClipFactor, Precision, SquareSums, hash};
use crate::latents::Latents;

/// Steps after which the losses are looked at, so that one that is not finite does not cost a long epoch.
const LOOK: usize = 256;

/// Values without a range.
const ANY: [f32; 2] = [f32::MIN, f32::MAX];

/// Pairs between two towers: row i of one side belongs to row i of the other.
pub struct PairSet {
    /// Indices of the towers.
    pub towers: [usize; 2],
    /// The latents of either side, of equal length.
    pub latents: [Box<dyn Latents>; 2],
    /// How often an epoch passes over the pairs.
    pub weight: f32,
}

/// Why a training cannot be, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TrainError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the pairs of towers `{first}` and `{second}` are too few: {pairs}; mixing takes at least 4")]
    Few { first: String, second: String, pairs: usize },
    #[error(
        "tower `{tower}` is `adapter = \"identity\"` and its latents have {latents} values, but the shared space has \
         {width}; say `width = {latents}` in [train]"
    )]
    Identity { tower: String, latents: usize, width: usize },
    #[error("the towers `{first}` and `{second}` are both `adapter = \"identity\"`: nothing is left to train")]
    Nothing { first: String, second: String },
    #[error(
        "the training takes {needed}, and {free} are free; a smaller `batch`, fewer `blocks`, or a smaller `expansion` or \
         `width`, in [train] take less"
    )]
    Large { needed: Bytes, free: Bytes },
    #[error("the loss of step {step} is {loss}; train anew with a lower `lr` or a `clip` in [train], and --overwrite")]
    Diverged { step: usize, loss: f32 },
    #[error("{0}")]
    Observer(Box<dyn Error + Send + Sync>),
}

/// A training, ready to run.
pub struct Trainer {
    pub(super) device: Arc<dyn Device>,
    pub(super) fusion: Fusion,
    pub(super) sets: Vec<TrainedSet>,
    pub(super) options: Options,
    pub(super) seed: u64,
    pub(super) position: Position,
    /// The latents are more than memory holds: each epoch reads them from the disk.
    cold: bool,
    /// Room for a step: a pass a tower, and the loss.
    passes: Vec<Pass>,
    loss: InfoNce,
    /// The losses of an epoch's steps.
    losses: Buffer,
    clipping: Clipping,
}

/// A pair set at work.
pub(super) struct TrainedSet {
    pub(super) towers: [usize; 2],
    sides: [Feed; 2],
    pub(super) size: Size,
}

/// What gradients are multiplied with.
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
        let sizes: Vec<(usize, f32)> = sets.iter().map(|set| (set.len(), set.weight)).collect();
        let mut options = options.resolve(&sizes)?;
        check(&towers, &sets, &options)?;
        if options.precision == Precision::Bf16 && !device.has_16_bit() {
            tracing::warn!("{} has no fast 16-bit products: the training goes on in f32", device.describe());
            options.precision = Precision::F32;
        }
        let taken = vec![0; towers.len()];
        let needed = memory::parameters(&towers, &options);
        if let Some(free) = device.memory().filter(|free| *free < needed) {
            return Err(TrainError::Large { needed: Bytes::rounded(needed), free: Bytes::rounded(free) });
        }
        let fusion = Fusion::fresh(device.clone(), towers, &options, seed);
        fusion.towers.iter().for_each(|tower| tower.train(&*device, &options));
        fusion.log_tau.train(&*device, &options);
        let size = |set: &PairSet| {
            let (pairs, weight) = (set.len(), set.weight);
            Size { pairs, batch: options.batch.min(pairs / 2), weight }
        };
        let sizes: Vec<Size> = sets.iter().map(size).collect();
        let batch = sizes.iter().map(|size| size.batch).max().unwrap_or(0);
        let (plan, passes, loss) = memory::room(&*device, &fusion, &mut options, batch)?;
        let mut left = plan.left;
        let mut feed = |latents: Box<dyn Latents>| {
            let feed = Feed::new(&*device, latents, plan.micro, left)?;
            left -= feed.resident();
            Ok::<_, DeviceError>(feed)
        };
        let set = |(set, size): (PairSet, &Size)| {
            let PairSet { towers, latents: [first, second], .. } = set;
            Ok(TrainedSet { towers, sides: [feed(first)?, feed(second)?], size: *size })
        };
        let sets = sets.into_iter().zip(&sizes).map(set).collect::<Result<Vec<_>, DeviceError>>()?;
        let mapped = sets.iter().flat_map(|set| &set.sides).map(Feed::mapped).sum::<u64>();
        let cold = available_memory().is_some_and(|available| mapped > available);
        let most = |mixes| sizes.iter().map(|size| size.steps(mixes)).sum::<usize>();
        let losses = device.zeros(most(true).max(most(false)));
        let clipping = Clipping {
            parts: device.zeros(fusion.parameters().len() * SquareSums::PARTS),
            factor: device.upload(&[1.0]),
        };
        let (devices, micro_batch) = (vec![device.describe()], options.micro_batch);
        let position = Position { taken, devices, micro_batch, ..Position::default() };
        Ok(Self { device, fusion, sets, options, seed, position, cold, passes, loss, losses, clipping })
    }

    /// The options with every value known.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The towers as they are now.
    pub fn fusion(&self) -> &Fusion {
        &self.fusion
    }

    /// Steps of the whole training.
    pub fn planned_steps(&self) -> usize {
        let sizes = self.sizes();
        let steps = |epoch| {
            let mixes = batches::mixes(&self.options, epoch);
            sizes.iter().map(|size| size.steps(mixes)).sum::<usize>()
        };
        (0..self.options.epochs).map(steps).sum::<usize>().min(self.options.steps.unwrap_or(usize::MAX))
    }

    /// The recall of the adapters that are kept, where `patience` chooses them.
    pub fn kept_recall(&self) -> Option<f64> {
        self.position.best.map(|(recall, _)| f64::from_bits(recall))
    }

    /// What it was computed on.
    pub fn devices(&self) -> String {
        self.position.devices.join(", then ")
    }

    /// Steps that are done, and epochs.
    pub fn done(&self) -> (usize, usize) {
        (self.position.step, self.position.epoch)
    }

    /// Goes on from the last good checkpoint; says whether there is one.
    pub fn resume(&mut self, checkpoints: &Checkpoints) -> Result<bool, TrainError> {
        let Some((position, losses)) = checkpoints.load(&self.fusion)? else { return Ok(false) };
        if !losses.is_empty() {
            self.device.write(self.losses.part(0, losses.len()), &losses);
        }
        self.position = position;
        let device = self.device.describe();
        let before = self.position.devices.last().cloned();
        if let Some(before) = before.filter(|before| *before != device) {
            tracing::warn!("the training ran on {before} before: on {device} it goes on with other rounding");
            self.position.devices.push(device);
        }
        let (then, now) = (self.position.micro_batch, self.options.micro_batch);
        if then != now {
            tracing::warn!("the training took micro-batches of {then} before: those of {now} round otherwise");
            self.position.micro_batch = now;
        }
        Ok(true)
    }

    /// Trains to the last epoch, leaving checkpoints behind if it is told where.
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
            let plan = batches::epoch(self.seed, epoch, &sizes, &self.options);
            let (start, from) = (Instant::now(), self.position.at);
            while self.position.at < plan.len() && self.position.step < planned {
                if observer.stop() {
                    self.save(checkpoints)?;
                    return Ok(Outcome::Stopped(self.position.step));
                }
                let next = plan.get(self.position.at + 1).filter(|_| self.cold || epoch == first);
                if let Some(next) = next {
                    self.sets[next.set].sides.iter().for_each(|side| side.read_ahead(next));
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
            let temperature = self.device.read(self.fusion.log_tau.values(Version::Trained))?[0].exp();
            let drawn: usize = plan[from..self.position.at].iter().map(|batch| batch.pairs.len()).sum();
            let pairs_per_second = drawn as f64 / start.elapsed().as_secs_f64().max(1e-9);
            (self.position.epoch, self.position.at) = (epoch + 1, 0);
            let steps = self.position.step;
            let lr = learning_rate(&self.options, steps - 1, epoch);
            let metrics = EpochMetrics { epoch: epoch + 1, steps, losses, temperature, lr, pairs_per_second };
            observer.epoch(&metrics).map_err(TrainError::Observer)?;
            let last = epoch + 1 == self.options.epochs || steps == planned;
            if last || self.options.eval_every > 0 && (epoch + 1).is_multiple_of(self.options.eval_every) {
                let recall = observer.evaluate(epoch + 1, &self.fusion).map_err(TrainError::Observer)?;
                if !self.goes_on(recall) {
                    return Ok(Outcome::Ended(steps));
                }
            }
        }
        Ok(Outcome::Finished)
    }

    /// Keeps the best adapters so far; says whether better ones may still come.
    fn goes_on(&mut self, recall: Option<f64>) -> bool {
        let (patience, Some(recall)) = (self.options.patience, recall) else { return true };
        if patience == 0 {
            return true;
        }
        self.position.best = match self.position.best {
            Some((best, since)) if recall <= f64::from_bits(best) => Some((best, since + 1)),
            _ => {
                self.fusion.parameters().iter().for_each(|(_, parameter)| parameter.keep(&*self.device));
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
        Ok(checkpoints.save(&self.fusion, &self.position, &self.losses()?)?)
    }

    pub(super) fn sizes(&self) -> Vec<Size> {
        self.sets.iter().map(|set| set.size).collect()
    }

    /// Takes the next step.
    pub(super) fn step(&mut self, batch: &Batch, lr: f32) -> Result<(), TrainError> {
        self.gradients(batch);
        let towers = self.sets[batch.set].towers;
        towers.iter().for_each(|&tower| self.position.taken[tower] += 1);
        self.position.step += 1;
        self.position.at += 1;
        let (device, fusion, options) = (&*self.device, &self.fusion, &self.options);
        let log_tau = options.temperature_learned.then_some(&fusion.log_tau);
        if options.clip > 0.0 {
            let parameters = towers.iter().flat_map(|&tower| fusion.towers[tower].parameters()).chain(log_tau);
            let mut count = 0;
            for (at, parameter) in parameters.enumerate() {
                parameter.square_sums(device, self.clipping.parts.part(at * SquareSums::PARTS, SquareSums::PARTS));
                count += SquareSums::PARTS;
            }
            let factor = ClipFactor { count, longest: options.clip };
            device.launch(&factor, &[self.clipping.parts.all()], &[self.clipping.factor.all()]);
        }
        let factor = self.clipping.factor.all();
        for tower in towers {
            let (number, decay) = (self.position.taken[tower], options.weight_decay);
            let step = Step { options, number, lr, decay, factor };
            fusion.towers[tower].parameters().into_iter().for_each(|parameter| parameter.update(device, step, ANY));
        }
        if let Some(log_tau) = log_tau {
            let step = Step { options, number: self.position.step, lr, decay: 0.0, factor };
            log_tau.update(device, step, [options.temperature_min.ln(), options.temperature_max.ln()]);
        }
        Ok(device.submit()?)
    }

    /// The loss of the next step, and its gradients to the parameters of both towers.
    pub(super) fn gradients(&self, batch: &Batch) {
        let (device, fusion, set) = (&*self.device, &self.fusion, &self.sets[batch.set]);
        let (rows, &Position { step, at, .. }) = (batch.rows(), &self.position);
        let Options { dropout, precision, .. } = self.options;
        let mode = |tower| {
            let key = key(self.seed, step, tower);
            Mode { version: Version::Trained, precision, dropout, key }
        };
        // The same rows and lambdas on both sides: a mixed pair is a pair.
        let feeds =
            set.sides.each_ref().map(|side| move |rows: Rows, out: Slice<'_>| side.write(device, batch, rows, out));
        for (tower, feed) in set.towers.into_iter().zip(&feeds) {
            fusion.towers[tower].forward(device, &self.passes[tower], rows, mode(tower), feed);
        }
        let log_tau = (fusion.log_tau.values(Version::Trained), fusion.log_tau.gradient());
        let passes = set.towers.map(|tower| &self.passes[tower]);
        self.loss.launch(device, (rows, precision), passes, log_tau, (self.losses.all(), at));
        for (tower, feed) in set.towers.into_iter().zip(&feeds) {
            fusion.towers[tower].backward(device, &self.passes[tower], rows, mode(tower), feed);
        }
    }
}

/// What cannot be trained.
fn check(towers: &[TowerSpec], sets: &[PairSet], options: &Options) -> Result<(), TrainError> {
    for tower in towers {
        if tower.adapter == AdapterKind::Identity && tower.width != options.width {
            let (tower, latents, width) = (tower.name.clone(), tower.width, options.width);
            return Err(TrainError::Identity { tower, latents, width });
        }
    }
    for set in sets {
        let [first, second] = set.towers.map(|index| &towers[index]);
        let names = || (first.name.clone(), second.name.clone());
        if set.len() < 4 {
            let ((first, second), pairs) = (names(), set.len());
            return Err(TrainError::Few { first, second, pairs });
        }
        if first.adapter == AdapterKind::Identity && second.adapter == AdapterKind::Identity {
            let (first, second) = names();
            return Err(TrainError::Nothing { first, second });
        }
    }
    Ok(())
}

impl PairSet {
    fn len(&self) -> usize {
        self.latents[0].len()
    }
}

/// What tells the dropout of a tower in a step from any other.
fn key(seed: u64, step: usize, tower: usize) -> u32 {
    let words = [seed as u32, (seed >> 32) as u32, step as u32, tower as u32];
    words.into_iter().fold(0, |key, word| hash(key ^ hash(word.wrapping_add(0x9e37_79b9))))
}

#[cfg(test)]
pub(super) mod tests;
