//! A trained array: its value, and during training its gradient, the optimizer's moments and its average.

use rand::{Rng, RngExt};
use std::sync::OnceLock;

use crate::device::{Buffer, Device, Slice};
use crate::kernels::{AdamW, Ema, Format, Halve, SquareSums};

pub(crate) struct Parameter {
    /// Its name within its tower, as in the file of adapters.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    value: Buffer,
    training: OnceLock<Training>,
}

struct Training {
    gradient: Buffer,
    moments: [Buffer; 2],
    average: Option<Buffer>,
    best: Option<Buffer>,
    /// The value in f16, as products read it.
    halves: Option<Buffer>,
}

/// The values of a parameter that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// The one that is trained.
    Trained,
    /// The evaluated one: the average if there is one.
    Evaluated,
    /// The result: the best evaluated one if that is kept.
    Kept,
}

/// The source of parameters' first values: initialisation, or a file of adapters.
pub(crate) trait Source {
    /// Announces that the following parameters belong to this tower; to none if it has no name.
    fn begin(&mut self, _tower: &str) {}

    /// The values of a matrix or a bias: uniform within `1 / sqrt(inputs)`, as PyTorch initialises `Linear`.
    fn uniform(&mut self, name: &str, shape: &[usize], inputs: usize) -> Vec<f32>;

    /// Values that are all equal at first.
    fn constant(&mut self, name: &str, shape: &[usize], value: f32) -> Vec<f32>;
}

/// The random initialisation of a training.
pub(crate) struct Fresh<R>(pub(crate) R);

impl<R: Rng> Source for Fresh<R> {
    fn uniform(&mut self, _: &str, shape: &[usize], inputs: usize) -> Vec<f32> {
        let bound = 1.0 / (inputs as f32).sqrt();
        (0..shape.iter().product()).map(|_| self.0.random_range(-bound..bound)).collect()
    }

    fn constant(&mut self, _: &str, shape: &[usize], value: f32) -> Vec<f32> {
        vec![value; shape.iter().product()]
    }
}

/// The extras kept of a parameter beside its trained value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    /// An average of its values.
    pub(crate) average: bool,
    /// The best that was evaluated.
    pub(crate) best: bool,
    /// A matrix in f16.
    pub(crate) halves: bool,
}

/// A step of AdamW, and of the average.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) betas: [f32; 2],
    pub(crate) epsilon: f32,
    /// The number of this parameter's step, from 1.
    pub(crate) number: usize,
    pub(crate) lr: f32,
    /// The decay of matrices, and of vectors.
    pub(crate) decay: [f32; 2],
    /// The decay of the average; it rises to this from 0.
    pub(crate) average: f32,
    /// The factor of the gradients.
    pub(crate) factor: Slice<'a>,
}

impl Parameter {
    pub(crate) fn new(device: &dyn Device, name: String, shape: &[usize], values: &[f32]) -> Self {
        Self { name, shape: shape.to_vec(), value: device.upload(values), training: OnceLock::new() }
    }

    /// Allocates a gradient and moments, and if requested an average and the best value.
    pub(crate) fn train(&self, device: &dyn Device, keep: Keep) {
        let zeros = || device.zeros(self.value.len());
        self.training.get_or_init(|| Training {
            gradient: zeros(),
            moments: [zeros(), zeros()],
            average: keep.average.then(|| self.copy(device)),
            best: keep.best.then(|| self.copy(device)),
            halves: self.matrix().filter(|_| keep.halves).map(|[rows, width]| {
                let values = Format::F16.values(rows, width);
                device.zeros(values)
            }),
        });
    }

    /// Its rows and columns, if it is a matrix.
    fn matrix(&self) -> Option<[usize; 2]> {
        self.shape[..].try_into().ok()
    }

    /// Brings its value in f16, if that is kept, to the trained one.
    pub(crate) fn halve(&self, device: &dyn Device) {
        let halves = self.training.get().and_then(|training| training.halves.as_ref());
        if let (Some(halves), Some([rows, width])) = (halves, self.matrix()) {
            device.launch(&Halve { rows, width, scale: 1.0 }, &[self.value.all()], &[halves.all()]);
        }
    }

    /// Values of it in f16.
    pub(crate) fn halves(&self) -> usize {
        self.training.get().and_then(|training| training.halves.as_ref()).map_or(0, Buffer::len)
    }

    /// Its values as a factor of a product.
    pub(crate) fn factor(&self, version: Version, format: Format) -> Slice<'_> {
        match format {
            Format::F32 => self.values(version),
            Format::F16 => self.training().halves.as_ref().expect("a matrix is kept in f16").all(),
        }
    }

    fn copy(&self, device: &dyn Device) -> Buffer {
        let copy = device.zeros(self.value.len());
        assign(device, self.value.all(), copy.all());
        copy
    }

    fn training(&self) -> &Training {
        self.training.get().expect("a parameter is made ready before it is trained")
    }

    pub(crate) fn gradient(&self) -> Slice<'_> {
        self.training().gradient.all()
    }

    pub(crate) fn values(&self, version: Version) -> Slice<'_> {
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

    /// All state of a training, by name.
    pub(crate) fn state(&self) -> Vec<(&'static str, Slice<'_>)> {
        let Training { moments: [first, second], average, best, .. } = self.training();
        let always = [("value", &self.value), ("first", first), ("second", second)];
        let at_times = [("average", average.as_ref()), ("best", best.as_ref())];
        let at_times = at_times.into_iter().filter_map(|(name, buffer)| Some((name, buffer?)));
        always.into_iter().chain(at_times).map(|(name, buffer)| (name, buffer.all())).collect()
    }

    /// Keeps the currently evaluated value as the best.
    pub(crate) fn keep(&self, device: &dyn Device) {
        if let Some(best) = &self.training().best {
            assign(device, self.values(Version::Evaluated), best.all());
        }
    }

    /// Writes sums of squares of the gradient.
    pub(crate) fn square_sums(&self, device: &dyn Device, parts: Slice<'_>) {
        device.launch(&SquareSums { count: self.value.len() }, &[self.gradient()], &[parts]);
    }

    /// Takes a step of the optimizer, and of the average.
    pub(crate) fn update(&self, device: &dyn Device, step: Step<'_>, range: [f32; 2]) {
        let Step { betas, epsilon, number, lr, decay, average: longest, factor } = step;
        let [of_matrices, of_vectors] = decay;
        let update = AdamW {
            count: self.value.len(),
            lr,
            betas,
            epsilon,
            decay: if self.shape.len() > 1 { of_matrices } else { of_vectors },
            step: number as i32,
            range,
        };
        let Training { gradient, moments: [first, second], average, .. } = self.training();
        device.launch(&update, &[gradient.all(), factor], &[self.value.all(), first.all(), second.all()]);
        if let Some(average) = average {
            // At first an average of few steps: the adapters' beginnings weigh nothing in it.
            let ramp = (number as f32 - 1.0) / (number as f32 + 9.0);
            let ema = Ema { count: self.value.len(), decay: longest.min(ramp) };
            device.launch(&ema, &[self.value.all()], &[average.all()]);
        }
    }
}

/// `to = from`.
fn assign(device: &dyn Device, from: Slice<'_>, to: Slice<'_>) {
    device.launch(&Ema { count: to.len(), decay: 0.0 }, &[from], &[to]);
}
