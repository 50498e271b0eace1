//! The observer of a training: it reports progress, writes metrics.jsonl and evaluates on the validation pairs.

use std::error::Error as StdError;

use super::super::{Error, Event, Session};
use crate::eval::{HeldOut, Retrieval, mean_recall, retrieval_of};
use crate::fit::fusemix::{EpochMetrics, Observer};
use crate::run::{Metrics, MetricsFile, RunFolder};
use crate::space::Space;

/// The observer.
pub(super) struct Watch<'a> {
    session: &'a Session,
    metrics: MetricsFile,
    validation: Vec<HeldOut>,
    planned: usize,
    /// The step from which this run resumes.
    first: Option<usize>,
    /// The loss of the last epoch.
    pub(super) loss: Option<f32>,
    /// The recall of the last evaluation.
    pub(super) recall: Option<f64>,
    /// True if that is more than chance explains.
    beats_chance: bool,
}

impl<'a> Watch<'a> {
    /// An observer that keeps the metrics of the first `epochs` epochs.
    pub(super) fn new(
        session: &'a Session,
        folder: &RunFolder,
        validation: Vec<HeldOut>,
        planned: usize,
        epochs: usize,
    ) -> Result<Self, Error> {
        let path = folder.metrics();
        let metrics = MetricsFile::open(&path, epochs).map_err(|cause| Error::Write { path, cause })?;
        Ok(Self { session, metrics, validation, planned, first: None, loss: None, recall: None, beats_chance: false })
    }
}

impl Watch<'_> {
    /// True unless the loss ended where guessing does, with a recall that does not contradict it.
    pub(super) fn learned(&self, chance_loss: Option<f32>) -> bool {
        /// The part of the loss of guessing below which something was learned.
        const GUESSING: f32 = 0.97;
        let better = self.loss.zip(chance_loss).is_none_or(|(loss, guessing)| loss < GUESSING * guessing);
        better || self.beats_chance
    }
}

impl Observer for Watch<'_> {
    fn step(&mut self, done: usize) {
        let first = *self.first.get_or_insert(done - 1);
        let (total, loss, recall) = (self.planned, self.loss, self.recall);
        self.session.see(Event::Training { done, worked: done - first, total, loss, recall });
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn StdError + Send + Sync>> {
        self.loss = Some(metrics.loss());
        Ok(self.metrics.add(&Metrics::of_epoch(metrics))?)
    }

    fn evaluate(&mut self, epoch: usize, space: &Space) -> Result<Option<f64>, Box<dyn StdError + Send + Sync>> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let Some(found) = retrieval_of(&self.validation, space, &self.session.stop)? else { return Ok(None) };
        let recall = mean_recall(&found);
        self.beats_chance = found.iter().any(Retrieval::beats_chance);
        self.recall = Some(recall);
        self.metrics.add(&Metrics::of_evaluation(epoch, recall, found))?;
        Ok(Some(recall))
    }

    fn stop(&self) -> bool {
        self.session.should_stop()
    }
}
