//! Devices that run out of memory, and one that is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::device::Profile;
use crate::kernels::Kernel;

/// A CPU with limited memory of its own; a failed allocation is released.
struct Scarce {
    cpu: Cpu,
    values: usize,
    taken: AtomicUsize,
    fitting: AtomicUsize,
}

impl Scarce {
    fn new(values: usize) -> Arc<Self> {
        Arc::new(Self { cpu: Cpu::default(), values, taken: 0.into(), fitting: 0.into() })
    }
}

impl Device for Scarce {
    fn describe(&self) -> String {
        "a small GPU".to_owned()
    }

    fn reads_f16(&self) -> bool {
        false
    }

    fn has_16_bit(&self) -> bool {
        false
    }

    fn memory(&self) -> Option<u64> {
        None
    }

    fn shares_memory(&self) -> bool {
        false
    }

    fn largest(&self) -> usize {
        18_000
    }

    fn zeros(&self, len: usize) -> Buffer {
        self.taken.fetch_add(len, Ordering::Relaxed);
        self.cpu.zeros(len)
    }

    fn fill(&self, slice: Slice<'_>, fill: &mut dyn FnMut(&mut [f32])) {
        self.cpu.fill(slice, fill);
    }

    fn read(&self, slice: Slice<'_>) -> Result<Vec<f32>, DeviceError> {
        self.cpu.read(slice)
    }

    fn launch(&self, kernel: &dyn Kernel, reads: &[Slice<'_>], writes: &[Slice<'_>]) {
        self.cpu.launch(kernel, reads, writes);
    }

    fn submit(&self) -> Result<(), DeviceError> {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken > self.values {
            self.taken.store(self.fitting.load(Ordering::Relaxed), Ordering::Relaxed);
            return Err(DeviceError::Memory { device: self.describe(), reason: "full".to_owned() });
        }
        self.fitting.store(taken, Ordering::Relaxed);
        Ok(())
    }

    fn profile(&self) -> &Profile {
        self.cpu.profile()
    }
}

#[test]
fn latents_that_are_resident_in_chunks_train_as_mapped_ones_do() {
    let (mapped, batch) = large(Arc::new(Cpu::default()), options());
    let (resident, _) = large(Scarce::new(usize::MAX), options());
    let sides = |trainer: &Trainer| trainer.sets[0].resident();
    assert_eq!((sides(&mapped), sides(&resident)), ([0, 0], [600 * 19, 600 * 35]));
    // In other tiles, which are as large as the device binds.
    let ((loss, gradients), (expected, wanted)) = (evaluated(&resident, &batch), evaluated(&mapped, &batch));
    assert!((loss - expected).abs() < 1e-5 * expected, "{loss} and not {expected}");
    near(&gradients, &wanted, 1e-5);
}

#[test]
fn where_memory_ends_micro_batches_get_smaller_and_latents_stay_on_the_host() {
    let options = TrainOptions { micro_batch: Some(128), ..options() };
    let (whole, batch) = large(Arc::new(Cpu::default()), options.clone());
    let (mut less, mut smaller, mut mapped) = (0, 0, 0);
    for values in (100_000..600_000).step_by(10_000) {
        let widths = [19, 35];
        let given = TrainOptions { batch: Some(257), ..options.clone() };
        let Ok(trainer) = Trainer::new(Scarce::new(values), towers(widths), vec![linear(600, widths)], &given, 3)
        else {
            continue;
        };
        less += usize::from(trainer.options().micro_batch == 128 && trainer.room.passes[0].kept() == 1);
        smaller += usize::from(trainer.options().micro_batch == 64);
        mapped += usize::from(trainer.sets[0].resident().contains(&0));
        near(&evaluated(&trainer, &batch).1, &evaluated(&whole, &batch).1, 1e-5);
    }
    let counts = [less, smaller, mapped];
    assert!(counts.iter().all(|&count| count > 0), "{counts:?} that keep less, take smaller micro-batches, are mapped");
}

#[test]
fn a_lost_gpu_stops_the_training_and_its_checkpoint_goes_on() {
    if wgpu().is_none() {
        return;
    }
    /// An observer that loses its GPU after some steps.
    struct Unlucky {
        watch: Watch,
        gpu: Arc<Wgpu>,
        after: usize,
    }
    impl Observer for Unlucky {
        fn step(&mut self, steps: usize) {
            self.watch.step(steps);
            if steps == self.after {
                self.gpu.lose();
            }
        }

        fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>> {
            self.watch.epoch(metrics)
        }

        fn evaluate(&mut self, _: usize, _: &Space) -> Result<Option<f64>, Box<dyn Error + Send + Sync>> {
            Ok(None)
        }

        fn stop(&self) -> bool {
            false
        }
    }
    let open = || Arc::new(Wgpu::open(false, false).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let checkpoints = Checkpoints { path, every: Duration::ZERO, steps: 2, training: BTreeMap::new() };
    let whole = losses(trainer(open(), &options(), 7));

    let gpu = open();
    let mut unlucky = Unlucky { watch: Watch::new(), gpu: gpu.clone(), after: 5 };
    let error = trainer(gpu, &options(), 7).run(&mut unlucky, Some(&checkpoints)).unwrap_err().to_string();
    assert!(error.contains("lost") && error.contains("--resume"), "{error}");

    let mut resumed = trainer(open(), &options(), 7);
    assert!(resumed.resume(&checkpoints).unwrap() && resumed.done().0 == 4);
    let mut watch = Watch { steps: 4, ..Watch::new() };
    assert_eq!(resumed.run(&mut watch, Some(&checkpoints)).unwrap(), Outcome::Finished);
    // The checkpoint is from before the end of the epoch, which is told again.
    assert_eq!((&unlucky.watch.losses[..], &watch.losses[..]), (&whole[..4], &whole[3..]));
}
