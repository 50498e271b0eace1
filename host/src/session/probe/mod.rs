//! Encoders ranked on some pairs, before all items are encoded: all on the same ones, of which each has latents.

mod drawn;
mod encoded;
mod recall;
mod set;

use serde::Serialize;
use std::collections::BTreeMap;

use super::broken::Broken;
use super::forecast::ColumnForecast;
use super::{Error, Event, Session};
use crate::config::Sweep;
use crate::device::{self, DeviceChoice};
use crate::eval::{Alignment, Interval, Sample};
use crate::fit::Engine;

use set::{ProbedSet, sets};

/// The pairs that a probe takes.
#[derive(Clone, Copy, Debug)]
pub struct ProbeOptions {
    /// Pairs, at random.
    pub pairs: usize,
    /// The seed of what is random.
    pub seed: u64,
}

/// What a probe has found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// Each two towers' encoders, the best of the same pairs first.
    pub probed: Vec<Probed>,
    /// Encoders that do not work, or not for half of the items, with the reasons.
    pub failing: BTreeMap<String, String>,
    /// Pairs that were drawn and could not be read, of all pair sets.
    pub unreadable: usize,
}

/// Two towers' encoders beside one another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probed {
    /// The towers, with their encoders.
    pub towers: [ProbedTower; 2],
    /// The pair set: what has the same number was judged on the same pairs.
    pub set: usize,
    /// The pairs that it is judged on: those of which all encoders beside it have both latents.
    pub pairs: usize,
    /// Pairs that were drawn, of which its own encoders have no latent.
    pub left_out: usize,
    /// How alike they see the same pairs; none of too few.
    pub alignment: Option<Alignment>,
    /// The mean of R@1, R@5 and R@10 of kernel CCA on pairs that it was not fitted to, in percent; none of too few.
    pub recall: Option<Interval>,
    /// The pairs that a query is searched among, of those that the fit did not see.
    pub among: usize,
    /// The recall less the best's on the same pairs, query by query; none of the best.
    pub apart: Option<Interval>,
    /// True of the best, and of what is not told apart from it.
    pub among_best: bool,
    /// The recall of a random order.
    pub chance: f64,
}

/// A tower of a probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbedTower {
    /// Its name.
    pub tower: String,
    /// Its encoders.
    pub encoders: Vec<String>,
    /// Values of a latent.
    pub width: usize,
}

/// The fewest pairs that recall is measured on.
const FEWEST: usize = 60;

impl Session {
    /// What [`Session::probe`] would send, unless items fail and others take their place.
    pub fn forecast_probe(&self, sweep: &Sweep, options: ProbeOptions) -> Result<Vec<ColumnForecast>, Error> {
        let session = self.deriving(sweep);
        session.check_derived(sweep)?;
        let (mut broken, mut sets) = (Broken::default(), sets(sweep));
        let error = session.open_probed(&mut broken, sweep, &mut sets)?;
        if let Some(error) = error.filter(|_| sets.is_empty()) {
            return Err(error);
        }
        let mut columns = Vec::new();
        for set in &sets {
            columns.extend(session.forecast_set(set, options)?);
        }
        Ok(columns)
    }

    /// Encodes some pairs with all encoders of a sweep, and says how much of each other they know; the best first.
    /// What needs an encoder that does not work is left out.
    pub fn probe(&self, sweep: &Sweep, options: ProbeOptions, device: DeviceChoice) -> Result<Probe, Error> {
        let session = self.deriving(sweep);
        session.check_derived(sweep)?;
        let device = device::open(device, false)?;
        let engine = Engine { device, seed: options.seed, stop: self.stop.clone() };
        let (mut broken, mut sets) = (Broken::default(), sets(sweep));
        let mut error = session.open_probed(&mut broken, sweep, &mut sets)?;
        let total = sets.iter().map(|set| set.members.len()).sum();
        let (mut probed, mut unreadable) = (Vec::with_capacity(total), 0);
        for (number, set) in sets.iter().enumerate() {
            let (encoded, of) = session.encode_set(set, options, &mut broken)?;
            error = error.or(of);
            unreadable += encoded.drawn.unreadable;
            let mut found: Vec<(Probed, Sample)> = Vec::with_capacity(set.members.len());
            for member in set.members.iter().filter(|member| broken.reason(&member.variation.recipe).is_none()) {
                let done = probed.len() + found.len();
                self.see(Event::Evaluating { what: "probing", unit: "encoders", done, total });
                let looked = session.look(number, member, &encoded, &engine);
                self.see(Event::Ended);
                found.push(looked?);
            }
            probed.extend(ranked(found));
        }
        if let Some(error) = error.filter(|_| probed.is_empty()) {
            return Err(error);
        }
        Ok(Probe { probed, failing: broken.all(), unreadable })
    }

    /// Opens all encoders of a probe, drops what needs those that do not work, and returns the first error of these.
    fn open_probed(
        &self,
        broken: &mut Broken,
        sweep: &Sweep,
        sets: &mut Vec<ProbedSet<'_>>,
    ) -> Result<Option<Error>, Error> {
        let mut first = None;
        for member in sets.iter().flat_map(|set| &set.members) {
            let error = broken.open(self, sweep, &member.variation.recipe)?;
            first = first.or(error);
        }
        for set in sets.iter_mut() {
            set.members.retain(|member| broken.reason(&member.variation.recipe).is_none());
        }
        sets.retain(|set| !set.members.is_empty());
        Ok(first)
    }
}

/// The best first, each with its difference to that.
fn ranked(mut found: Vec<(Probed, Sample)>) -> Vec<Probed> {
    let recall = |of: &Probed| of.recall.map_or(f64::NEG_INFINITY, |recall| recall.mean);
    found.sort_by(|(a, _), (b, _)| recall(b).total_cmp(&recall(a)));
    let best = found.first().map(|(_, sample)| sample.clone());
    let with_difference = |(at, (mut of, sample)): (usize, (Probed, Sample))| {
        of.apart = best.as_ref().filter(|_| at > 0 && of.recall.is_some()).map(|best| sample.less(best).interval());
        of.among_best = of.recall.is_some() && of.apart.is_none_or(Interval::holds_zero);
        of
    };
    found.into_iter().enumerate().map(with_difference).collect()
}
