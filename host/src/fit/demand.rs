//! The time and the memory that a fit needs, before it begins.

use super::Problem;
use super::auto::seconds;
use super::closed_form::ClosedForm;
use super::kernel_cca::{self, KERNELS};
use super::setting::Setting;

/// The rough demand of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Seconds of two cores.
    pub seconds: f64,
    /// Bytes of the largest matrices that are in memory at once.
    pub bytes: u64,
}

impl Setting {
    /// The demand of a fit.
    pub fn demand(&self, problem: &Problem<'_>) -> Demand {
        Demand { seconds: seconds(self, problem, 0), bytes: self.bytes(problem) }
    }

    fn bytes(&self, problem: &Problem<'_>) -> u64 {
        let rows = || (0..problem.towers.len()).map(|tower| problem.rows(tower));
        let square = |rows: usize| KERNELS * size_of::<f64>() as u64 * (rows as u64).pow(2);
        match self {
            Self::ClosedForm(ClosedForm::KernelCca(options)) => {
                rows().map(|rows| kernel_cca::memory(options, rows)).max().unwrap_or(0)
            }
            Self::ClosedForm(ClosedForm::Asif(options)) if options.width > 0 => rows().map(square).max().unwrap_or(0),
            Self::ClosedForm(_) => problem.towers.iter().map(|tower| square(tower.width)).max().unwrap_or(0),
            // A training keeps to the memory that there is.
            Self::Fusemix(_) => 0,
            Self::Joint(parts) => parts.iter().map(|(_, part)| part.bytes(problem)).max().unwrap_or(0),
        }
    }
}
