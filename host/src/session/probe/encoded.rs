//! The latents of drawn pairs by all encoders of a set.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::drawn::{Drawn, Sides};
use super::set::{By, OfRows, ProbedSet};
use super::{FEWEST, ProbeOptions};
use crate::config::TowerSource;
use crate::dataset::{Dataset, Item, Items};
use crate::encode::Latent;
use crate::plugin::LoadedEncoder;
use crate::session::broken::Broken;
use crate::session::encode::items;
use crate::session::forecast::ColumnForecast;
use crate::session::towers::Towers;
use crate::session::{Error, Session};
use crate::wording::{count, short_path};

/// A side, and what its latents are by.
type Of = (usize, By);

/// Drawn pairs with the latents of all encoders.
pub(super) struct Encoded {
    pub(super) drawn: Drawn,
    latents: BTreeMap<Of, OfRows>,
}

impl Session {
    /// What drawn pairs of a set would send.
    pub(super) fn forecast_set(
        &self,
        set: &ProbedSet<'_>,
        options: ProbeOptions,
    ) -> Result<Vec<ColumnForecast>, Error> {
        let (encoders, mut drawn) = (self.encoders_of(set)?, Drawn::new(self, set, options.seed)?);
        let sides = self.sides_of(set, &drawn.file, &encoders)?;
        drawn.draw(self, set, &sides, options.pairs)?;
        if let Err(error) = drawn.check() {
            tracing::warn!("{error}: so that it is refused, before anything is sent");
        }
        let Dataset::Table(table) = &*drawn.file else { return Ok(Vec::new()) };
        let mut columns = Vec::new();
        for ((side, _), encoder) in &encoders {
            let column = table.column(&set.columns[*side])?;
            let all = items(column, encoder);
            let list: Vec<Item<'_>> = drawn.rows.iter().map(|row| all.item(*row)).collect();
            let forecast =
                self.forecast_items(Items::of(&list, &encoder.description.modality), table.path(), encoder, false)?;
            columns.push(ColumnForecast {
                file: table.path().to_owned(),
                column: column.name().to_owned(),
                encoder: encoder.name.clone(),
                source: set.source.clone(),
                forecast: forecast.ok_or(Error::Stopped)?,
            });
        }
        Ok(columns)
    }

    /// Draws the pairs of a set, and encodes them with all encoders. Where items fail, as many more are drawn as it
    /// takes to measure recall. Encoders that fail are noted, and the first error is returned.
    pub(super) fn encode_set(
        &self,
        set: &ProbedSet<'_>,
        options: ProbeOptions,
        broken: &mut Broken,
    ) -> Result<(Encoded, Option<Error>), Error> {
        let (encoders, mut drawn) = (self.encoders_of(set)?, Drawn::new(self, set, options.seed)?);
        let sides = self.sides_of(set, &drawn.file, &encoders)?;
        drawn.draw(self, set, &sides, options.pairs)?;
        // Whoever refuses does so before anything is paid for.
        drawn.check()?;
        let (mut latents, mut error): (BTreeMap<Of, OfRows>, _) = (BTreeMap::new(), None);
        let mut done = 0;
        loop {
            let rows = drawn.rows[done..].to_vec();
            for side in 0..2 {
                for (by, of_file) in &sides.latents[side] {
                    latents.entry((side, by.clone())).or_default().extend(Sides::of_file(of_file, &rows));
                }
            }
            for (of, encoder) in &encoders {
                if broken.has(&encoder.name) {
                    continue;
                }
                match self.encode_rows(set, (&drawn, of.0), encoder, &rows) {
                    Ok(found) => latents.entry(of.clone()).or_default().extend(found),
                    Err(of) => {
                        let of = broken.note(of)?;
                        error.get_or_insert(of);
                    }
                }
            }
            done = drawn.rows.len();
            let is_broken = |by: &By| matches!(by, By::Encoder(name) if broken.has(name));
            latents.retain(|(_, by), found| !is_broken(by) && found.len() == done);
            leave_out(&mut latents, broken, done);
            let encoded = Encoded { drawn, latents };
            let (common, wanted) = (encoded.common().len(), FEWEST.min(options.pairs));
            // Twice as many items as were asked for are not sent.
            let more = if encoded.latents.is_empty() { 0 } else { wanted.saturating_sub(common) };
            Encoded { drawn, latents } = encoded;
            let before = drawn.rows.len();
            if more > 0 && before < 2 * options.pairs {
                drawn.draw(self, set, &sides, before + more)?;
            }
            if drawn.rows.len() == before {
                return Ok((Encoded { drawn, latents }, error));
            }
        }
    }

    /// The encoders of a set's towers, by side.
    fn encoders_of(&self, set: &ProbedSet<'_>) -> Result<BTreeMap<Of, Arc<LoadedEncoder>>, Error> {
        let mut all = BTreeMap::new();
        for member in &set.members {
            let towers = Towers::new(self, &member.variation.recipe, None);
            for (side, end) in member.ends.iter().enumerate() {
                // Encoders of one modality, or an error at its line.
                towers.modality(end.tower)?;
                all.extend(
                    towers.encoders(end.tower)?.into_iter().map(|of| ((side, By::Encoder(of.name.clone())), of)),
                );
            }
        }
        Ok(all)
    }

    fn sides_of<'a>(
        &self,
        set: &ProbedSet<'_>,
        file: &Dataset,
        encoders: &'a BTreeMap<Of, Arc<LoadedEncoder>>,
    ) -> Result<Sides<'a>, Error> {
        let reading = [0, 1].map(|side| encoders.iter().find(|((of, _), _)| *of == side).map(|(_, encoder)| encoder));
        let mut latents = [Vec::new(), Vec::new()];
        for member in &set.members {
            let towers = Towers::new(self, &member.variation.recipe, None);
            for (side, latents) in latents.iter_mut().enumerate() {
                for by in By::all(member.sources()[side]).into_iter().filter(|by| matches!(by, By::File(_))) {
                    if !latents.iter().any(|(known, _)| *known == by) {
                        latents.push((by, towers.side(member.ends[side].tower, file, &set.columns[side])?));
                    }
                }
            }
        }
        Ok(Sides { reading, latents })
    }

    fn encode_rows(
        &self,
        set: &ProbedSet<'_>,
        (drawn, side): (&Drawn, usize),
        encoder: &Arc<LoadedEncoder>,
        rows: &[usize],
    ) -> Result<OfRows, Error> {
        let Dataset::Table(table) = &*drawn.file else { return Ok(vec![None; rows.len()]) };
        let column = table.column(&set.columns[side])?;
        let all = items(column, encoder);
        let list: Vec<Item<'_>> = rows.iter().map(|row| all.item(*row)).collect();
        let latents = self.stored_latents(encoder, &list)?;
        let failed: Vec<(usize, &String)> =
            latents.iter().enumerate().filter_map(|(at, latent)| Some((at, latent.as_ref().err()?))).collect();
        if let Some((at, reason)) = failed.first() {
            tracing::warn!(
                "{}, column `{}`: encoder `{}` has no latent of {} of {}, the first is row {}, {}: {reason}",
                short_path(table.path()).display(),
                column.name(),
                encoder.name,
                failed.len(),
                count(rows.len(), "item"),
                table.number(rows[*at]),
                list[*at].name(),
            );
        }
        Ok(latents.into_iter().map(Latent::ok).collect())
    }
}

/// Leaves out encoders that have no latent of more than half of the items: others would be judged on what is left.
fn leave_out(latents: &mut BTreeMap<Of, OfRows>, broken: &mut Broken, drawn: usize) {
    latents.retain(|(_, by), found| {
        let By::Encoder(name) = by else { return true };
        let failed = found.iter().filter(|latent| latent.is_none()).count();
        let is_of_use = 2 * failed <= drawn;
        if !is_of_use {
            let reason = format!("encoder `{name}` has no latent of {failed} of {}", count(drawn, "item"));
            broken.leave_out(name, reason);
        }
        is_of_use
    });
}

impl Encoded {
    /// The places of the drawn pairs of which all encoders have a latent.
    pub(super) fn common(&self) -> Vec<usize> {
        let has = |at: &usize| self.latents.values().all(|of| of[*at].is_some());
        (0..self.drawn.rows.len()).filter(has).collect()
    }

    /// Those of which some of them, a tower's, have none.
    pub(super) fn lacks(&self, side: usize, source: &TowerSource, at: usize) -> bool {
        self.of(side, source).any(|found| found[at].is_none())
    }

    /// A tower's latents of some drawn pairs, those of its encoders side by side; and their width.
    pub(super) fn latents(&self, side: usize, source: &TowerSource, places: &[usize]) -> (Vec<f32>, usize) {
        let mut values = Vec::new();
        for at in places {
            self.of(side, source).flat_map(|found| &found[*at]).for_each(|latent| values.extend_from_slice(latent));
        }
        let width = values.len() / places.len().max(1);
        (values, width)
    }

    fn of(&self, side: usize, source: &TowerSource) -> impl Iterator<Item = &OfRows> + use<'_> {
        By::all(source).into_iter().filter_map(move |by| self.latents.get(&(side, by)))
    }
}
