//! A fit in closed form, from its pairs to a run.

use std::time::Instant;

use super::plan::{Material, Plan};
use super::{Existing, FitOptions, Fitted, leave, toml};
use crate::device::{Cpu, Device};
use crate::eval::{mean_recall, retrieval_of};
use crate::fit::{ClosedForm, FitError, Problem};
use crate::run::{Metrics, MetricsFile, RunFolder, RunInfo};
use crate::session::towers::Towers;
use crate::session::{Error, Session};
use crate::space::Inlet;

impl Session {
    /// Fits a method in closed form.
    pub(super) fn solve(
        &self,
        plan: &Plan<'_>,
        method: &ClosedForm,
        towers: &Towers<'_>,
        folder: RunFolder,
        how: &FitOptions,
    ) -> Result<Fitted, Error> {
        if how.existing == Existing::Resume {
            tracing::warn!("a fit in closed form has nothing to resume; it is made again");
        }
        let Material { sets, validation, dropped, towers, seen, .. } = plan.material(towers)?;
        let recipe = folder.recipe();
        std::fs::write(&recipe, toml(plan, method)).map_err(|cause| Error::Write { path: recipe, cause })?;
        let start = Instant::now();
        let inlets: Vec<Inlet> =
            towers.iter().map(|tower| Inlet { name: tower.name.clone(), width: tower.width }).collect();
        let fixed = plan.fixed();
        let problem = Problem { towers: &inlets, fixed: &fixed, sets: &sets, stop: &|| self.should_stop() };
        let space = method.fit(&problem, plan.hubs).map_err(|error| match error {
            FitError::Stopped => Error::Stopped,
            error => error.into(),
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let path = folder.metrics();
        let mut metrics = MetricsFile::open(&path, 0).map_err(|cause| Error::Write { path: path.clone(), cause })?;
        let mut recall = None;
        if !validation.is_empty() {
            let found = retrieval_of(&validation, &space, &self.stop)?.ok_or(Error::Stopped)?;
            let mean = mean_recall(&found);
            metrics.add(&Metrics::of_evaluation(0, mean, found)).map_err(|cause| Error::Write { path, cause })?;
            recall = Some(mean);
        }
        let pairs = sets.iter().map(|set| set.len()).sum();
        let (fusemix, device, seed) = (crate::VERSION.to_owned(), Cpu::default().describe(), how.seed.unwrap_or(0));
        let mut info =
            RunInfo { fusemix, method: plan.recipe.method, seed, device, pairs, towers, adapters: None, seen: None };
        leave(folder, &space, &seen, &mut info)?;
        Ok(Fitted { info, dropped, recall, seconds, training: None })
    }
}
