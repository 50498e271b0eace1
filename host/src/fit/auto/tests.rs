use std::sync::Arc;

use super::*;
use crate::device::Cpu;
use crate::fit::PairSet;
use crate::fit::asif::AsifOptions;
use crate::fit::cca::CcaOptions;
use crate::fit::closed_form::ClosedForm;
use crate::fit::closed_form::HubsOptions;
use crate::fit::kernel_cca::KernelCcaOptions;
use crate::fit::procrustes::ProcrustesOptions;
use crate::latents::{Dense, Latents};
use crate::space::Inlet;
use crate::stop::Stop;

/// Two views of hidden coordinates, of which the second is bent or not.
fn pairs(count: usize, bent: bool) -> PairSet {
    let hidden = |row: usize, at: usize| ((row * 7919 + at * 104_729) % 997) as f32 / 997.0 - 0.5;
    let view = |width: usize, bent: bool| -> Arc<dyn Latents> {
        let value = |row: usize, column: usize| -> f32 {
            let noise = ((row * 31_337 + column * 271 + width) % 101) as f32 / 101.0 - 0.5;
            let sum =
                (0..5).map(|at| hidden(row, at) * (((column * 31 + at * 17 + width) % 13) as f32 - 6.0)).sum::<f32>();
            if bent { (1.5 * sum).sin() + 0.1 * noise } else { sum + 0.5 * noise }
        };
        let values = (0..count).flat_map(|row| (0..width).map(move |column| value(row, column))).collect();
        Arc::new(Dense::new(values, width))
    };
    PairSet { towers: [0, 1], latents: [view(24, false), view(18, bent)], weight: 1.0, items: None }
}

fn among() -> Vec<Setting> {
    [
        ClosedForm::KernelCca(KernelCcaOptions::default().resolve().unwrap()),
        ClosedForm::KernelCca(KernelCcaOptions { tau: Some(0.001), ..Default::default() }.resolve().unwrap()),
        ClosedForm::Cca(CcaOptions::default().resolve().unwrap()),
        ClosedForm::Procrustes(ProcrustesOptions::default().resolve().unwrap()),
        ClosedForm::Asif(AsifOptions::default().resolve().unwrap()),
    ]
    .map(Setting::ClosedForm)
    .into()
}

fn chosen(sets: &[PairSet], among: Vec<Setting>, seed: u64, budget: f64) -> Choice {
    tried(sets, among, seed, budget).unwrap()
}

fn tried(sets: &[PairSet], among: Vec<Setting>, seed: u64, budget: f64) -> Result<Choice, FitError> {
    let towers = [("left", 24), ("right", 18)].map(|(name, width)| Inlet { name: name.to_owned(), width });
    let problem = Problem { towers: &towers, fixed: &[false; 2], sets, stop: &|| false };
    let engine = Engine { device: Arc::new(Cpu::default()), seed, stop: Stop::default() };
    let hubs = HubsOptions::default().resolve(0.25).unwrap();
    choose(&problem, Some(among), hubs, Budget(budget), &engine, &mut |done, total, _| assert!(done <= total))
}

#[test]
fn the_choice_is_the_best_in_cross_validation_and_the_same_again() {
    let sets = [pairs(300, true)];
    let choice = chosen(&sets, among(), 3, 60.0);
    let best = choice.trials.iter().map(|trial| trial.recall.unwrap().mean).fold(0.0, f64::max);
    let of_chosen = choice.trials.iter().find(|trial| trial.setting == choice.setting.describe()).unwrap();
    assert!(of_chosen.recall.unwrap().mean > best - 3.0, "{choice:#?}");
    assert_eq!(of_chosen.apart, None);
    // What was clearly worse dropped out early.
    let bad = choice.trials.iter().find(|trial| trial.setting.contains("tau=0.001")).unwrap();
    assert!(bad.recall.unwrap().mean < best - 5.0 && bad.folds < of_chosen.folds, "{choice:#?}");
    let again = chosen(&sets, among(), 3, 60.0);
    assert_eq!((again.setting, again.trials), (choice.setting, choice.trials));
}

#[test]
fn methods_that_all_fail_are_named_with_their_reasons() {
    // Three items: without those of a fold, two are left.
    let few = (0..300 * 24).map(|at| if at / 24 % 3 == at % 24 { 1.0 } else { 0.0 }).collect();
    let mut sets = [pairs(300, false)];
    sets[0].latents[0] = Arc::new(Dense::new(few, 24));
    let among: Vec<Setting> =
        among().into_iter().filter(|one| ["kernel-cca", "asif"].contains(&one.method())).collect();
    let error = tried(&sets, among, 0, 60.0).unwrap_err().to_string();
    let reason = "kernel-cca, asif: a fit needs at least 4 different items of a tower, but `left` has 2";
    assert_eq!(error, format!("no method can be fitted to these pairs: {reason}"));
}

#[test]
fn equals_leave_the_first() {
    let mut twice = among();
    twice.truncate(1);
    let options = KernelCcaOptions { rank: Some(799), ..Default::default() }.resolve().unwrap();
    twice.push(Setting::ClosedForm(ClosedForm::KernelCca(options)));
    let choice = chosen(&[pairs(200, true)], twice.clone(), 0, 60.0);
    assert_eq!(choice.setting, twice[0]);
}

#[test]
fn few_pairs_leave_the_default_and_a_small_budget_takes_few_pairs() {
    let choice = chosen(&[pairs(9, false)], among(), 0, 60.0);
    assert_eq!(choice.setting, among()[0]);
    assert!(choice.reason.contains("so few pairs"), "{}", choice.reason);
    let choice = chosen(&[pairs(2500, false)], among(), 0, 0.5);
    assert!(choice.pairs < 1500, "{}", choice.pairs);
    assert!(choice.taken < 2000 && choice.available == 2500, "{choice:#?}");
}
