//! Two towers' encoders beside one another: how alike they see the same pairs, and what a fit to some finds of others.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

use super::encoded::Encoded;
use super::set::Member;
use super::{FEWEST, Probed, ProbedTower};
use crate::cache::Key;
use crate::config::TowerSource;
use crate::eval::{Alignment, HeldOut, NEAREST, Sample};
use crate::fit::kernel_cca::KernelCcaOptions;
use crate::fit::{ClosedForm, Engine, FitError, Hubs, HubsOptions, PairSet, Problem, Setting, against_hubs};
use crate::latents::{Dense, Latents, Selected};
use crate::pairs::Side;
use crate::session::{Error, Session};
use crate::space::{Inlet, Space};

/// The parts that few pairs, and many, are cut into.
const FOLDS: [usize; 2] = [8, 5];
/// Pairs from which they are many.
const MANY: usize = 1000;
/// The most pairs that are held out in all, and from one fit.
const MOST: usize = 4000;
const HELD: usize = 1000;

impl Session {
    /// A member of a set on the pairs that all have latents of.
    pub(super) fn look(
        &self,
        set: usize,
        member: &Member<'_>,
        encoded: &Encoded,
        engine: &Engine,
    ) -> Result<(Probed, Sample), Error> {
        let common = encoded.common();
        let sources = member.sources();
        let lacks = |at: &usize| [0, 1].iter().any(|side| encoded.lacks(*side, sources[*side], *at));
        let left_out = (0..encoded.drawn.rows.len()).filter(lacks).count();
        let found = [0, 1].map(|side| encoded.latents(side, sources[side], &common));
        let pairs = common.len();
        let alignment = (pairs > NEAREST).then(|| Alignment::of(found.each_ref().map(|(rows, _)| &rows[..]), pairs));
        let inlet = |side: usize| Inlet {
            name: member.variation.recipe.towers[member.ends[side].tower].name.clone(),
            width: found[side].1,
        };
        let inlets = [inlet(0), inlet(1)];
        let tower = |side: usize| ProbedTower {
            tower: inlets[side].name.clone(),
            encoders: match sources[side] {
                TowerSource::Encoders(names) => names.clone(),
                _ => Vec::new(),
            },
            width: inlets[side].width,
        };
        let towers = [tower(0), tower(1)];
        let (sample, among) = match pairs >= FEWEST {
            true => {
                let latents = found.map(|(values, width)| Arc::new(Dense::new(values, width)) as Arc<dyn Latents>);
                self.held_out_recall(&inlets, &latents, engine)?
            }
            false => (Sample::default(), 0),
        };
        let recall = (pairs >= FEWEST).then(|| sample.interval());
        let (chance, apart, among_best) = (sample.chance(), None, false);
        let probed = Probed { towers, set, pairs, left_out, alignment, recall, among, apart, among_best, chance };
        Ok((probed, sample))
    }

    /// What kernel CCA finds of pairs that it is not fitted to, part by part. The parts go by the places of the pairs,
    /// so that whatever latents these have, the queries are the same. With it, the pairs of the largest part.
    fn held_out_recall(
        &self,
        inlets: &[Inlet; 2],
        latents: &[Arc<dyn Latents>; 2],
        engine: &Engine,
    ) -> Result<(Sample, usize), Error> {
        let pairs = latents[0].len();
        let count = FOLDS[usize::from(pairs >= MANY)];
        let tried = (MOST / pairs.div_ceil(count)).clamp(1, count);
        let mut order: Vec<usize> = (0..pairs).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(engine.seed));
        let setting = Setting::ClosedForm(ClosedForm::KernelCca(KernelCcaOptions::default().resolve()?));
        let hubs = HubsOptions::default().resolve(HubsOptions::HUBNESS)?;
        let (mut all, mut among) = (Sample::default(), 0);
        for part in 0..tried {
            let of = |is_held: bool| {
                let mut rows: Vec<usize> = order
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| (at % count == part) == is_held)
                    .map(|(_, row)| *row)
                    .collect();
                rows.sort_unstable();
                rows
            };
            let (rest, held) = (of(false), of(true));
            let held: Vec<usize> = held.iter().copied().step_by(held.len().div_ceil(HELD)).collect();
            among = among.max(held.len());
            let space = self.fitted(inlets, latents, &rest, (&setting, hubs, engine))?;
            let side = |side: usize| Side {
                keys: held.iter().map(|row| Some(key(*row))).collect(),
                latents: Box::new(Selected::new(latents[side].clone(), held.clone())),
            };
            let held_out = HeldOut::new([0, 1], [side(0), side(1)]);
            all.append(&Sample::of([&held_out], &space, &self.stop)?.ok_or(Error::Stopped)?);
        }
        Ok((all, among))
    }

    fn fitted(
        &self,
        inlets: &[Inlet; 2],
        latents: &[Arc<dyn Latents>; 2],
        rows: &[usize],
        (setting, hubs, engine): (&Setting, Hubs, &Engine),
    ) -> Result<Space, Error> {
        let numbers: Arc<[u32]> = (0..rows.len() as u32).collect();
        let latents = latents
            .each_ref()
            .map(|latents| Arc::new(Selected::new(latents.clone(), rows.to_vec())) as Arc<dyn Latents>);
        let set = PairSet { towers: [0, 1], latents, weight: 1.0, items: Some([numbers.clone(), numbers]) };
        let stop = || self.should_stop();
        let problem = Problem { towers: inlets, fixed: &[false; 2], sets: &[set], stop: &stop };
        let fitted = setting
            .map(&problem, engine)
            .and_then(|map| against_hubs(Space::new(inlets.to_vec(), map), &problem, hubs.hubness, hubs.neighbours));
        fitted.map_err(|error| if matches!(error, FitError::Stopped) { Error::Stopped } else { error.into() })
    }
}

/// A key of its own for each pair: its items are in no other.
fn key(row: usize) -> Key {
    Key(blake3::hash(&row.to_le_bytes()).into())
}
