//! Fusion: adapters that bring the latents of several encoders into one shared space, and their training.

mod options;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use crate::device::Device;
use crate::latents::Latents;
pub use options::{OptionError, Options, TrainOptions};

/// What a tower puts on its latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// Trained.
    Mlp,
    /// None: the shared space is the tower's own.
    Identity,
}

/// A tower to train.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TowerSpec {
    pub name: String,
    /// Width of its latents.
    pub width: usize,
    pub adapter: AdapterKind,
}

/// Pairs between two towers: row i of one side belongs to row i of the other.
pub struct PairSet {
    /// Indices of the towers.
    pub towers: [usize; 2],
    /// The latents of either side, of equal length.
    pub latents: [Box<dyn Latents>; 2],
}

/// What an epoch came to.
pub struct EpochMetrics {
    /// From 1.
    pub epoch: usize,
    /// Steps so far.
    pub steps: usize,
    /// The loss of each step of the epoch.
    pub losses: Vec<f32>,
    pub temperature: f32,
    /// Of the epoch's last step.
    pub lr: f32,
    pub pairs_per_second: f64,
}

/// Who watches a training.
pub trait Observer {
    /// `steps` steps are done.
    fn step(&mut self, steps: usize);
    /// An epoch is done.
    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>>;
    /// Every `eval_every` epochs and after the last.
    fn evaluate(&mut self, epoch: usize, fusion: &Fusion) -> Result<(), Box<dyn Error + Send + Sync>>;
    /// Whether to stop.
    fn stop(&self) -> bool;
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished,
    /// After this many steps.
    Stopped(usize),
}

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Option(#[from] OptionError),
}

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {}

/// Trains a fusion.
pub struct Trainer;

impl Trainer {
    pub fn new(
        _: Arc<dyn Device>,
        _: Vec<TowerSpec>,
        _: Vec<PairSet>,
        _: &TrainOptions,
        _seed: u64,
    ) -> Result<Self, TrainError> {
        todo!()
    }
    pub fn options(&self) -> &Options {
        todo!()
    }
    pub fn fusion(&self) -> &Fusion {
        todo!()
    }
    /// Steps from the start to the end.
    pub fn planned_steps(&self) -> usize {
        todo!()
    }
    pub fn run(&mut self, _: &mut dyn Observer) -> Result<Outcome, TrainError> {
        todo!()
    }
}

/// Trained towers.
pub struct Fusion;

impl Fusion {
    pub fn save(&self, _: &Path) -> Result<(), CheckpointError> {
        todo!()
    }
    pub fn load(_: Arc<dyn Device>, _: &Path) -> Result<Self, CheckpointError> {
        todo!()
    }
    pub fn towers(&self) -> impl Iterator<Item = &TowerSpec> {
        std::iter::empty()
    }
    /// Width of the shared space.
    pub fn width(&self) -> usize {
        todo!()
    }
    /// `rows x width` embeddings, L2-normalised, of all `latents`, in memory.
    pub fn embed(&self, _tower: usize, _: &dyn Latents) -> Vec<f32> {
        todo!()
    }
    /// The same in pieces of whole rows, in order.
    pub fn embed_chunks<E>(
        &self,
        _tower: usize,
        _: &dyn Latents,
        _sink: &mut dyn FnMut(&[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        todo!()
    }
}
