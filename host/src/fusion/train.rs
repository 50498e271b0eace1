//! The training loop.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::Beta;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use super::adapter::Drop;
use super::batches::{self, Batch, Size};
use super::loss::InfoNce;
use super::schedule::learning_rate;
use super::tower::{Pass, Tower};
use super::{AdapterKind, Fusion, OptionError, Options, TowerSpec, TrainOptions, gather};
use crate::device::{Buffer, Device, DeviceError};
use crate::kernels::{Mix, hash};
use crate::latents::Latents;

/// The temperature stays in here.
const TEMPERATURES: [f32; 2] = [0.001, 0.5];
/// Values without a range.
const ANY: [f32; 2] = [f32::MIN, f32::MAX];

/// Pairs between two towers: row i of one side belongs to row i of the other.
pub struct PairSet {
    /// Indices of the towers.
    pub towers: [usize; 2],
    /// The latents of either side, of equal length.
    pub latents: [Box<dyn Latents>; 2],
}

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochMetrics {
    /// From 1.
    pub epoch: usize,
    /// Steps since the start of the training.
    pub steps: usize,
    /// The loss of each step of the epoch.
    pub losses: Vec<f32>,
    /// The temperature after the epoch.
    pub temperature: f32,
    /// The learning rate of the epoch's last step.
    pub lr: f32,
    /// Pairs drawn, by the clock.
    pub pairs_per_second: f64,
}

/// Who watches a training.
pub trait Observer {
    /// `steps` steps are done, or on their way on a device that works behind.
    fn step(&mut self, steps: usize);

    /// An epoch is done.
    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// The fusion as it is after epoch `epoch`, every `eval_every` epochs and after the last.
    fn evaluate(&mut self, epoch: usize, fusion: &Fusion) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Whether to stop; asked before each step.
    fn stop(&self) -> bool;
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// After all its epochs.
    Finished,
    /// Because its observer said so, after this many steps.
    Stopped(usize),
}

/// Why a training cannot be, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TrainError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("the pairs of towers `{first}` and `{second}` are too few: {pairs}; mixing takes at least 4")]
    Few { first: String, second: String, pairs: usize },
    #[error(
        "tower `{tower}` is `adapter = \"identity\"` and its latents have {latents} values, but the shared space has \
         {width}; say `width = {latents}` in [train]"
    )]
    Identity { tower: String, latents: usize, width: usize },
    #[error("the towers `{first}` and `{second}` are both `adapter = \"identity\"`: nothing is left to train")]
    Nothing { first: String, second: String },
    #[error("the loss of step {step} is {loss}; a lower `lr` in [train] keeps it finite")]
    Diverged { step: usize, loss: f32 },
    #[error("{0}")]
    Observer(Box<dyn Error + Send + Sync>),
}

/// A training, ready to run.
pub struct Trainer {
    device: Arc<dyn Device>,
    fusion: Fusion,
    sets: Vec<TrainedSet>,
    options: Options,
    seed: u64,
    /// The losses of an epoch's steps.
    losses: Buffer,
    /// Steps that each tower has taken.
    taken: Vec<usize>,
}

/// A pair set, and room for a step over it.
struct TrainedSet {
    pairs: PairSet,
    size: Size,
    /// The latents that a step draws, before they are mixed.
    drawn: [Buffer; 2],
    passes: [Pass; 2],
    loss: InfoNce,
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
        let pairs = sets.iter().map(PairSet::len).max().unwrap_or(0);
        let options = options.resolve(pairs)?;
        for tower in &towers {
            if tower.adapter == AdapterKind::Identity && tower.width != options.width {
                let (tower, latents, width) = (tower.name.clone(), tower.width, options.width);
                return Err(TrainError::Identity { tower, latents, width });
            }
        }
        for set in &sets {
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
        let taken = vec![0; towers.len()];
        let fusion = Fusion::fresh(device.clone(), towers, &options, seed);
        let parameters = fusion.towers.iter().flat_map(Tower::parameters).chain([&fusion.log_tau]);
        parameters.for_each(|parameter| parameter.train(&*device));
        let sets: Vec<TrainedSet> =
            sets.into_iter().map(|pairs| TrainedSet::new(&*device, &fusion, pairs, &options)).collect();
        let losses = device.zeros(sets.iter().map(|set| set.size.steps()).sum());
        Ok(Self { device, fusion, sets, options, seed, losses, taken })
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
        self.options.epochs * self.losses.len()
    }

    /// Trains from the first epoch to the last.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let Options { epochs, eval_every, mixup_alpha, .. } = self.options;
        let mixing = Beta::new(mixup_alpha, mixup_alpha).expect("alpha is checked with the options");
        let sizes: Vec<Size> = self.sets.iter().map(|set| set.size).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // The stream beside the one that the adapters began with.
        rng.set_stream(1);
        let mut step = 0;
        for epoch in 0..epochs {
            let start = Instant::now();
            let plan = batches::epoch(&mut rng, &sizes, &mixing);
            let mut lr = 0.0;
            for (at, batch) in plan.iter().enumerate() {
                if observer.stop() {
                    return Ok(Outcome::Stopped(step));
                }
                lr = learning_rate(&self.options, step, epoch);
                self.step(batch, step, at, lr);
                step += 1;
                observer.step(step);
            }
            let losses = self.device.read(&self.losses)?;
            let temperature = self.device.read(&self.fusion.log_tau.value)?[0].exp();
            if let Some(at) = losses.iter().position(|loss| !loss.is_finite()) {
                return Err(TrainError::Diverged { step: step - losses.len() + at + 1, loss: losses[at] });
            }
            let drawn: usize = plan.iter().map(|batch| batch.pairs.len()).sum();
            let pairs_per_second = drawn as f64 / start.elapsed().as_secs_f64();
            let metrics = EpochMetrics { epoch: epoch + 1, steps: step, losses, temperature, lr, pairs_per_second };
            observer.epoch(&metrics).map_err(TrainError::Observer)?;
            let last = epoch + 1 == epochs;
            if last || eval_every > 0 && (epoch + 1).is_multiple_of(eval_every) {
                observer.evaluate(epoch + 1, &self.fusion).map_err(TrainError::Observer)?;
            }
        }
        Ok(Outcome::Finished)
    }

    /// Step `step` of the training, `at` in its epoch.
    fn step(&mut self, batch: &Batch, step: usize, at: usize, lr: f32) {
        self.gradients(batch, step, at);
        let (device, fusion, decay) = (&*self.device, &self.fusion, self.options.weight_decay);
        for tower in self.sets[batch.set].pairs.towers {
            self.taken[tower] += 1;
            for parameter in fusion.towers[tower].parameters() {
                parameter.update(device, self.taken[tower], lr, decay, ANY);
            }
        }
        fusion.log_tau.update(device, step + 1, lr, 0.0, TEMPERATURES.map(f32::ln));
    }

    /// The loss of a step, and its gradients to the parameters of both towers.
    fn gradients(&self, batch: &Batch, step: usize, at: usize) {
        let (device, fusion, set) = (&*self.device, &self.fusion, &self.sets[batch.set]);
        let share = self.options.dropout;
        let sides = [0, 1].map(|side| {
            let tower = set.pairs.towers[side];
            (&fusion.towers[tower], &set.passes[side], Drop { share, key: key(self.seed, step, tower) })
        });
        for (side, (tower, pass, drop)) in sides.iter().enumerate() {
            let latents = &*set.pairs.latents[side];
            device.write(&set.drawn[side], &gather(latents, &batch.pairs));
            // The same lambda on both sides: a mixed pair is a pair.
            let mix = Mix { count: set.size.batch * latents.width(), lambda: batch.lambda };
            device.launch(&mix, &[&set.drawn[side]], &[&pass.latents]);
            tower.forward(device, pass, *drop);
        }
        let log_tau = (&fusion.log_tau.value, fusion.log_tau.gradient());
        set.loss.launch(device, sides.map(|(_, pass, _)| pass), log_tau, (&self.losses, at));
        for (tower, pass, drop) in sides {
            tower.backward(device, pass, drop);
        }
    }
}

impl PairSet {
    fn len(&self) -> usize {
        self.latents[0].len()
    }
}

impl TrainedSet {
    fn new(device: &dyn Device, fusion: &Fusion, pairs: PairSet, options: &Options) -> Self {
        let [first, second] = &pairs.latents;
        assert_eq!(first.len(), second.len(), "sides of different lengths do not pair");
        let size = Size { pairs: pairs.len(), batch: options.batch.min(pairs.len() / 2) };
        let drawn = [first, second].map(|latents| device.zeros(2 * size.batch * latents.width()));
        let passes = pairs.towers.map(|tower| fusion.towers[tower].pass(device, size.batch, true));
        let loss = InfoNce::new(device, size.batch, fusion.width);
        Self { pairs, size, drawn, passes, loss }
    }
}

/// What tells the dropout of a tower in a step from any other.
fn key(seed: u64, step: usize, tower: usize) -> u32 {
    let words = [seed as u32, (seed >> 32) as u32, step as u32, tower as u32];
    words.into_iter().fold(0, |key, word| hash(key ^ hash(word.wrapping_add(0x9e37_79b9))))
}

#[cfg(test)]
mod tests;
