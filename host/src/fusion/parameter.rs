//! A trained array: its value, and while it is trained its gradient, the optimizer's moments and its average.

use rand::{Rng, RngExt};
use std::sync::OnceLock;

use super::Options;
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{AdamW, Ema, SquareSums};

pub(super) struct Parameter {
    /// Within its tower, as the file of adapters has it.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    value: Buffer,
    training: OnceLock<Training>,
}

struct Training {
    gradient: Buffer,
    moments: [Buffer; 2],
    average: Option<Buffer>,
    best: Option<Buffer>,
}

/// Which of its values a parameter is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The one that is trained.
    Trained,
    /// The one that is evaluated: the average where there is one.
    Evaluated,
    /// The one that is handed out: the best that was evaluated where that is kept.
    Kept,
}

/// What parameters are when training begins or a file of adapters is read.
pub(super) trait Source {
    /// What follows is of this tower; of none if it has no name.
    fn begin(&mut self, _tower: &str) {}

    /// The values of a matrix's entries or of a bias: uniform within `1 / sqrt(inputs)`, as PyTorch's `Linear` begins.
    fn uniform(&mut self, name: &str, shape: &[usize], inputs: usize) -> Vec<f32>;

    /// Values that begin alike.
    fn constant(&mut self, name: &str, shape: &[usize], value: f32) -> Vec<f32>;
}

/// The beginning of a training.
pub(super) struct Fresh<R>(pub(super) R);

impl<R: Rng> Source for Fresh<R> {
    fn uniform(&mut self, _: &str, shape: &[usize], inputs: usize) -> Vec<f32> {
        let bound = 1.0 / (inputs as f32).sqrt();
        (0..shape.iter().product()).map(|_| self.0.random_range(-bound..bound)).collect()
    }

    fn constant(&mut self, _: &str, shape: &[usize], value: f32) -> Vec<f32> {
        vec![value; shape.iter().product()]
    }
}

/// A step of the optimizer.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) options: &'a Options,
    /// Which step of this parameter it is, from 1.
    pub(super) number: usize,
    pub(super) lr: f32,
    /// Of what decays: matrices, and vectors if the options say so.
    pub(super) decay: f32,
    /// What gradients are multiplied with.
    pub(super) factor: Slice<'a>,
}

impl Parameter {
    pub(super) fn new(device: &dyn Device, name: String, shape: &[usize], values: &[f32]) -> Self {
        Self { name, shape: shape.to_vec(), value: device.upload(values), training: OnceLock::new() }
    }

    /// Makes room for a gradient and moments, and for an average and the best value where they are asked for.
    pub(super) fn train(&self, device: &dyn Device, options: &Options) {
        let zeros = || device.zeros(self.value.len());
        self.training.get_or_init(|| Training {
            gradient: zeros(),
            moments: [zeros(), zeros()],
            average: (options.ema > 0.0).then(|| self.copy(device)),
            best: (options.patience > 0).then(|| self.copy(device)),
        });
    }

    fn copy(&self, device: &dyn Device) -> Buffer {
        let copy = device.zeros(self.value.len());
        assign(device, self.value.all(), copy.all());
        copy
    }

    fn training(&self) -> &Training {
        self.training.get().expect("a parameter is made ready before it is trained")
    }

    pub(super) fn gradient(&self) -> Slice<'_> {
        self.training().gradient.all()
    }

    pub(super) fn values(&self, version: Version) -> Slice<'_> {
        let training = self.training.get();
        let average = training.and_then(|training| training.average.as_ref());
        let best = training.and_then(|training| training.best.as_ref());
        let buffer = match version {
            Version::Trained => None,
            Version::Evaluated => average,
            Version::Kept => best.or(average),
        };
        buffer.unwrap_or(&self.value).all()
    }

    /// All that a training has to remember, by name.
    pub(super) fn state(&self) -> Vec<(&'static str, Slice<'_>)> {
        let Training { moments: [first, second], average, best, .. } = self.training();
        let always = [("value", &self.value), ("first", first), ("second", second)];
        let at_times = [("average", average.as_ref()), ("best", best.as_ref())];
        let at_times = at_times.into_iter().filter_map(|(name, buffer)| Some((name, buffer?)));
        always.into_iter().chain(at_times).map(|(name, buffer)| (name, buffer.all())).collect()
    }

    /// Keeps the value that is evaluated now as the best.
    pub(super) fn keep(&self, device: &dyn Device) {
        if let Some(best) = &self.training().best {
            assign(device, self.values(Version::Evaluated), best.all());
        }
    }

    /// Writes sums of squares of the gradient.
    pub(super) fn square_sums(&self, device: &dyn Device, parts: Slice<'_>) {
        device.launch(&SquareSums { count: self.value.len() }, &[self.gradient()], &[parts]);
    }

    /// Takes a step of the optimizer, and of the average.
    pub(super) fn update(&self, device: &dyn Device, step: Step<'_>, range: [f32; 2]) {
        let Step { options, number, lr, decay, factor } = step;
        let decays = self.shape.len() > 1 || options.decay_vectors;
        let update = AdamW {
            count: self.value.len(),
            lr,
            betas: [options.beta1, options.beta2],
            epsilon: options.epsilon,
            decay: if decays { decay } else { 0.0 },
            step: number as i32,
            range,
        };
        let Training { gradient, moments: [first, second], average, .. } = self.training();
        device.launch(&update, &[gradient.all(), factor], &[self.value.all(), first.all(), second.all()]);
        if let Some(average) = average {
            // At first an average of few steps: the adapters' beginnings weigh nothing in it.
            let ramp = (number as f32 - 1.0) / (number as f32 + 9.0);
            let ema = Ema { count: self.value.len(), decay: options.ema.min(ramp) };
            device.launch(&ema, &[self.value.all()], &[average.all()]);
        }
    }
}

/// `to = from`.
fn assign(device: &dyn Device, from: Slice<'_>, to: Slice<'_>) {
    device.launch(&Ema { count: to.len(), decay: 0.0 }, &[from], &[to]);
}
