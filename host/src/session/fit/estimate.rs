//! The time that a fit takes, before its items are encoded.

use std::sync::Arc;

use super::options::MethodOptions;
use super::plan::Plan;
use crate::fit::{PairSet, Problem, Setting};
use crate::latents::Latents;
use crate::session::Error;
use crate::session::towers::Towers;
use crate::space::Inlet;

/// Latents of which only the number is known yet.
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

    fn copy_row(&self, _: usize, out: &mut [f32]) {
        out.fill(0.0);
    }
}

impl Plan<'_> {
    /// The seconds that a fit takes on two cores, or its budget if the method is chosen; none while an encoder does not
    /// tell the width of its latents.
    pub(in crate::session) fn seconds(&self, towers: &Towers<'_>) -> Result<Option<f64>, Error> {
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
}
