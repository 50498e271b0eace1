//! Changes of single latents in training, as others make them in FuseMix's place: noise, random quantisation, random
//! projections. A latent of either side is changed by itself; the pair stays a pair.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

use super::resolved::Options;
use crate::latents::{Latents, magnitude};

/// The change of latents in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// Mixed pairs: FuseMix.
    #[default]
    Fusemix,
    /// None.
    None,
    /// One side mixed, and the other items of both pairs as its virtual labels: i-Mix (Lee et al., ICLR 2021).
    #[serde(rename = "i-mix")]
    IMix,
    /// Pairs mixed along the arc between their embeddings, as more negatives: m2-Mix (Oh et al., NeurIPS 2023).
    #[serde(rename = "m2-mix")]
    M2Mix,
    /// Gaussian noise on each value.
    Noise,
    /// Values replaced by one of their region, where the regions of a latent's range are random (Wu et al., ICCV 2023).
    Quantise,
    /// A random subspace is left out, another one in each step.
    Project,
}

/// The unit with its own mixing weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mixup {
    /// Each step, as in the reference implementation.
    Batch,
    /// Each mixed pair: equally good in our measurements.
    #[default]
    Pair,
}

impl Augment {
    /// True if pairs are mixed.
    pub(super) fn mixes(&self) -> bool {
        *self == Self::Fusemix
    }

    /// True if latents are changed one by one.
    pub(super) fn changes(self) -> bool {
        matches!(self, Self::Noise | Self::Quantise | Self::Project)
    }
}

/// The change of one tower's latents.
pub(super) struct Change {
    kind: Kind,
    width: usize,
    /// The subspace of the draw that was changed last, by the draw's seed.
    basis: Mutex<Option<(u64, Arc<Vec<f32>>)>>,
}

enum Kind {
    /// The deviation of the noise.
    Noise(f32),
    /// Regions of a latent's range.
    Quantise(usize),
    /// Directions that are left out.
    Project(usize),
}

/// The change of the rows of one draw.
pub(super) struct Changed<'a> {
    kind: &'a Kind,
    seed: u64,
    basis: Option<Arc<Vec<f32>>>,
}

impl Change {
    /// That of `latents`; none if the options change none.
    pub(super) fn of(options: &Options, latents: &dyn Latents) -> Option<Self> {
        let width = latents.width();
        let kind = match options.augment {
            Augment::Fusemix | Augment::IMix | Augment::M2Mix | Augment::None => return None,
            Augment::Noise => {
                let size = magnitude(latents).unwrap_or(0.0) as f32;
                Kind::Noise(options.noise.unwrap_or(0.0) * size)
            }
            Augment::Quantise => Kind::Quantise(options.regions.unwrap_or(1)),
            Augment::Project => Kind::Project((options.removed.unwrap_or(0.0) * width as f32).round() as usize),
        };
        Some(Self { kind, width, basis: Mutex::default() })
    }

    /// That of a draw with this seed.
    pub(super) fn begin(&self, seed: u64) -> Changed<'_> {
        let basis = match self.kind {
            Kind::Project(directions) => {
                let mut known = self.basis.lock().unwrap_or_else(PoisonError::into_inner);
                let fresh = || {
                    let mut random = ChaCha8Rng::seed_from_u64(seed);
                    let normal: Vec<f32> =
                        (0..directions * self.width).map(|_| StandardNormal.sample(&mut random)).collect();
                    (seed, Arc::new(orthonormal(normal, self.width)))
                };
                if known.as_ref().is_none_or(|(of, _)| *of != seed) {
                    *known = Some(fresh());
                }
                known.as_ref().map(|(_, basis)| basis.clone())
            }
            _ => None,
        };
        Changed { kind: &self.kind, seed, basis }
    }
}

impl Changed<'_> {
    /// Changes row `at` of the draw: the same way each time that it is asked for.
    pub(super) fn apply(&self, at: usize, row: &mut [f32]) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(1 + at as u64);
        match *self.kind {
            Kind::Noise(deviation) => {
                let normal: Vec<f32> = row.iter().map(|_| StandardNormal.sample(&mut random)).collect();
                noise(row, deviation, &normal);
            }
            Kind::Quantise(regions) => {
                let mut draw = |count: usize| (0..count).map(|_| random.random_range(0.0..1.0)).collect::<Vec<f32>>();
                let (cuts, places) = (draw(regions - 1), draw(regions));
                quantise(row, cuts, &places);
            }
            Kind::Project(_) => self.basis.iter().for_each(|basis| leave_out(row, basis)),
        }
    }
}

/// `z + deviation n`.
fn noise(row: &mut [f32], deviation: f32, normal: &[f32]) {
    row.iter_mut().zip(normal).for_each(|(value, normal)| *value += deviation * normal);
}

/// Each value becomes that of its region: the range from the smallest value to the largest is cut at shares `cuts` of
/// it, and a region stands for its value at a share `places` of itself.
fn quantise(row: &mut [f32], mut cuts: Vec<f32>, places: &[f32]) {
    let (least, most) = row.iter().fold((f32::MAX, f32::MIN), |(least, most), &z| (least.min(z), most.max(z)));
    cuts.sort_unstable_by(f32::total_cmp);
    let ends: Vec<f32> = [0.0].into_iter().chain(cuts).chain([1.0]).map(|cut| least + cut * (most - least)).collect();
    for value in row {
        let region = ends[1..ends.len() - 1].partition_point(|end| end <= value);
        *value = ends[region] + places[region] * (ends[region + 1] - ends[region]);
    }
}

/// `z - sum over q of (q . z) q`, for rows q of length 1 that are orthogonal.
fn leave_out(row: &mut [f32], basis: &[f32]) {
    for direction in basis.chunks_exact(row.len()) {
        let share: f32 = direction.iter().zip(&*row).map(|(q, z)| q * z).sum();
        row.iter_mut().zip(direction).for_each(|(z, q)| *z -= share * q);
    }
}

/// Rows of length 1 that are orthogonal and span what `rows` do, by Gram and Schmidt, twice.
fn orthonormal(mut rows: Vec<f32>, width: usize) -> Vec<f32> {
    for at in 0..rows.len() / width {
        let (before, rest) = rows.split_at_mut(at * width);
        let row = &mut rest[..width];
        (0..2).for_each(|_| leave_out(row, before));
        crate::space::unit(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What tests/golden/augment.py computes with PyTorch, from the same random numbers.
    fn golden() -> Value {
        serde_json::from_str(include_str!("../../../../tests/golden/augment.json")).unwrap()
    }

    fn floats(value: &Value) -> Vec<f32> {
        value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
    }

    fn check(found: &[f32], expected: &Value, what: &str) {
        for (found, expected) in found.iter().zip(floats(expected)) {
            assert!((found - expected).abs() < 1e-5, "{what}: {found} {expected}");
        }
    }

    #[test]
    fn each_change_is_its_definition_in_pytorch() {
        let golden = golden();
        let latent = || floats(&golden["latent"]);
        let mut row = latent();
        noise(&mut row, golden["deviation"].as_f64().unwrap() as f32, &floats(&golden["normal"]));
        check(&row, &golden["noise"], "noise");
        let mut row = latent();
        quantise(&mut row, floats(&golden["cuts"]), &floats(&golden["places"]));
        check(&row, &golden["quantise"], "quantise");
        let mut row = latent();
        let basis = orthonormal(floats(&golden["directions"]), row.len());
        leave_out(&mut row, &basis);
        check(&row, &golden["project"], "project");
    }

    #[test]
    fn a_row_is_changed_the_same_way_each_time_and_others_otherwise() {
        let kinds = [Kind::Noise(0.1), Kind::Quantise(4), Kind::Project(3)];
        for (number, kind) in kinds.into_iter().enumerate() {
            let change = Change { kind, width: 12, basis: Mutex::default() };
            let row = |seed: u64, at: usize| {
                let mut row: Vec<f32> = (0..12).map(|value| (value as f32).sin()).collect();
                change.begin(seed).apply(at, &mut row);
                row
            };
            assert_eq!(row(1, 5), row(1, 5));
            assert_ne!(row(1, 5), row(2, 5));
            // A projection is that of the whole step.
            assert_eq!(row(1, 5) == row(1, 6), number == 2);
        }
    }
}
