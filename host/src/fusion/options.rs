//! `[train]` of a recipe, and the defaults that fit the number of pairs.

use serde::{Deserialize, Serialize};

/// `[train]` as the user wrote it; what is left out is chosen by [`TrainOptions::resolve`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// Blocks of an adapter, the paper's L.
    pub blocks: Option<usize>,
    /// Inner width of a block in widths of its latents.
    pub expansion: Option<usize>,
    /// Width of the shared space.
    pub width: Option<usize>,
    /// The share of a block's inner values that are left out.
    pub dropout: Option<f32>,
    /// Passes over the pairs.
    pub epochs: Option<usize>,
    /// Mixed pairs a step, the paper's B; twice as many are drawn.
    pub batch: Option<usize>,
    /// The mixing weight is drawn from Beta(alpha, alpha).
    pub mixup_alpha: Option<f32>,
    /// The learning rate after warm-up.
    pub lr: Option<f32>,
    /// The learning rate before the first step and after the last.
    pub lr_end: Option<f32>,
    /// Steps until the learning rate is reached.
    pub warmup: Option<usize>,
    /// Decay of the weight matrices.
    pub weight_decay: Option<f32>,
    /// The temperature at the start.
    pub temperature: Option<f32>,
    /// Epochs between two evaluations on the validation pairs; 0 for none but the last.
    pub eval_every: Option<usize>,
}

/// Training options with every value known. Written as TOML, it reads back as [`TrainOptions`] that resolve to itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of TrainOptions")]
pub struct Options {
    pub blocks: usize,
    pub expansion: usize,
    pub width: usize,
    pub dropout: f32,
    pub epochs: usize,
    pub batch: usize,
    pub mixup_alpha: f32,
    pub lr: f32,
    pub lr_end: f32,
    pub warmup: usize,
    pub weight_decay: f32,
    pub temperature: f32,
    pub eval_every: usize,
}

/// A training option that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key} = {value}` in [train]: {reason}")]
#[allow(missing_docs, reason = "the message says it")]
pub struct OptionError {
    pub key: &'static str,
    pub value: String,
    pub reason: String,
}

/// Data sets below this many pairs are small: one shallow block, some hundred steps.
const SMALL: usize = 5_000;
/// Steps that the default number of epochs makes on large data, before the paper's 500 epochs cap it.
const STEPS: usize = 10_000;

impl TrainOptions {
    /// The options for training on `pairs` pairs, those of the largest pair set.
    pub fn resolve(&self, pairs: usize) -> Result<Options, OptionError> {
        let small = pairs < SMALL;
        let batch = self.batch.unwrap_or(if small { 256 } else { 20_480.min(pairs / 8) }).min(pairs / 2);
        let epoch = (pairs / (2 * batch).max(1)).max(1);
        let epochs = self.epochs.unwrap_or(if small { (60 / epoch).max(15) } else { (STEPS / epoch).clamp(20, 500) });
        let options = Options {
            blocks: self.blocks.unwrap_or(if small { 1 } else { 4 }),
            expansion: self.expansion.unwrap_or(if small { 1 } else { 4 }),
            width: self.width.unwrap_or(if small { 1024 } else { 512 }),
            dropout: self.dropout.unwrap_or(0.6),
            epochs,
            batch,
            mixup_alpha: self.mixup_alpha.unwrap_or(1.0),
            lr: self.lr.unwrap_or(1e-3),
            lr_end: self.lr_end.unwrap_or(1e-6),
            warmup: self.warmup.unwrap_or((epochs * epoch / 10).min(100)),
            weight_decay: self.weight_decay.unwrap_or(0.1),
            temperature: self.temperature.unwrap_or(0.07),
            eval_every: self.eval_every.unwrap_or(epochs.div_ceil(20)),
        };
        options.check(pairs)
    }
}

impl Options {
    fn check(self, pairs: usize) -> Result<Self, OptionError> {
        let finite = |value: f32, least: f32| value.is_finite() && value >= least;
        let wrong = |key, value: &dyn ToString, reason: &str| {
            Err(OptionError { key, value: value.to_string(), reason: reason.to_owned() })
        };
        match &self {
            o if o.batch < 2 && pairs >= 4 => wrong("batch", &o.batch, "a step needs at least 2 mixed pairs"),
            o if o.width == 0 => wrong("width", &o.width, "the shared space needs at least one dimension"),
            o if o.expansion == 0 => wrong("expansion", &o.expansion, "must be at least 1"),
            o if o.epochs == 0 => wrong("epochs", &o.epochs, "must be at least 1"),
            o if !(0.0..1.0).contains(&o.dropout) => wrong("dropout", &o.dropout, "must be from 0 to below 1"),
            o if !finite(o.mixup_alpha, f32::MIN_POSITIVE) => wrong("mixup_alpha", &o.mixup_alpha, "must be above 0"),
            o if !finite(o.lr, 0.0) => wrong("lr", &o.lr, "must be a number from 0"),
            o if !finite(o.lr_end, 0.0) => wrong("lr_end", &o.lr_end, "must be a number from 0"),
            o if !finite(o.weight_decay, 0.0) => wrong("weight_decay", &o.weight_decay, "must be a number from 0"),
            o if !(0.001..=0.5).contains(&o.temperature) => {
                wrong("temperature", &o.temperature, "must be from 0.001 to 0.5")
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_resolved_resolves_to_itself() {
        for pairs in [10, 516, 4_999, 5_000, 100_000, 3_000_000] {
            let options = TrainOptions { blocks: Some(3), ..TrainOptions::default() }.resolve(pairs).unwrap();
            let again: TrainOptions = toml::from_str(&toml::to_string(&options).unwrap()).unwrap();
            assert_eq!(again.resolve(pairs).unwrap(), options);
        }
    }

    #[test]
    fn large_data_gets_the_papers_recipe() {
        let options = TrainOptions::default().resolve(5_000_000).unwrap();
        assert_eq!((options.batch, options.blocks, options.expansion, options.width), (20_480, 4, 4, 512));
        assert_eq!(options.warmup, 100);
    }

    #[test]
    fn impossible_options_are_named() {
        let error = |options: TrainOptions, pairs| options.resolve(pairs).unwrap_err().to_string();
        let dropout = TrainOptions { dropout: Some(1.0), ..TrainOptions::default() };
        assert_eq!(error(dropout, 100), "`dropout = 1` in [train]: must be from 0 to below 1");
        let batch = TrainOptions { batch: Some(1), ..TrainOptions::default() };
        assert_eq!(error(batch, 100), "`batch = 1` in [train]: a step needs at least 2 mixed pairs");
    }
}
