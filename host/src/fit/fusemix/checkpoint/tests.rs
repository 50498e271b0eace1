//! Trainings that stop and resume.

use std::error::Error;
use std::sync::Arc;

use super::*;
use crate::device::Cpu;
use crate::fit::PairSet;
use crate::fit::fusemix::train::tests::{Watch, linear, options, towers, trainer};
use crate::fit::fusemix::{EpochMetrics, Observer, Outcome, TrainOptions, Trainer};
use crate::nn::Version;
use crate::space::Space;

#[test]
fn a_training_goes_on_bit_for_bit_from_any_of_its_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions { ema: Some(0.9), patience: Some(9), eval_every: Some(1), clip: Some(1.0), ..options() };
    let sets = || vec![linear(200, [19, 35]), PairSet { weight: 2.0, ..linear(70, [19, 35]) }];
    let fresh = || Trainer::new(Arc::new(Cpu::default()), towers([19, 35]), sets(), &options, 5).unwrap();
    let state = |trainer: &Trainer| {
        let parameters = trainer.network.parameters();
        let slices: Vec<_> = parameters.iter().flat_map(|(_, parameter)| parameter.state()).collect();
        slices.into_iter().map(|(_, slice)| trainer.device.read(slice).unwrap()).collect::<Vec<_>>()
    };
    // The best comes twice, and is no round number.
    let best = 63.205_128_205_128_204;
    let recalls = vec![10.0, 30.0, best, 40.0, best, 6.0, 7.0, 8.0, 9.0, 10.0];
    let mut whole = fresh();
    let mut watch = Watch { recalls: recalls.clone(), ..Watch::new() };
    whole.run(&mut watch, None).unwrap();
    let training = BTreeMap::from([("seed".to_owned(), "5".to_owned())]);
    let path = folder.path().join("checkpoint.safetensors");
    let checkpoints = Checkpoints { path, every: Duration::ZERO, steps: 0, training };
    let (mut losses, mut evaluated) = (Vec::new(), 0);
    // Stopped in the middle of an epoch, at its end, at its beginning, and twice at the same step.
    for stop_at in [3, 7, 8, 8, 30, usize::MAX] {
        let mut trainer = fresh();
        trainer.resume(&checkpoints).unwrap();
        let recalls = recalls[evaluated..].to_vec();
        let mut part = Watch { recalls, stop_at, steps: trainer.done().0, ..Watch::new() };
        let outcome = trainer.run(&mut part, Some(&checkpoints)).unwrap();
        assert_eq!(Checkpoints::precision(&checkpoints.path), Some(Precision::F32));
        losses.extend(part.losses);
        evaluated += part.evaluated.len();
        if stop_at == usize::MAX {
            assert_eq!(outcome, Outcome::Finished);
            assert_eq!(state(&trainer), state(&whole));
        }
    }
    assert_eq!(losses, watch.losses);
}

/// An observer that cannot write the metrics of the last epoch.
struct FullDisk(Watch);

impl Observer for FullDisk {
    fn step(&mut self, steps: usize) {
        self.0.step(steps);
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>> {
        if metrics.epoch == 10 { Err("no space left".into()) } else { self.0.epoch(metrics) }
    }

    fn evaluate(&mut self, epoch: usize, space: &Space) -> Result<Option<f64>, Box<dyn Error + Send + Sync>> {
        self.0.evaluate(epoch, space)
    }

    fn stop(&self) -> bool {
        false
    }
}

#[test]
fn a_training_whose_last_step_is_done_still_has_its_last_epoch_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let checkpoints = Checkpoints { path, every: Duration::ZERO, steps: 1, training: BTreeMap::new() };
    let options = TrainOptions { patience: Some(3), eval_every: Some(10), ..options() };
    let fresh = || trainer(Arc::new(Cpu::default()), &options, 7);
    let mut disk = FullDisk(Watch { recalls: vec![30.0], ..Watch::new() });
    assert!(fresh().run(&mut disk, Some(&checkpoints)).is_err());
    let mut resumed = fresh();
    assert!(resumed.resume(&checkpoints).unwrap() && resumed.done().0 == resumed.planned_steps());
    let mut watch = Watch { recalls: vec![30.0], ..Watch::new() };
    assert_eq!(resumed.run(&mut watch, Some(&checkpoints)).unwrap(), Outcome::Finished);
    assert_eq!((watch.losses.len(), watch.evaluated.as_slice(), resumed.kept_recall()), (1, &[10][..], Some(30.0)));
}

#[test]
fn a_checkpoint_that_is_not_the_trainings_is_refused_and_the_one_before_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let training = |seed: &str| BTreeMap::from([("seed".to_owned(), seed.to_owned())]);
    let checkpoints = Checkpoints { path: path.clone(), every: Duration::ZERO, steps: 2, training: training("7") };
    let fresh = || trainer(Arc::new(Cpu::default()), &options(), 7);
    assert!(!fresh().resume(&checkpoints).unwrap());
    fresh().run(&mut Watch { stop_at: 4, ..Watch::new() }, Some(&checkpoints)).unwrap();

    let mut resumed = fresh();
    assert!(resumed.resume(&checkpoints).unwrap() && resumed.done().0 == 4);
    let foreign = Checkpoints { training: training("8"), ..checkpoints.clone() };
    let error = fresh().resume(&foreign).unwrap_err().to_string();
    assert!(error.ends_with("it belongs to another training: then seed = 7; now seed = 8"), "{error}");

    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut resumed = fresh();
    assert!(resumed.resume(&checkpoints).unwrap());
    assert_eq!(resumed.done().0, 4, "the stop wrote one more of the same step");
    std::fs::write(path.with_extension("previous.safetensors"), &bytes[..middle]).unwrap();
    let error = fresh().resume(&checkpoints).unwrap_err().to_string();
    assert!(error.contains("checkpoint.safetensors: it is damaged"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_stops_and_leaves_the_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let checkpoints = Checkpoints { path, every: Duration::ZERO, steps: 2, training: BTreeMap::new() };
    let fresh = || trainer(Arc::new(Cpu::default()), &options(), 7);
    let mut stopped = fresh();
    stopped.run(&mut Watch { stop_at: 3, ..Watch::new() }, Some(&checkpoints)).unwrap();
    let (_, parameter) = stopped.network.parameters().remove(0);
    let len = parameter.values(Version::Trained).len();
    stopped.device.write(parameter.values(Version::Trained), &vec![f32::NAN; len]);
    let error = stopped.run(&mut Watch::new(), Some(&checkpoints)).unwrap_err().to_string();
    assert!(error.starts_with("the loss of step 4 is NaN"), "{error}");
    let mut resumed = fresh();
    assert!(resumed.resume(&checkpoints).unwrap() && resumed.done().0 == 3);
}
