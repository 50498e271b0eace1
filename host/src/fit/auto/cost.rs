//! The work that a fit is, in seconds of a nominal machine: what the clock shows would make a choice depend on the
//! load.

use crate::fit::closed_form::ClosedForm;
use crate::fit::folds::Fold;
use crate::fit::fusemix::TrainOptions;
use crate::fit::kernel_cca::anchors;
use crate::fit::setting::Setting;
use crate::fit::{PairSet, Problem};

/// Operations a second of a nominal machine, two cores of a laptop, in double and in single precision.
const DOUBLE: f64 = 6e10;
const SINGLE: f64 = 1.5e11;

/// The work of some settings on a fold.
pub(super) fn of_fold<'s>(settings: impl IntoIterator<Item = &'s Setting>, problem: &Problem<'_>, fold: &Fold) -> f64 {
    let problem = Problem { sets: &fold.train, ..*problem };
    let others = fold.held_out.iter().map(|held| held.keys.len()).max().unwrap_or(0);
    let (mut last, mut total) = (None, 0.0);
    for setting in settings {
        // Of those that share a kernel or axes, the first does nearly all the work.
        let shared = match setting {
            Setting::ClosedForm(ClosedForm::KernelCca(options)) => Some((options.standard, Some(options.tau))),
            Setting::ClosedForm(ClosedForm::Cca(options)) => Some((options.standard, None)),
            Setting::ClosedForm(ClosedForm::Ridge(options)) => Some((options.standard, None)),
            _ => None,
        };
        let share = if shared.is_some() && shared == last { 0.2 } else { 1.0 };
        last = shared;
        total += share * seconds(setting, &problem, others);
    }
    total
}

/// The work of a fit, and of embedding `others` rows of each tower beside its training rows.
pub(in crate::fit) fn seconds(setting: &Setting, problem: &Problem<'_>, others: usize) -> f64 {
    let towers = problem.towers.iter().enumerate();
    let towers: Vec<(f64, f64)> =
        towers.map(|(tower, inlet)| (problem.rows(tower) as f64, inlet.width as f64)).collect();
    let others = others as f64;
    let kernel = |n: f64, d: f64, shared: f64| 2.0 * (n + others) * n * (d + shared);
    let operations: f64 = match setting {
        Setting::Joint(parts) => return parts.iter().map(|(_, part)| seconds(part, problem, others as usize)).sum(),
        Setting::Fusemix(options) => training(options, problem) * DOUBLE / SINGLE,
        Setting::ClosedForm(method) => {
            let of = |(n, d): &(f64, f64)| match method {
                ClosedForm::KernelCca(options) => {
                    let m = anchors(options, *n as usize) as f64;
                    let compared = 2.0 * (2.0 * n + others) * m * (d + options.width as f64);
                    // By landmarks there are two spectra, and the covariance of similarities.
                    let found = if m < *n { 24.0 * m.powi(3) + 2.0 * n * m * m } else { 12.0 * m.powi(3) };
                    compared + found
                }
                ClosedForm::Cca(_) | ClosedForm::Ridge(_) => 6.0 * n * d * d + 20.0 * n.min(*d).powi(3),
                ClosedForm::Procrustes(_) => 4.0 * n * d * d,
                ClosedForm::Asif(options) => {
                    let compressed = if options.width > 0 { 12.0 * n.powi(3) } else { 0.0 };
                    compressed + kernel(*n, *d, options.width as f64)
                }
            };
            towers.iter().map(of).sum()
        }
    };
    operations / DOUBLE
}

fn training(options: &TrainOptions, problem: &Problem<'_>) -> f64 {
    let Ok(options) = options.resolve(&options.sizes(problem.sets)) else { return 0.0 };
    let pairs: f64 = problem.sets.iter().map(|set: &PairSet| set.len() as f64 * f64::from(set.weight)).sum();
    let width = |tower: usize| problem.towers[tower].width as f64;
    let weights = |tower: usize| {
        let block = 2.0 * width(tower).powi(2) * options.expansion as f64;
        block * options.blocks as f64 + width(tower) * options.width as f64
    };
    let towers = problem.towers.len() as f64;
    let of_weights: f64 = (0..problem.towers.len()).map(weights).sum::<f64>() * 2.0 / towers;
    let of_loss = 2.0 * (options.batch * options.width) as f64;
    // Forward and backward, of half as many mixed pairs as there are pairs.
    3.0 * pairs * options.epochs as f64 * (of_weights + of_loss)
}
