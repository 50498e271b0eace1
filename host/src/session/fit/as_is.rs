//! A run in which nothing is fitted: its encoders are in one space already.

use std::time::Instant;

use super::options::NoOptions;
use super::plan::Plan;
use super::{Fitted, leave, toml};
use crate::config::Method;
use crate::device::{Cpu, Device};
use crate::fit::procrustes::ProcrustesOptions;
use crate::fit::{ClosedForm, Problem};
use crate::run::{RunFolder, RunInfo, Seen, TowerInfo};
use crate::session::towers::Towers;
use crate::session::{Error, Session};
use crate::space::{Inlet, Space};

impl Session {
    /// Leaves a run whose towers' latents are the shared space. No pair is read, but where an encoder does not tell the
    /// width of its latents.
    pub(super) fn leave_as_is(&self, plan: &Plan<'_>, towers: &Towers<'_>, folder: RunFolder) -> Result<Fitted, Error> {
        let start = Instant::now();
        let infos = plan.infos(towers)?;
        let inlets: Vec<Inlet> = infos.iter().map(TowerInfo::inlet).collect();
        let fixed = plan.fixed();
        let problem = Problem { towers: &inlets, fixed: &fixed, sets: &[], stop: &|| self.should_stop() };
        // Where all towers are there, none is brought to them.
        let map = ClosedForm::Procrustes(ProcrustesOptions::default().resolve()?).map(&problem)?;
        folder.write_recipe(&toml(plan, Method::Identity, &NoOptions {}))?;
        let mut info = RunInfo {
            fusemix: crate::VERSION.to_owned(),
            method: Method::Identity,
            seed: 0,
            device: Cpu::default().describe(),
            pairs: 0,
            towers: infos,
            adapters: None,
            anchors: None,
            seen: None,
        };
        leave(folder, &Space::new(inlets, map), &Seen::default(), &mut info)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Fitted { info, dropped: 0, recall: None, seconds, training: None, choice: None })
    }
}
