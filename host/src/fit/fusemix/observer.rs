//! The observer of a training, and the figures that it sees.

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
    /// Pairs drawn per second of wall-clock time.
    pub pairs_per_second: f64,
}

impl EpochMetrics {
    /// The mean of the epoch's losses.
    pub fn loss(&self) -> f32 {
        self.losses.iter().sum::<f32>() / self.losses.len() as f32
    }
}

/// An observer of a training.
pub trait Observer {
    /// Called when `steps` steps are done, or submitted to a device that lags behind.
    fn step(&mut self, steps: usize);

    /// Called when an epoch is done.
    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Called with the space after epoch `epoch`, every `eval_every` epochs and after the last; returns the recall on
    /// the validation pairs, if there are any.
    fn evaluate(&mut self, epoch: usize, space: &Space) -> Result<Option<f64>, Box<dyn Error + Send + Sync>>;

    /// True to stop; asked before each step.
    fn stop(&self) -> bool;
}

/// The end of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// After all its epochs.
    Finished,
    /// Stopped early after this many steps, because the validation recall stopped improving.
    Ended(usize),
    /// Stopped by its observer after this many steps.
    Stopped(usize),
}
