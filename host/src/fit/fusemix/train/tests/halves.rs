//! Training with f16 in memory, as GPUs with 16-bit products do it; here in software.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::device::Profile;
use crate::kernels::Kernel;

/// A device that says that its products of 16 bits are fast, and read f16.
struct Halving<D>(D);

impl<D: Device> Device for Halving<D> {
    fn describe(&self) -> String {
        format!("{} in f16", self.0.describe())
    }

    fn reads_f16(&self) -> bool {
        true
    }

    fn has_16_bit(&self) -> bool {
        true
    }

    fn memory(&self) -> Option<u64> {
        None
    }

    fn shares_memory(&self) -> bool {
        self.0.shares_memory()
    }

    fn largest(&self) -> usize {
        self.0.largest()
    }

    fn zeros(&self, len: usize) -> Buffer {
        self.0.zeros(len)
    }

    fn fill(&self, slice: Slice<'_>, fill: &mut dyn FnMut(&mut [f32])) {
        self.0.fill(slice, fill);
    }

    fn read(&self, slice: Slice<'_>) -> Result<Vec<f32>, DeviceError> {
        self.0.read(slice)
    }

    fn launch(&self, kernel: &dyn Kernel, reads: &[Slice<'_>], writes: &[Slice<'_>]) {
        self.0.launch(kernel, reads, writes);
    }

    fn submit(&self) -> Result<(), DeviceError> {
        self.0.submit()
    }

    fn profile(&self) -> &Profile {
        self.0.profile()
    }
}

/// On the CPU by way of the twins, and on wgpu if there is any.
fn devices() -> Vec<Arc<dyn Device>> {
    let mut devices: Vec<Arc<dyn Device>> = vec![Arc::new(Halving(Cpu::default()))];
    if wgpu().is_some() {
        devices.push(Arc::new(Halving(Wgpu::open(false, false).unwrap())));
    }
    devices
}

fn in_16_bits() -> TrainOptions {
    TrainOptions { precision: Some(Precision::Bf16), ..options() }
}

#[test]
fn ten_steps_in_16_bits_are_those_of_f32() {
    let expected = losses(trainer(Arc::new(Cpu::default()), &options(), 7));
    for device in devices() {
        let name = device.describe();
        let found = losses(trainer(device, &in_16_bits(), 7));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-2 * expected, "{name}: {found} and not {expected}");
        }
        assert_ne!(found, expected, "{name} does not round");
    }
}

#[test]
fn a_training_in_16_bits_ends_within_the_spread_of_seeds() {
    let long = TrainOptions { epochs: Some(60), ..options() };
    let end = |losses: Vec<f32>| losses[losses.len() - 10..].iter().sum::<f32>() / 10.0;
    let ends: Vec<f32> = (1..6).map(|seed| end(losses(trainer(Arc::new(Cpu::default()), &long, seed)))).collect();
    let (least, most) = (ends.iter().copied().fold(f32::MAX, f32::min), ends.iter().copied().fold(0.0, f32::max));
    let in_16_bits = TrainOptions { precision: Some(Precision::Bf16), ..long };
    for device in devices() {
        let name = device.describe();
        let found = end(losses(trainer(device, &in_16_bits, 1)));
        assert!((found - ends[0]).abs() < 0.5 * (most - least), "{name}: {found}, and f32 {ends:?}");
    }
}

#[test]
fn gates_sigmoids_and_micro_batches_too() {
    let kinds = [
        TrainOptions { loss: Some(Loss::Sigmoid), ..options() },
        TrainOptions { clip: Some(0.5), micro_batch: Some(64), ..options() },
        TrainOptions { structure: Some(1.0), ..options() },
    ];
    for options in kinds {
        let expected = losses(trainer(Arc::new(Cpu::default()), &options, 7));
        for device in devices() {
            let name = device.describe();
            let in_16_bits = TrainOptions { precision: Some(Precision::Bf16), ..options.clone() };
            let found = losses(trainer(device, &in_16_bits, 7));
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 2e-2 * expected, "{name}: {found} and not {expected}");
            }
        }
    }
}

#[test]
fn gradients_that_overflow_f16_cost_a_step_and_half_of_the_scale() {
    for device in devices() {
        let mut trainer = trainer(device.clone(), &in_16_bits(), 7);
        let values = |trainer: &Trainer| -> Vec<Vec<f32>> {
            let read = |slice| trainer.device.read(slice).unwrap();
            trainer.network.parameters().iter().map(|(_, parameter)| read(parameter.values(Version::Trained))).collect()
        };
        let before = values(&trainer);
        let large = 2.0f32.powi(40);
        trainer.scaling.restore(&*device, [large, 0.0]);
        let draw = draws::epoch(7, 0, &trainer.decks(), &trainer.options).swap_remove(0);
        assert!(trainer.step(&draw, 1e-3, &|| true).unwrap());
        assert_eq!(values(&trainer), before, "{}: the step was taken", device.describe());
        assert_eq!(trainer.scaling.state(&*device).unwrap(), Some([large / 2.0, 0.0]));
        let mut turns = 0;
        while values(&trainer) == before {
            turns += 1;
            assert!(turns < 60, "{}: no step is taken", device.describe());
            trainer.position.at = 0;
            trainer.step(&draw, 1e-3, &|| true).unwrap();
        }
        assert!(values(&trainer).iter().flatten().all(|value| value.is_finite()));
    }
}

#[test]
fn a_training_in_16_bits_goes_on_from_its_checkpoint_bit_for_bit() {
    for device in devices() {
        let values = |trainer: &Trainer| -> Vec<Vec<f32>> {
            let read = |slice| device.read(slice).unwrap();
            trainer.network.parameters().iter().map(|(_, parameter)| read(parameter.values(Version::Trained))).collect()
        };
        let fresh = || trainer(device.clone(), &in_16_bits(), 7);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let checkpoints = Checkpoints { path, every: Duration::ZERO, steps: 0, training: BTreeMap::new() };
        let mut whole = fresh();
        whole.run(&mut Watch::new(), None).unwrap();
        let mut first = fresh();
        first.run(&mut Watch { stop_at: 5, ..Watch::new() }, Some(&checkpoints)).unwrap();
        let mut second = fresh();
        assert!(second.resume(&checkpoints).unwrap());
        let state = second.scaling.state(&*device).unwrap().unwrap();
        assert!(state[1] > 0.0, "the steps since the scale changed come back");
        second.run(&mut Watch::new(), None).unwrap();
        assert_eq!(values(&second), values(&whole), "{}", device.describe());
    }
}
