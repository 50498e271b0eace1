//! The observer of a training, and what there is to see.

use std::error::Error;

use crate::space::Space;

/// The figures of an epoch.
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

/// An observer of a training.
pub trait Observer {
    /// `steps` steps are done, or on their way on a device that works behind.
    fn step(&mut self, steps: usize);

    /// An epoch is done.
    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// The space as it is after epoch `epoch`, every `eval_every` epochs and after the last; returns the recall on the
    /// validation pairs, if there are any.
    fn evaluate(&mut self, epoch: usize, space: &Space) -> Result<Option<f64>, Box<dyn Error + Send + Sync>>;

    /// Whether to stop; asked before each step.
    fn stop(&self) -> bool;
}

/// The end of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// After all its epochs.
    Finished,
    /// Because the recall on the validation pairs rose no more, after this many steps.
    Ended(usize),
    /// Because its observer said so, after this many steps.
    Stopped(usize),
}
