//! The learning rate: linear warm-up over the first steps, then a half-cosine decay, epoch by epoch.

use super::resolved::Options;

/// The learning rate of step `step` in epoch `epoch`, both from 0.
pub(super) fn learning_rate(options: &Options, step: usize, epoch: usize) -> f32 {
    let &Options { lr, lr_end, warmup, epochs, .. } = options;
    let share = if step < warmup {
        step as f64 / warmup as f64
    } else {
        (1.0 + (std::f64::consts::PI * epoch as f64 / epochs as f64).cos()) / 2.0
    };
    (f64::from(lr_end) + (f64::from(lr) - f64::from(lr_end)) * share) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::fusemix::TrainOptions;

    #[test]
    fn it_warms_up_by_step_and_falls_by_epoch() {
        let options = TrainOptions { warmup: Some(4), epochs: Some(10), ..TrainOptions::default() };
        let options = options.resolve(&[(1000, 1.0)]).unwrap();
        let rate = |step, epoch| learning_rate(&options, step, epoch);
        assert_eq!([rate(0, 0), rate(4, 0)], [1e-6, 1e-3]);
        assert!((rate(2, 0) - 5.005e-4).abs() < 1e-8);
        assert!((rate(50, 5) - 5.005e-4).abs() < 1e-8);
        assert!(rate(90, 9) < 3e-5);
    }
}
