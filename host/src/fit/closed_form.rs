//! The methods in closed form, by their options.

use serde::{Deserialize, Serialize};

use super::asif::AsifOptions;
use super::cca::{CcaOptions, Spectra};
use super::hubs::against_hubs;
use super::kernel_cca::{KernelCcaOptions, Kernels};
use super::options::{count, number};
use super::procrustes::ProcrustesOptions;
use super::ridge::RidgeOptions;
use super::{FitError, Problem, Standard, asif, cca, kernel_cca, procrustes, ridge};
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

/// Work that fits to one problem have in common.
#[derive(Default)]
pub(super) struct InCommon {
    kernels: Option<Kernels>,
    spectra: Option<Spectra>,
}

impl InCommon {
    fn kernels(&mut self, problem: &Problem<'_>, options: &kernel_cca::Options) -> Result<&Kernels, FitError> {
        // The old one goes before the next is made, so that memory holds one.
        self.kernels = self.kernels.take().filter(|kernels| kernels.serves(options));
        match &mut self.kernels {
            Some(kernels) => Ok(kernels),
            none => Ok(none.insert(Kernels::new(problem, options)?)),
        }
    }

    fn spectra(&mut self, problem: &Problem<'_>, standard: Standard) -> Result<&Spectra, FitError> {
        self.spectra = self.spectra.take().filter(|spectra| spectra.serves(standard));
        match &mut self.spectra {
            Some(spectra) => Ok(spectra),
            none => Ok(none.insert(Spectra::new(problem, standard)?)),
        }
    }
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
        let hubness = number("hubness", self.hubness, default, 0.0..=Hubness::MOST, "at least 0 and at most 0.99")?;
        Ok(Hubs { hubness, neighbours: count("neighbours", self.neighbours, Self::NEIGHBOURS)? })
    }

    const NEIGHBOURS: usize = 16;
    /// The weight of the term in closed forms.
    pub const HUBNESS: f32 = 0.25;
}

impl ClosedForm {
    /// The same method with its defaults.
    pub(super) fn usual(&self) -> Self {
        let usual = match self {
            Self::KernelCca(_) => KernelCcaOptions::default().resolve().map(Self::KernelCca),
            Self::Cca(_) => CcaOptions::default().resolve().map(Self::Cca),
            Self::Ridge(_) => RidgeOptions::default().resolve().map(Self::Ridge),
            Self::Procrustes(_) => ProcrustesOptions::default().resolve().map(Self::Procrustes),
            Self::Asif(_) => AsifOptions::default().resolve().map(Self::Asif),
        };
        usual.expect("defaults are valid")
    }

    /// The map of all towers.
    pub(crate) fn map(&self, problem: &Problem<'_>) -> Result<Map, FitError> {
        self.map_with(problem, &mut InCommon::default())
    }

    /// The map of all towers; what fits of other options to the same problem have in common is left in `in_common`.
    pub(super) fn map_with(&self, problem: &Problem<'_>, in_common: &mut InCommon) -> Result<Map, FitError> {
        match self {
            Self::KernelCca(options) => kernel_cca::fit(problem, in_common.kernels(problem, options)?, options),
            Self::Cca(options) => cca::fit(problem, in_common.spectra(problem, options.standard)?, options),
            Self::Ridge(options) => ridge::fit(problem, in_common.spectra(problem, options.standard)?, options),
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
