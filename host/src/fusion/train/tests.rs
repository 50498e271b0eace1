//! Gradients against finite differences, steps against PyTorch, one device against the other.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::device::{Cpu, Wgpu, tests::wgpu};

/// Latents in memory.
struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Latents for Rows {
    fn len(&self) -> usize {
        self.values.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.values[index * self.width..(index + 1) * self.width]);
    }
}

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// `pairs` pairs of towers "image" and "text": the second side is a linear map of the first.
fn linear(pairs: usize, widths: [usize; 2]) -> PairSet {
    let (image, map) = (random(pairs * widths[0], 1), random(widths[0] * widths[1], 2));
    let text = image.chunks(widths[0]).flat_map(|row| {
        map.chunks(widths[0]).map(|map| row.iter().zip(map).map(|(a, b)| a * b).sum::<f32>()).collect::<Vec<_>>()
    });
    let text = Rows { values: text.collect(), width: widths[1] };
    PairSet { towers: [0, 1], latents: [Box::new(Rows { values: image, width: widths[0] }), Box::new(text)] }
}

fn towers(widths: [usize; 2]) -> Vec<TowerSpec> {
    let spec = |(name, width): (&str, usize)| TowerSpec { name: name.into(), width, adapter: AdapterKind::Mlp };
    ["image", "text"].into_iter().zip(widths).map(spec).collect()
}

fn options() -> TrainOptions {
    TrainOptions {
        blocks: Some(2),
        expansion: Some(2),
        width: Some(24),
        batch: Some(33),
        epochs: Some(10),
        warmup: Some(3),
        ..TrainOptions::default()
    }
}

fn trainer(device: Arc<dyn Device>, options: &TrainOptions, seed: u64) -> Trainer {
    let widths = [19, 35];
    Trainer::new(device, towers(widths), vec![linear(70, widths)], options, seed).unwrap()
}

/// Keeps the losses; stops before a step.
struct Watch {
    losses: Vec<f32>,
    evaluated: Vec<usize>,
    stop_at: usize,
    steps: usize,
}

impl Watch {
    fn new() -> Self {
        Self { losses: Vec::new(), evaluated: Vec::new(), stop_at: usize::MAX, steps: 0 }
    }
}

impl Observer for Watch {
    fn step(&mut self, steps: usize) {
        self.steps = steps;
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>> {
        assert!(metrics.temperature > 0.001 && metrics.temperature < 0.5);
        self.losses.extend(&metrics.losses);
        Ok(())
    }

    fn evaluate(&mut self, epoch: usize, _: &Fusion) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.evaluated.push(epoch);
        Ok(())
    }

    fn stop(&self) -> bool {
        self.steps >= self.stop_at
    }
}

fn losses(mut trainer: Trainer) -> Vec<f32> {
    let mut watch = Watch::new();
    assert_eq!(trainer.run(&mut watch).unwrap(), Outcome::Finished);
    watch.losses
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let trainer = trainer(Arc::new(Cpu), &options(), 3);
    let device = &*trainer.device;
    let batch = Batch { set: 0, pairs: (0..66).rev().collect(), lambda: 0.3 };
    let loss = || {
        trainer.gradients(&batch, 5, 0);
        f64::from(device.read(&trainer.losses).unwrap()[0])
    };
    let parameters = trainer.fusion.towers.iter().flat_map(Tower::parameters).chain([&trainer.fusion.log_tau]);
    for (seed, parameter) in (0..).zip(parameters) {
        loss();
        let value = device.read(&parameter.value).unwrap();
        let gradient = device.read(parameter.gradient()).unwrap();
        let direction = random(value.len(), seed);
        let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
        let at = |step: f32| {
            let moved: Vec<f32> = value.iter().zip(&direction).map(|(v, d)| v + step * d).collect();
            device.write(&parameter.value, &moved);
            loss()
        };
        let step = 2e-3;
        let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
        device.write(&parameter.value, &value);
        let tolerance = 0.02 * expected.abs() + 1e-3;
        assert!((slope - expected).abs() < tolerance, "{}: {slope} and not {expected}", parameter.name);
    }
}

#[test]
fn the_loss_does_not_depend_on_the_tiles() {
    let trainer = trainer(Arc::new(Cpu), &options(), 3);
    let (device, set) = (&*trainer.device, &trainer.sets[0]);
    trainer.gradients(&Batch { set: 0, pairs: (0..66).collect(), lambda: 0.6 }, 0, 0);
    let log_tau = (&trainer.fusion.log_tau.value, trainer.fusion.log_tau.gradient());
    let result = |rows| {
        let loss = InfoNce::with_tiles(device, 33, 24, rows);
        loss.launch(device, [&set.passes[0], &set.passes[1]], log_tau, (&trainer.losses, 0));
        let gradients = set.passes.iter().map(|pass| pass.gradient.as_ref().unwrap());
        let buffers = gradients.chain([&trainer.losses, log_tau.1]);
        buffers.flat_map(|buffer| device.read(buffer).unwrap()).collect::<Vec<f32>>()
    };
    let whole = result(33);
    for rows in [1, 8, 32] {
        for (tiled, whole) in result(rows).iter().zip(&whole) {
            assert!((tiled - whole).abs() < 1e-5, "{tiled} and not {whole}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_losses_and_another_does_not() {
    let run = |seed| losses(trainer(Arc::new(Cpu), &options(), seed));
    let first = run(7);
    assert_eq!(first.len(), 10);
    assert_eq!(first, run(7));
    assert_ne!(first, run(8));
}

#[test]
fn both_devices_take_the_same_ten_steps() {
    if wgpu().is_none() {
        return;
    }
    let cpu = losses(trainer(Arc::new(Cpu), &options(), 7));
    let gpu = losses(trainer(Arc::new(Wgpu::open(false).unwrap()), &options(), 7));
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        assert!((cpu - gpu).abs() < 1e-3 * cpu, "{gpu} and not {cpu}");
    }
}

#[test]
fn a_step_is_pytorchs() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/fusemix_step.safetensors");
    let bytes = std::fs::read(&golden).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| bytemuck::pod_collect_to_vec::<u8, f32>(file.tensor(name).unwrap().data());
    let side = |name: &str| {
        let width = file.tensor(name).unwrap().shape()[1];
        Box::new(Rows { values: values(name), width }) as Box<dyn Latents>
    };
    let pairs = PairSet { towers: [0, 1], latents: [side("image"), side("text")] };
    let options = TrainOptions { dropout: Some(0.0), ..options() };
    let mut trainer = Trainer::new(Arc::new(Cpu), towers([19, 35]), vec![pairs], &options, 0).unwrap();
    let begin = Fusion::load(trainer.device.clone(), &golden).unwrap();
    for (tower, begin) in trainer.fusion.towers.iter().zip(&begin.towers) {
        for (parameter, begin) in tower.parameters().into_iter().zip(begin.parameters()) {
            trainer.device.write(&parameter.value, &trainer.device.read(&begin.value).unwrap());
        }
    }
    let (orders, lambdas, expected) = (values("orders"), values("lambdas"), values("losses"));
    for (step, (order, &lambda)) in orders.chunks(66).zip(&lambdas).enumerate() {
        let batch = Batch { set: 0, pairs: order.iter().map(|&row| row as usize).collect(), lambda };
        trainer.step(&batch, step, 0, learning_rate(&trainer.options, step, step));
        let loss = trainer.device.read(&trainer.losses).unwrap()[0];
        assert!(
            (loss - expected[step]).abs() < 1e-4 * expected[step],
            "step {step}: {loss} and not {}",
            expected[step]
        );
    }
    assert_eq!(expected.len(), 10);
}

#[test]
fn a_checkpoint_embeds_like_the_fusion_that_it_was_written_from() {
    let mut trainer = trainer(Arc::new(Cpu), &options(), 1);
    trainer.run(&mut Watch::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapters.safetensors");
    trainer.fusion().save(&path).unwrap();
    let read = Fusion::load(Arc::new(Cpu), &path).unwrap();
    assert!(read.towers().eq(trainer.fusion().towers()));
    // More rows than a chunk.
    let latents = Rows { values: random(600 * 35, 9), width: 35 };
    let embeddings = read.embed(1, &latents).unwrap();
    assert_eq!(embeddings, trainer.fusion().embed(1, &latents).unwrap());
    assert_eq!(embeddings.len(), 600 * 24);
    for row in embeddings.chunks(24) {
        assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    std::fs::write(&path, b"nothing of the kind").unwrap();
    assert!(Fusion::load(Arc::new(Cpu), &path).err().unwrap().to_string().contains("adapters.safetensors"));
}

#[test]
fn three_towers_train_to_one_that_stays() {
    let spec = |(name, width, adapter): (&str, usize, AdapterKind)| TowerSpec { name: name.into(), width, adapter };
    let towers =
        [("image", 19, AdapterKind::Mlp), ("text", 24, AdapterKind::Identity), ("audio", 19, AdapterKind::Mlp)];
    let sets = || vec![linear(70, [19, 24]), PairSet { towers: [2, 1], ..linear(9, [19, 24]) }];
    let train = |options: &TrainOptions| Trainer::new(Arc::new(Cpu), towers.map(spec).into(), sets(), options, 1);
    let mut trainer = train(&options()).unwrap();
    let mut watch = Watch::new();
    trainer.run(&mut watch).unwrap();
    // The small set's step mixes 4 pairs.
    assert_eq!((trainer.planned_steps(), watch.losses.len()), (20, 20));
    assert_eq!(watch.evaluated, (1..=10).collect::<Vec<_>>());
    let latents = Rows { values: vec![3.0; 24], width: 24 };
    let embedding = trainer.fusion().embed(1, &latents).unwrap();
    assert!(embedding.iter().all(|value| (value - 24f32.sqrt().recip()).abs() < 1e-6));
    let error = train(&TrainOptions { width: Some(16), ..options() }).err().unwrap().to_string();
    assert!(error.contains("say `width = 24`"), "{error}");
}

#[test]
fn training_stops_when_its_observer_says_so() {
    let mut trainer = trainer(Arc::new(Cpu), &options(), 1);
    let mut watch = Watch { stop_at: 4, ..Watch::new() };
    assert_eq!(trainer.run(&mut watch).unwrap(), Outcome::Stopped(4));
    assert_eq!(watch.losses.len(), 4);
}

#[test]
fn a_linear_relation_is_learned() {
    let options = TrainOptions { dropout: Some(0.0), epochs: Some(60), lr: Some(3e-3), ..options() };
    let losses = losses(trainer(Arc::new(Cpu), &options, 1));
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.3 * first, "from {first} to {last}");
}
