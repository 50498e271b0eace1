//! The methods in closed form, by their options.

use serde::{Deserialize, Serialize};

use super::hubs::against_hubs;
use super::options::{count, number};
use super::{FitError, Problem, asif, cca, kernel_cca, procrustes, ridge};
use crate::space::{Hubness, Map, Space};

/// A method with its options.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the modules say it")]
pub enum ClosedForm {
    KernelCca(kernel_cca::Options),
    Cca(cca::Options),
    Ridge(ridge::Options),
    Procrustes(procrustes::Options),
    Asif(asif::Options),
}

/// The term against hubs in `[fit]`, as the user wrote it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HubsOptions {
    /// The weight of the term; 0 for none.
    pub hubness: Option<f32>,
    /// The training items nearest to an item that the term is the mean of.
    pub neighbours: Option<usize>,
}

/// The term against hubs with every value known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of HubsOptions")]
pub struct Hubs {
    pub hubness: f32,
    pub neighbours: usize,
}

impl HubsOptions {
    /// The options, with a default for what is not set.
    pub fn resolve(&self, default: f32) -> Result<Hubs, FitError> {
        let hubness = number("hubness", self.hubness, default, 0.0, "a number of at least 0")?;
        if hubness > Hubness::MOST {
            return Err(FitError::Option { key: "hubness", value: hubness.to_string(), wanted: "at most 0.99" });
        }
        Ok(Hubs { hubness, neighbours: count("neighbours", self.neighbours, Self::NEIGHBOURS)? })
    }

    const NEIGHBOURS: usize = 16;
    /// The weight of the term in closed forms.
    pub const HUBNESS: f32 = 0.25;
}

impl ClosedForm {
    /// The map of all towers.
    pub(crate) fn map(&self, problem: &Problem<'_>) -> Result<Map, FitError> {
        match self {
            Self::KernelCca(options) => kernel_cca::fit(problem, options),
            Self::Cca(options) => cca::fit(problem, options),
            Self::Ridge(options) => ridge::fit(problem, options),
            Self::Procrustes(options) => procrustes::fit(problem, options),
            Self::Asif(options) => asif::fit(problem, options),
        }
    }

    /// The space, with a term against hubs.
    pub fn fit(&self, problem: &Problem<'_>, hubs: Hubs) -> Result<Space, FitError> {
        let space = Space::new(problem.towers.to_vec(), self.map(problem)?);
        against_hubs(space, problem, hubs.hubness, hubs.neighbours)
    }
}

#[cfg(test)]
mod tests;
