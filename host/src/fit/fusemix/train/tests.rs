//! Gradients against finite differences, steps against PyTorch, one device against the other.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::error::Error;
use std::sync::Arc;

use super::*;
use crate::bytes::Bytes;
use crate::device::Slice;
use crate::device::{Cpu, Wgpu, tests::wgpu};
use crate::fit::fusemix::Augment;
use crate::fit::fusemix::draws::Draw;
use crate::latents::Latents;
use crate::nn::AdapterKind;

mod faults;
mod halves;
mod pytorch;

/// Latents in memory.
struct Stored {
    values: Vec<f32>,
    width: usize,
}

impl Latents for Stored {
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

pub(in crate::fit::fusemix) fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// `pairs` pairs of towers "image" and "text": the second side is a linear map of the first.
pub(in crate::fit::fusemix) fn linear(pairs: usize, widths: [usize; 2]) -> PairSet {
    let (image, map) = (random(pairs * widths[0], 1), random(widths[0] * widths[1], 2));
    let text = image.chunks(widths[0]).flat_map(|row| {
        map.chunks(widths[0]).map(|map| row.iter().zip(map).map(|(a, b)| a * b).sum::<f32>()).collect::<Vec<_>>()
    });
    let text = Stored { values: text.collect(), width: widths[1] };
    let latents: [Arc<dyn Latents>; 2] = [Arc::new(Stored { values: image, width: widths[0] }), Arc::new(text)];
    PairSet { towers: [0, 1], latents, weight: 1.0, items: None }
}

pub(in crate::fit::fusemix) fn towers(widths: [usize; 2]) -> Vec<TowerSpec> {
    let spec =
        |(name, width): (&str, usize)| TowerSpec { name: name.into(), width, adapter: AdapterKind::Mlp, blocks: None };
    ["image", "text"].into_iter().zip(widths).map(spec).collect()
}

pub(in crate::fit::fusemix) fn options() -> TrainOptions {
    TrainOptions {
        blocks: Some(2),
        expansion: Some(2),
        width: Some(24),
        batch: Some(33),
        epochs: Some(10),
        warmup: Some(3),
        mask_items: Some(false),
        ..TrainOptions::default()
    }
}

pub(in crate::fit::fusemix) fn trainer(device: Arc<dyn Device>, options: &TrainOptions, seed: u64) -> Trainer {
    let widths = [19, 35];
    Trainer::new(device, towers(widths), vec![linear(70, widths)], options, seed).unwrap()
}

/// An observer that keeps the losses and stops before a step.
pub(in crate::fit::fusemix) struct Watch {
    pub(in crate::fit::fusemix) losses: Vec<f32>,
    pub(in crate::fit::fusemix) evaluated: Vec<usize>,
    /// The results of the evaluations.
    pub(in crate::fit::fusemix) recalls: Vec<f64>,
    pub(in crate::fit::fusemix) stop_at: usize,
    pub(in crate::fit::fusemix) steps: usize,
}

impl Watch {
    pub(in crate::fit::fusemix) fn new() -> Self {
        Self { losses: Vec::new(), evaluated: Vec::new(), recalls: Vec::new(), stop_at: usize::MAX, steps: 0 }
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

    fn evaluate(&mut self, epoch: usize, _: &Space) -> Result<Option<f64>, Box<dyn Error + Send + Sync>> {
        self.evaluated.push(epoch);
        Ok(self.recalls.get(self.evaluated.len() - 1).copied())
    }

    fn stop(&self) -> bool {
        self.steps >= self.stop_at
    }
}

fn losses(mut trainer: Trainer) -> Vec<f32> {
    let mut watch = Watch::new();
    assert_eq!(trainer.run(&mut watch, None).unwrap(), Outcome::Finished);
    watch.losses
}

/// The loss of a step over this batch, and its gradients to all parameters.
fn evaluated(trainer: &Trainer, batch: &Draw) -> (f32, Vec<Vec<f32>>) {
    trainer.gradients(batch, &|| true);
    let read = |slice| trainer.device.read(slice).unwrap();
    let gradients = trainer.network.parameters().into_iter().map(|(_, parameter)| read(parameter.gradient())).collect();
    (read(trainer.losses.part(0, 1))[0], gradients)
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let kinds =
        [(true, AdapterKind::Mlp), (false, AdapterKind::Mlp), (true, AdapterKind::Linear), (true, AdapterKind::Glu)];
    for (bias, second) in kinds {
        let widths = [19, 35];
        let mut towers = towers(widths);
        towers[1].adapter = second;
        let options = TrainOptions { bias: Some(bias), ..options() };
        let device = Arc::new(Cpu::default());
        let trainer = Trainer::new(device, towers, vec![linear(70, widths)], &options, 3).unwrap();
        let device = &*trainer.device;
        let lambdas: Vec<f32> = random(33, 4).iter().map(|x| 0.5 + 0.5 * x).collect();
        let batch = Draw { lambdas, ..Draw::plain(0, (0..66).rev().collect()) };
        let loss = || f64::from(evaluated(&trainer, &batch).0);
        assert_eq!(trainer.network.parameters().iter().any(|(name, _)| name.ends_with("up.bias")), bias);
        for (seed, (name, parameter)) in (0..).zip(trainer.network.parameters()) {
            loss();
            let slice = parameter.values(Version::Trained);
            let (value, gradient) = (device.read(slice).unwrap(), device.read(parameter.gradient()).unwrap());
            let direction = random(value.len(), seed);
            let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            let at = |step: f32| {
                let moved: Vec<f32> = value.iter().zip(&direction).map(|(v, d)| v + step * d).collect();
                device.write(slice, &moved);
                loss()
            };
            let step = 2e-3;
            let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
            device.write(slice, &value);
            let tolerance = 0.02 * expected.abs() + 1e-3;
            assert!((slope - expected).abs() < tolerance, "{name}: {slope} and not {expected}");
        }
    }
}

/// A trainer over 600 pairs in batches of 257, and a batch.
fn large(device: Arc<dyn Device>, options: TrainOptions) -> (Trainer, Draw) {
    let options = TrainOptions { batch: Some(257), ..options };
    let widths = [19, 35];
    let trainer = Trainer::new(device, towers(widths), vec![linear(600, widths)], &options, 3).unwrap();
    let pairs = (0..514).map(|pair| pair * 7 % 600).collect();
    let batch = Draw { lambdas: vec![0.7; 257], ..Draw::plain(0, pairs) };
    (trainer, batch)
}

fn near(values: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
    for (at, (values, expected)) in values.iter().zip(expected).enumerate() {
        let most = expected.iter().fold(1e-6, |most: f32, value| most.max(value.abs()));
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() <= tolerance * most, "parameter {at}: {value} and not {expected}");
        }
    }
}

#[test]
fn a_step_does_not_depend_on_micro_batches_nor_on_what_is_kept() {
    let step = |micro, memory: Option<Bytes>| {
        let options = TrainOptions { micro_batch: Some(micro), memory, ..options() };
        let (trainer, batch) = large(Arc::new(Cpu::default()), options);
        evaluated(&trainer, &batch)
    };
    let (loss, gradients) = step(1024, None);
    for micro in [64, 128, 192] {
        let (other, others) = step(micro, None);
        assert!((other - loss).abs() <= 1e-6 * loss, "{other} and not {loss}");
        near(&others, &gradients, 1e-5);
        // Computed again they are the same bit for bit.
        assert_eq!(step(micro, Some(Bytes(1))), (other, others));
    }
}

#[test]
fn both_devices_find_the_same_gradients_in_micro_batches() {
    if wgpu().is_none() {
        return;
    }
    let step = |device| {
        let (trainer, batch) = large(device, TrainOptions { micro_batch: Some(128), ..options() });
        evaluated(&trainer, &batch)
    };
    let (loss, gradients) = step(Arc::new(Cpu::default()));
    let (other, others) = step(Arc::new(Wgpu::open(false, false).unwrap()));
    assert!((other - loss).abs() <= 1e-5 * loss, "{other} and not {loss}");
    near(&others, &gradients, 1e-3);
}

#[test]
fn patience_ends_a_training_and_keeps_the_best() {
    let options = TrainOptions { patience: Some(2), eval_every: Some(1), ..options() };
    let mut trainer = trainer(Arc::new(Cpu::default()), &options, 1);
    let mut watch = Watch { recalls: vec![10.0, 30.0, 20.0, 25.0, 50.0], ..Watch::new() };
    assert_eq!(trainer.run(&mut watch, None).unwrap(), Outcome::Ended(4));
    let mut short = self::trainer(Arc::new(Cpu::default()), &options, 1);
    short.run(&mut Watch { stop_at: 2, recalls: vec![10.0, 30.0], ..Watch::new() }, None).unwrap();
    for ((_, kept), (_, short)) in trainer.network.parameters().iter().zip(short.network.parameters()) {
        let read = |slice| trainer.device.read(slice).unwrap();
        assert_eq!(read(kept.values(Version::Kept)), read(short.values(Version::Trained)));
    }
}

#[test]
fn the_same_seed_gives_the_same_losses_and_another_does_not() {
    let run = |seed| losses(trainer(Arc::new(Cpu::default()), &options(), seed));
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
    let cpu = losses(trainer(Arc::new(Cpu::default()), &options(), 7));
    let gpu = losses(trainer(Arc::new(Wgpu::open(false, false).unwrap()), &options(), 7));
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        assert!((cpu - gpu).abs() < 1e-3 * cpu, "{gpu} and not {cpu}");
    }
}

#[test]
fn a_checkpoint_embeds_like_the_space_that_it_was_written_from() {
    let mut trainer = trainer(Arc::new(Cpu::default()), &options(), 1);
    trainer.run(&mut Watch::new(), None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapters.safetensors");
    trainer.space().save(&path).unwrap();
    let read = Space::load(Arc::new(Cpu::default()), &path).unwrap();
    let named = |space: &Space| space.towers().map(|tower| (tower.name.clone(), tower.width)).collect::<Vec<_>>();
    assert_eq!(named(&read), named(&trainer.space()));
    // More rows than a chunk.
    let latents = Stored { values: random(600 * 35, 9), width: 35 };
    let embeddings = read.embed(1, &latents).unwrap();
    assert_eq!(embeddings, trainer.space().embed(1, &latents).unwrap());
    assert_eq!(embeddings.len(), 600 * 24);
    for row in embeddings.chunks(24) {
        assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    std::fs::write(&path, b"nothing of the kind").unwrap();
    assert!(Space::load(Arc::new(Cpu::default()), &path).err().unwrap().to_string().contains("adapters.safetensors"));
}

#[test]
fn towers_of_any_kind_come_back_from_the_file_that_they_were_saved_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapters.safetensors");
    let device: Arc<dyn Device> = Arc::new(Cpu::default());
    let widths = [19, 35];
    let kinds = [AdapterKind::Mlp, AdapterKind::Glu, AdapterKind::Linear];
    for (bias, kind) in [true, false].into_iter().flat_map(|bias| kinds.map(|kind| (bias, kind))) {
        let mut specs = towers(widths);
        match kind {
            AdapterKind::Mlp => (specs[0].blocks, specs[1].blocks) = (Some(3), Some(0)),
            kind => specs[1].adapter = kind,
        }
        let options = TrainOptions { epochs: Some(2), bias: Some(bias), ..options() };
        let mut trainer = Trainer::new(device.clone(), specs, vec![linear(70, widths)], &options, 3).unwrap();
        trainer.run(&mut Watch::new(), None).unwrap();
        trainer.space().save(&path).unwrap();
        let loaded = Space::load(device.clone(), &path).unwrap();
        for (tower, width) in widths.into_iter().enumerate() {
            let latents = Stored { values: random(5 * width, 1), width };
            let embed = |space: &Space| space.embed(tower, &latents).unwrap();
            assert_eq!(embed(&loaded), embed(&trainer.space()));
        }
    }
}

#[test]
fn an_average_of_few_steps_forgets_the_beginning() {
    let ten_steps = |ema| {
        let mut trainer = trainer(Arc::new(Cpu::default()), &TrainOptions { ema: Some(ema), ..options() }, 3);
        let before = trainer.device.read(trainer.network.parameters()[0].1.values(Version::Trained)).unwrap();
        trainer.run(&mut Watch::new(), None).unwrap();
        let read = |version| trainer.device.read(trainer.network.parameters()[0].1.values(version)).unwrap();
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        let (average, now) = (read(Version::Evaluated), read(Version::Trained));
        apart(&average, &now) / apart(&before, &now)
    };
    assert!(ten_steps(0.9999) < 0.7, "{}", ten_steps(0.9999));
}

#[test]
fn three_towers_train_to_one_that_stays() {
    let spec = |(name, width, adapter): (&str, usize, AdapterKind)| TowerSpec {
        name: name.into(),
        width,
        adapter,
        blocks: None,
    };
    let towers =
        [("image", 19, AdapterKind::Mlp), ("text", 24, AdapterKind::Identity), ("audio", 19, AdapterKind::Mlp)];
    let sets = || vec![linear(70, [19, 24]), PairSet { towers: [2, 1], ..linear(9, [19, 24]) }];
    let train =
        |options: &TrainOptions| Trainer::new(Arc::new(Cpu::default()), towers.map(spec).into(), sets(), options, 1);
    let mut trainer = train(&options()).unwrap();
    let mut watch = Watch::new();
    trainer.run(&mut watch, None).unwrap();
    // The small set's step mixes 4 pairs.
    assert_eq!((trainer.planned_steps(), watch.losses.len()), (20, 20));
    assert_eq!(watch.evaluated, (1..=10).collect::<Vec<_>>());
    let latents = Stored { values: vec![3.0; 24], width: 24 };
    let embedding = trainer.space().embed(1, &latents).unwrap();
    assert!(embedding.iter().all(|value| (value - 24f32.sqrt().recip()).abs() < 1e-6));
    let error = train(&TrainOptions { width: Some(16), ..options() }).err().unwrap().to_string();
    assert!(error.contains("set `width = 24`"), "{error}");
}

#[test]
fn training_stops_when_its_observer_says_so() {
    let mut trainer = trainer(Arc::new(Cpu::default()), &options(), 1);
    let mut watch = Watch { stop_at: 4, ..Watch::new() };
    assert_eq!(trainer.run(&mut watch, None).unwrap(), Outcome::Stopped(4));
    assert_eq!(watch.losses.len(), 4);
}

#[test]
fn weights_near_the_ends_leave_virtual_labels_finite() {
    for (alpha, end) in [(0.001, 0.001), (0.05, 0.05), (0.3, 0.3), (1.0, 0.0)] {
        let options = TrainOptions {
            augment: Some(Augment::IMix),
            mixup_alpha: Some(alpha),
            mixup_alpha_end: Some(end),
            epochs: Some(40),
            ..options()
        };
        let losses = losses(trainer(Arc::new(Cpu::default()), &options, 1));
        assert!(losses.len() == 80 && losses.iter().all(|loss| loss.is_finite()), "{alpha}");
    }
}

#[test]
fn a_linear_relation_is_learned() {
    let options = TrainOptions { dropout: Some(0.0), epochs: Some(60), lr: Some(3e-3), ..options() };
    let losses = losses(trainer(Arc::new(Cpu::default()), &options, 1));
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.3 * first, "from {first} to {last}");
}

#[test]
fn a_step_that_is_broken_off_leaves_no_trace() {
    let options = TrainOptions { micro_batch: Some(64), memory: Some(Bytes(1)), ..options() };
    let weights = |trainer: &Trainer| -> Vec<Vec<f32>> {
        let values = |(_, parameter): (String, &crate::nn::Parameter)| {
            trainer.device.read(parameter.values(Version::Trained)).unwrap()
        };
        trainer.network.parameters().into_iter().map(values).collect()
    };
    let (mut whole, batch) = large(Arc::new(Cpu::default()), options.clone());
    let (mut broken, _) = large(Arc::new(Cpu::default()), options);
    let before = weights(&broken);
    // Whenever an end is asked for: between micro-batches forth, tiles, and micro-batches back.
    for looks in 0..100 {
        let left = std::cell::Cell::new(looks);
        let go_on = || left.replace(left.get().max(1) - 1) > 0;
        if broken.step(&batch, 1e-3, &go_on).unwrap() {
            assert!(looks > 10, "{looks}");
            break;
        }
        assert_eq!((weights(&broken), broken.done()), (before.clone(), (0, 0)));
    }
    assert!(whole.step(&batch, 1e-3, &|| true).unwrap());
    assert_eq!((weights(&broken), broken.done()), (weights(&whole), (1, 0)));
}
