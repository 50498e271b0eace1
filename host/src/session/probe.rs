//! Encoders ranked on some pairs, before all items are encoded.

use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::broken::Broken;
use super::forecast::ColumnForecast;
use super::towers::Towers;
use super::{Error, Event, Session};
use crate::config::{PairEnd, Sweep, TowerSource, Variation};
use crate::dataset::Source;
use crate::device::{self, DeviceChoice};
use crate::eval::{Alignment, Interval};
use crate::fit::auto::{Budget, choose};
use crate::fit::kernel_cca::KernelCcaOptions;
use crate::fit::{ClosedForm, Engine, HubsOptions, PairSet, Problem, Setting};
use crate::latents::Latents;
use crate::pairs::pair;
use crate::space::Inlet;

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
    /// Each two towers' encoders, the best first.
    pub probed: Vec<Probed>,
    /// Encoders that do not work, with the reasons.
    pub failing: BTreeMap<String, String>,
}

/// Two towers' encoders beside one another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probed {
    /// The towers, with their encoders.
    pub towers: [ProbedTower; 2],
    /// Pairs.
    pub pairs: usize,
    /// How alike they see the same pairs.
    pub alignment: Alignment,
    /// The mean of R@1, R@5 and R@10 of kernel CCA on pairs that it was not fitted to, in percent; none of too few.
    pub recall: Option<Interval>,
    /// The same of a random order.
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

/// Two towers that pairs join, with the pairs to look at.
struct Joined<'a> {
    variation: &'a Variation,
    ends: &'a [PairEnd; 2],
    source: Source,
}

/// The fewest pairs of a probe.
const FEWEST: usize = 60;

impl Session {
    /// What [`Session::probe`] would send.
    pub fn forecast_probe(&self, sweep: &Sweep, options: ProbeOptions) -> Result<Vec<ColumnForecast>, Error> {
        let session = self.deriving(sweep);
        session.check_derived(sweep)?;
        let (mut broken, mut joined) = (Broken::default(), joined(sweep, options));
        let error = session.open_probed(&mut broken, sweep, &joined)?;
        joined.retain(|of| broken.reason(&of.variation.recipe).is_none());
        match error {
            Some(error) if joined.is_empty() => Err(error),
            _ => session.forecast_pairs(joined.iter().map(|of| (&of.variation.recipe, &of.source, of.ends))),
        }
    }

    /// Encodes some pairs with all encoders of a sweep, and says how much of each other they know; the best first.
    /// What needs an encoder that does not work is left out.
    pub fn probe(&self, sweep: &Sweep, options: ProbeOptions, device: DeviceChoice) -> Result<Probe, Error> {
        let session = self.deriving(sweep);
        session.check_derived(sweep)?;
        let device = device::open(device, false)?;
        let engine = Engine { device, seed: options.seed, stop: self.stop.clone() };
        let joined = joined(sweep, options);
        let mut broken = Broken::default();
        let mut error = session.open_probed(&mut broken, sweep, &joined)?;
        let mut probed = Vec::with_capacity(joined.len());
        for (done, of) in joined.iter().enumerate() {
            if broken.reason(&of.variation.recipe).is_some() {
                continue;
            }
            self.see(Event::Evaluating { what: "probing", unit: "encoders", done, total: joined.len() });
            let found = session.look(of, &engine);
            self.see(Event::Ended);
            match found {
                Ok(found) => probed.push(found),
                Err(of) => {
                    let of = broken.note(of)?;
                    error.get_or_insert(of);
                }
            }
        }
        if let Some(error) = error.filter(|_| probed.is_empty()) {
            return Err(error);
        }
        let recall = |of: &Probed| of.recall.map_or(f64::NEG_INFINITY, |recall| recall.mean);
        probed.sort_by(|a, b| recall(b).total_cmp(&recall(a)));
        Ok(Probe { probed, failing: broken.all() })
    }

    /// Opens all encoders of a probe, and returns the first error of those that do not work.
    fn open_probed(&self, broken: &mut Broken, sweep: &Sweep, joined: &[Joined<'_>]) -> Result<Option<Error>, Error> {
        let mut first = None;
        for of in joined {
            let error = broken.open(self, sweep, &of.variation.recipe)?;
            first = first.or(error);
        }
        Ok(first)
    }

    fn look(&self, Joined { variation, ends, source }: &Joined<'_>, engine: &Engine) -> Result<Probed, Error> {
        let (recipe, file) = (&variation.recipe, self.data(source)?);
        let towers = Towers::new(self, recipe, None);
        let paired = pair(towers.sides(ends, &file)?);
        let (items, pairs) = (paired.items(), paired.keys.len());
        if pairs < FEWEST {
            return Err(Error::FewProbed { path: file.path().to_owned(), pairs, fewest: FEWEST });
        }
        let latents: [Arc<dyn Latents>; 2] = paired.latents.map(Arc::from);
        // An item that is in several pairs would be its own neighbour.
        let mut known = [HashSet::new(), HashSet::new()];
        let mut is_new = |pair: usize| {
            let is_known = [0, 1].map(|side| known[side].contains(&items[side][pair]));
            if is_known == [false; 2] {
                known.iter_mut().zip(&items).for_each(|(known, items)| _ = known.insert(items[pair]));
            }
            is_known == [false; 2]
        };
        let once: Vec<usize> = (0..pairs).filter(|pair| is_new(*pair)).collect();
        let rows = latents.each_ref().map(|latents| {
            let width = latents.width();
            let mut rows = vec![0.0; once.len() * width];
            rows.chunks_exact_mut(width).zip(&once).for_each(|(out, row)| latents.copy_row(*row, out));
            rows
        });
        if once.len() < FEWEST {
            return Err(Error::FewProbed { path: file.path().to_owned(), pairs: once.len(), fewest: FEWEST });
        }
        let alignment = Alignment::of(rows.each_ref().map(Vec::as_slice), once.len());
        let inlet =
            |side: usize| Inlet { name: recipe.towers[ends[side].tower].name.clone(), width: latents[side].width() };
        let inlets = [inlet(0), inlet(1)];
        let set = PairSet { towers: [0, 1], latents, weight: 1.0, items: Some(items) };
        let stop = || self.should_stop();
        let problem = Problem { towers: &inlets, fixed: &[false; 2], sets: &[set], stop: &stop };
        let setting = Setting::ClosedForm(ClosedForm::KernelCca(KernelCcaOptions::default().resolve()?));
        let hubs = HubsOptions::default().resolve(HubsOptions::HUBNESS)?;
        let budget = Budget(f64::INFINITY);
        let choice = choose(&problem, Some(vec![setting]), hubs, budget, engine, &mut |_, _, _| {})?;
        let recall = choice.trials.first().and_then(|trial| trial.recall);
        let [first, second] = inlets;
        let tower = |end: &PairEnd, inlet: Inlet| {
            let encoders = match &recipe.towers[end.tower].source {
                TowerSource::Encoders(names) => names.clone(),
                _ => Vec::new(),
            };
            ProbedTower { tower: inlet.name, encoders, width: inlet.width }
        };
        let towers = [tower(&ends[0], first), tower(&ends[1], second)];
        Ok(Probed { towers, pairs, alignment, recall, chance: choice.chance })
    }
}

/// Each two towers with their encoders, once; what else a sweep varies says nothing here.
fn joined(sweep: &Sweep, options: ProbeOptions) -> Vec<Joined<'_>> {
    let mut all: Vec<Joined<'_>> = Vec::new();
    for variation in &sweep.variations {
        for entry in &variation.recipe.pairs {
            let of = |variation: &Variation, ends: &[PairEnd; 2]| {
                ends.each_ref().map(|end| {
                    let tower = &variation.recipe.towers[end.tower];
                    (tower.name.clone(), tower.source.clone(), end.column.clone())
                })
            };
            let sample = entry.train.sample.map_or(options.pairs, |sample| sample.min(options.pairs));
            let source = Source { sample: Some(sample), ..entry.train.clone() };
            let known = all.iter().any(|known| {
                known.source.path == source.path && of(known.variation, known.ends) == of(variation, &entry.ends)
            });
            if !known {
                all.push(Joined { variation, ends: &entry.ends, source });
            }
        }
    }
    all
}
