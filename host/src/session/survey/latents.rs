//! What is in a file of latents.

use rayon::prelude::*;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

use super::{Problem, Survey, SurveyOptions};
use crate::dataset::{Dataset, Missing, Precomputed, PrecomputedLatents, Source};
use crate::latents::Latents;
use crate::session::{Error, Session};

/// A tensor of a file of latents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SurveyedLatents {
    /// Its name; empty in a file of one array.
    pub tensor: String,
    /// The kind of its numbers, as the file calls it.
    pub stored: String,
    /// Rows, and the values of each; other tensors have another shape.
    pub shape: Vec<usize>,
    /// The reason why its rows are no latents, if they are none.
    pub unusable: Option<String>,
    /// What its values are; none if they were not read.
    pub values: Option<SurveyedValues>,
    /// The first rows that are equal to an earlier one, with that, from 1.
    pub repeated: Vec<[usize; 2]>,
}

/// Rows of latents by what their values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SurveyedValues {
    /// Rows of NaN alone, as exports have for items that failed.
    pub failed: usize,
    /// Other rows with a value that is not finite.
    pub not_finite: usize,
    /// Rows whose values are a million times those of the others.
    pub far: usize,
    /// Rows of zeros alone, which have no direction.
    pub zeros: usize,
    /// Rows that are equal to an earlier one, without those of NaN.
    pub repeated: usize,
}

/// Repeated rows that are named.
const TOLD: usize = 20;

/// A row that cannot be used, from 0, and the reason.
type Unusable = (usize, &'static str);

/// A row that is equal to an earlier one, and that, from 1.
type Repeat = [usize; 2];

impl Session {
    /// Surveys a file of latents.
    pub(super) fn survey_latents(&self, source: &Source, options: &SurveyOptions) -> Result<Survey, Error> {
        let Dataset::Precomputed(file) = source.open()? else { return self.survey(source, options) };
        if options.against.is_some() {
            return Err(Error::NothingToCompare { path: source.path.clone() });
        }
        let (mut latents, mut problems) = (Vec::new(), Vec::new());
        for (tensor, stored, shape) in file.tensors_stored()? {
            let mut surveyed =
                SurveyedLatents { tensor, stored, shape, unusable: None, values: None, repeated: Vec::new() };
            match file.matrix(&surveyed.tensor) {
                Ok(matrix) if options.read => {
                    let (values, rows, repeated) = self.values(&matrix)?;
                    (surveyed.values, surveyed.repeated) = (Some(values), repeated);
                    let of =
                        if surveyed.tensor.is_empty() { String::new() } else { format!("`{}`: ", surveyed.tensor) };
                    let problem = |(row, reason)| Problem { row: row + 1, reason: format!("{of}{reason}") };
                    problems.extend(rows.into_iter().map(problem));
                }
                Ok(_) => {}
                Err(error) => surveyed.unusable = Some(error.to_string()),
            }
            latents.push(surveyed);
        }
        // Without one that can be used it is no such file.
        if let Some(first) = latents.first().filter(|_| latents.iter().all(|latents| latents.unusable.is_some())) {
            drop(file.matrix(&first.tensor)?);
        }
        let rows = latents.iter().filter(|latents| latents.unusable.is_none()).filter_map(|of| of.shape.first());
        problems.sort();
        Ok(Survey {
            file: source.path.clone(),
            format: format_of(&file),
            rows: rows.copied().max().unwrap_or(0),
            columns: Vec::new(),
            notes: Vec::new(),
            items: None,
            captions: None,
            latents,
            gaps: Vec::new(),
            problems,
            against: None,
        })
    }

    /// The rows of a matrix by what they are; those that cannot be used, from 0, with the reasons; and the first that
    /// repeat an earlier one, with that, from 1.
    fn values(&self, matrix: &PrecomputedLatents) -> Result<(SurveyedValues, Vec<Unusable>, Vec<Repeat>), Error> {
        let Missing { empty, broken, far } = matrix.missing();
        let rows: Vec<(blake3::Hash, bool)> = (0..matrix.len())
            .into_par_iter()
            .map_init(
                || vec![0.0; matrix.width()],
                |values, row| {
                    if self.should_stop() {
                        return (blake3::hash(b""), false);
                    }
                    matrix.copy_row(row, values);
                    (blake3::hash(&matrix.row_content(row)), values.iter().all(|value| *value == 0.0))
                },
            )
            .collect();
        if self.should_stop() {
            return Err(Error::Stopped);
        }
        let failed: HashSet<usize> = empty.iter().copied().collect();
        let (mut seen, mut repeated, mut first) = (HashMap::new(), 0, Vec::new());
        for (row, (hash, _)) in rows.iter().enumerate().filter(|(row, _)| !failed.contains(row)) {
            let earlier = *seen.entry(*hash).or_insert(row);
            if earlier != row {
                repeated += 1;
                if first.len() < TOLD {
                    first.push([row + 1, earlier + 1]);
                }
            }
        }
        let zeros: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].1).collect();
        let values = SurveyedValues {
            failed: empty.len(),
            not_finite: broken.len(),
            far: far.len(),
            zeros: zeros.len(),
            repeated,
        };
        let of = |rows: Vec<usize>, reason: &'static str| rows.into_iter().map(move |row| (row, reason));
        let problems = of(empty, "all values are NaN, as of an item that failed")
            .chain(of(broken.into_iter().map(|(row, _)| row).collect(), "some values are not finite"))
            .chain(of(far, "its values are a million times those of other rows"))
            .chain(of(zeros, "all values are 0, so that it has no direction"));
        Ok((values, problems.collect(), first))
    }
}

/// The name of a file's format.
fn format_of(file: &Precomputed) -> &'static str {
    match file.path().extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
        true => "latents in a NumPy array",
        false => "latents in safetensors",
    }
}
