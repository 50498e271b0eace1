//! The time that a fit takes, before its items are encoded.

use std::sync::Arc;
use std::time::Instant;

use super::options::MethodOptions;
use super::plan::Plan;
use crate::device::{self, DeviceChoice};
use crate::fit::fusemix::TrainOptions;
use crate::fit::{Engine, PairSet, Problem, Setting};
use crate::latents::Latents;
use crate::session::Error;
use crate::session::towers::Towers;
use crate::space::Inlet;

/// Latents of which only the number is known yet; those that a few steps are timed on are numbers without a meaning.
struct Counted {
    rows: usize,
    width: usize,
}

impl Latents for Counted {
    fn len(&self) -> usize {
        self.rows
    }

    fn width(&self) -> usize {
        self.width
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        let mut state = index as u32;
        for value in out {
            // A linear congruence (Numerical Recipes, 1992).
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = (state >> 8) as f32 / (1_u32 << 23) as f32 - 1.0;
        }
    }
}

/// Towers, and the pairs between them, of which only the numbers are known.
type CountedPairs = (Vec<Inlet>, Vec<PairSet>);

impl Plan<'_> {
    /// The seconds that a fit takes on two cores, or its budget if the method is chosen; none while an encoder does not
    /// tell the width of its latents.
    pub(in crate::session) fn seconds(&self, towers: &Towers<'_>) -> Result<Option<f64>, Error> {
        let Some((inlets, sets)) = self.counted(towers)? else { return Ok(None) };
        let problem = Problem { towers: &inlets, fixed: &self.fixed(), sets: &sets, stop: &|| false };
        let of = |setting: &Setting| setting.demand(&problem).seconds;
        Ok(Some(match &self.options {
            MethodOptions::Fusemix(options) => of(&Setting::Fusemix(options.clone())),
            MethodOptions::Set(setting) => of(setting),
            MethodOptions::Joint(parts) => parts.iter().map(of).sum(),
            MethodOptions::Auto(options) => options.budget.unwrap_or_default().0,
            MethodOptions::Nothing => 0.0,
        }))
    }

    /// Its towers and pairs, as far as they are known before anything is encoded; none while an encoder does not tell
    /// the width of its latents.
    fn counted(&self, towers: &Towers<'_>) -> Result<Option<CountedPairs>, Error> {
        let mut inlets = Vec::new();
        for (at, tower) in self.recipe.towers.iter().enumerate() {
            let Some(width) = towers.described_width(at)? else { return Ok(None) };
            inlets.push(Inlet { name: tower.name.clone(), width });
        }
        let sets = self.recipe.pairs.iter().zip(&self.files).map(|(entry, files)| {
            let towers = entry.ends.each_ref().map(|end| end.tower);
            let latents = towers
                .map(|tower| Arc::new(Counted { rows: files.rows, width: inlets[tower].width }) as Arc<dyn Latents>);
            PairSet {
                towers,
                latents,
                weight: entry.weight,
                items: Some([0, 1].map(|_| (0..files.rows as u32).collect())),
            }
        });
        let sets: Vec<PairSet> = sets.collect();
        Ok(Some((inlets, sets)))
    }
}

/// The times of a few steps of some trainings beside what was reckoned for them: small steps take longer than their
/// operations.
#[derive(Default)]
pub(in crate::session) struct Steps {
    /// Seconds that it took to measure.
    spent: f64,
    /// Measured shares of what was reckoned.
    shares: Vec<f64>,
}

impl Steps {
    /// The seconds of a fit for which so many were reckoned. A few are measured, and the others go by these.
    pub(in crate::session) fn corrected(
        &mut self,
        plan: &Plan<'_>,
        towers: &Towers<'_>,
        reckoned: f64,
        device: DeviceChoice,
    ) -> Result<f64, Error> {
        /// Seconds of a fit from which it is worth while.
        const LONG: f64 = 0.5;
        /// Seconds that all measurements may take.
        const MOST: f64 = 4.0;
        let MethodOptions::Fusemix(options) = &plan.options else { return Ok(reckoned) };
        if self.spent < MOST && reckoned >= LONG {
            let start = Instant::now();
            self.shares.extend(measured(plan, options, towers, device)?);
            self.spent += start.elapsed().as_secs_f64();
        }
        let mean = self.shares.iter().sum::<f64>() / self.shares.len().max(1) as f64;
        Ok(if self.shares.is_empty() { reckoned } else { reckoned * mean })
    }
}

/// The time of some epochs of a training as a share of what is reckoned for them; none if these are long.
fn measured(
    plan: &Plan<'_>,
    chosen: &TrainOptions,
    towers: &Towers<'_>,
    device: DeviceChoice,
) -> Result<Option<f64>, Error> {
    /// Seconds of an epoch from which operations tell enough.
    const LONG: f64 = 0.5;
    /// Epochs that are timed.
    const EPOCHS: usize = 3;
    let Some((inlets, sets)) = plan.counted(towers)? else { return Ok(None) };
    let fixed = plan.fixed();
    let problem = Problem { towers: &inlets, fixed: &fixed, sets: &sets, stop: &|| towers.session().should_stop() };
    let Ok(resolved) = chosen.resolve(&chosen.sizes(&sets)) else { return Ok(None) };
    // As the training is, but for what it begins from and ends with.
    let with = |epochs: usize| {
        let (blocks, expansion, width) = (Some(resolved.blocks), Some(resolved.expansion), Some(resolved.width));
        Setting::Fusemix(Box::new(TrainOptions {
            epochs: Some(epochs),
            steps: None,
            start: None,
            patience: None,
            unpaired: None,
            unpaired_batch: None,
            blocks,
            expansion,
            width,
            ..chosen.clone()
        }))
    };
    let reckoned = with(EPOCHS).demand(&problem).seconds;
    if reckoned > LONG * EPOCHS as f64 || reckoned <= 0.0 {
        return Ok(None);
    }
    let engine = Engine { device: device::open(device, false)?, seed: 0, stop: towers.session().stop.clone() };
    let time = |epochs: usize| {
        let start = Instant::now();
        // What goes wrong here goes wrong where it is fitted, and is told there.
        with(epochs).map(&problem, &engine).ok().map(|_| start.elapsed().as_secs_f64())
    };
    let times = time(1).zip(time(1 + EPOCHS));
    Ok(times.map(|(one, all)| ((all - one) / reckoned).max(1e-3)))
}
