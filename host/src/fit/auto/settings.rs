//! The settings that a choice is made from: each method, and a few values of the options that matter most.

use crate::fit::asif::AsifOptions;
use crate::fit::cca::CcaOptions;
use crate::fit::closed_form::ClosedForm;
use crate::fit::fusemix::{Start, TrainOptions};
use crate::fit::kernel_cca::KernelCcaOptions;
use crate::fit::procrustes::ProcrustesOptions;
use crate::fit::ridge::RidgeOptions;
use crate::fit::setting::Setting;
use crate::fit::{FitError, Problem, Standard};

/// All of them; the first is the one to take where nothing tells them apart.
pub(super) fn usual(problem: &Problem<'_>) -> Result<Vec<Setting>, FitError> {
    let mut all = Vec::new();
    let mut add = |method: ClosedForm| {
        let setting = Setting::ClosedForm(method);
        if !all.contains(&setting) {
            all.push(setting);
        }
    };
    add(ClosedForm::KernelCca(KernelCcaOptions::default().resolve()?));
    // Those of one kernel come one after the other: they share its eigenvectors.
    for (standard, taus) in [(Standard::Deviation, [0.5, 0.35].as_slice()), (Standard::Length, &[0.5, 0.35, 0.7])] {
        for &tau in taus {
            for rho in [1.0, 0.5, 2.0] {
                let options =
                    KernelCcaOptions { tau: Some(tau), rho: Some(rho), standard: Some(standard), ..Default::default() };
                add(ClosedForm::KernelCca(options.resolve()?));
            }
        }
    }
    for rho in [2.0, 1.0, 4.0] {
        add(ClosedForm::Cca(CcaOptions { rho: Some(rho), ..Default::default() }.resolve()?));
    }
    for rho in [0.3, 0.1, 1.0] {
        add(ClosedForm::Ridge(RidgeOptions { rho: Some(rho), ..Default::default() }.resolve()?));
    }
    add(ClosedForm::Procrustes(ProcrustesOptions::default().resolve()?));
    for power in [3.0, 2.0, 5.0] {
        add(ClosedForm::Asif(AsifOptions { power: Some(power), ..Default::default() }.resolve()?));
    }
    // Into a space that exists, adapters end in its width.
    let fixed = problem.towers.iter().zip(problem.fixed).find_map(|(tower, fixed)| fixed.then_some(tower.width));
    all.push(Setting::Fusemix(Box::new(TrainOptions { width: fixed, ..TrainOptions::default() })));
    if fixed.is_none() {
        let start = Some(Start::KernelCca);
        all.push(Setting::Fusemix(Box::new(TrainOptions { start, ..TrainOptions::default() })));
    }
    Ok(all)
}
