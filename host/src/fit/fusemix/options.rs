//! `[train]` of a recipe, and the defaults that fit the number of pairs.

use serde::{Deserialize, Serialize};

use super::augment::{Augment, Mixup};
use super::error::OptionError;
use super::objective::{Captions, Loss, TargetKind};
use super::resolved::Options;
use super::sizes::{LEAST_ALPHA, Size};
use super::start::Start;
use crate::bytes::Bytes;
use crate::kernels::Precision;

/// `[train]` as the user wrote it; missing values are chosen by [`TrainOptions::resolve`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// What the adapters begin from: "random", "cca" or "kernel-cca".
    pub start: Option<Start>,
    /// The loss: "infonce" or "sigmoid".
    pub loss: Option<Loss>,
    /// The bias of the sigmoid's logits.
    pub sigmoid_bias: Option<f32>,
    /// The pairs that a row belongs to: its own in "pairs", all that share an item in "items", or "similar" ones.
    pub targets: Option<TargetKind>,
    /// The pairs of an item that has several, in an epoch: "all" or "one".
    pub captions: Option<Captions>,
    /// Whether pairs that share an item are no negatives of each other.
    pub mask_items: Option<bool>,
    /// The share of a soft target that goes by similarity; the rest is the pair's own.
    pub target_share: Option<f32>,
    /// The temperature of soft targets.
    pub target_temperature: Option<f32>,
    /// The weight of the term that keeps the neighbourhoods of latents; 0 for none.
    pub structure: Option<f32>,
    /// The temperature of neighbourhoods.
    pub structure_temperature: Option<f32>,
    /// The weight of the term over items without a pair.
    pub unpaired: Option<f32>,
    /// Items without a pair per step, of either side.
    pub unpaired_batch: Option<usize>,
    /// Blocks of an adapter, the paper's L. A tower may have its own number.
    pub blocks: Option<usize>,
    /// Inner width of a block, as a multiple of its latents' width.
    pub expansion: Option<usize>,
    /// Width of the shared space.
    pub width: Option<usize>,
    /// True if the Linears of an adapter have biases.
    pub bias: Option<bool>,
    /// The share of a block's inner values that are left out.
    pub dropout: Option<f32>,
    /// Passes over the pairs.
    pub epochs: Option<usize>,
    /// Steps after which the training ends, regardless of `epochs`.
    pub steps: Option<usize>,
    /// Mixed pairs per step, the paper's B; twice as many are drawn.
    pub batch: Option<usize>,
    /// Mixed pairs that pass through an adapter at once; affects only rounding.
    pub micro_batch: Option<usize>,
    /// The memory for training, such as "4GiB"; activations that do not fit are recomputed.
    pub memory: Option<Bytes>,
    /// The precision of matrix products: "f32" or "bf16".
    pub precision: Option<Precision>,
    /// The change of latents: "fusemix" mixes pairs, "i-mix" one side of them, "m2-mix" embeddings; "noise", "quantise"
    /// and "project" change single ones; or "none".
    pub augment: Option<Augment>,
    /// The deviation of the noise, in units of the latents' root mean square.
    pub noise: Option<f32>,
    /// The regions of a latent's range.
    pub regions: Option<usize>,
    /// The share of directions that are left out in a step.
    pub removed: Option<f32>,
    /// The alpha of Beta(alpha, alpha), from which the mixing weight is drawn; 0 for no mixing.
    pub mixup_alpha: Option<f32>,
    /// The value that `mixup_alpha` reaches linearly in the last epoch.
    pub mixup_alpha_end: Option<f32>,
    /// The unit with its own mixing weight: each "pair", or each "batch".
    pub mixup: Option<Mixup>,
    /// True if both sides of a mixed pair have the same weight.
    pub mixup_shared: Option<bool>,
    /// The learning rate after warm-up.
    pub lr: Option<f32>,
    /// The learning rate before the first step and after the last.
    pub lr_end: Option<f32>,
    /// Steps until the learning rate is reached.
    pub warmup: Option<usize>,
    /// Decay of the weight matrices.
    pub weight_decay: Option<f32>,
    /// True if biases and LayerNorms decay too.
    pub decay_vectors: Option<bool>,
    /// AdamW's decay of the first moment.
    pub beta1: Option<f32>,
    /// AdamW's decay of the second moment.
    pub beta2: Option<f32>,
    /// AdamW's epsilon.
    pub epsilon: Option<f32>,
    /// The maximum norm of all gradients together; 0 for no limit.
    pub clip: Option<f32>,
    /// Decay of an average of the weights that is evaluated and kept instead of them; 0 for none.
    pub ema: Option<f32>,
    /// The temperature at the start.
    pub temperature: Option<f32>,
    /// True if the temperature is learned.
    pub temperature_learned: Option<bool>,
    /// The minimum temperature.
    pub temperature_min: Option<f32>,
    /// The maximum temperature.
    pub temperature_max: Option<f32>,
    /// Epochs between two evaluations on the validation pairs; 0 for only the last epoch.
    pub eval_every: Option<usize>,
    /// Evaluations without a better recall after which the training ends, and the best adapters are kept; 0 for never.
    pub patience: Option<usize>,
    /// Minutes between two checkpoints; 0 for only at a stop.
    pub checkpoint_minutes: Option<f32>,
    /// Steps between two checkpoints; 0 for only by time.
    pub checkpoint_steps: Option<usize>,
}

/// The number of pairs below which a data set is small: one shallow block, 50 to 100 epochs.
const SMALL: usize = 5_000;
/// Steps of the default number of epochs on large data, which is capped at the paper's 500 epochs.
const STEPS: usize = 10_000;
/// Rows of a micro-batch: enough that reading the weights costs little compared with multiplying by them.
const MICRO_BATCH: usize = 1024;
/// The same on a GPU, where each is as many launches.
pub(super) const GPU_MICRO_BATCH: usize = 4096;

/// The most passes over the pairs.
pub(super) const MOST_EPOCHS: usize = 10_000_000;
/// The most blocks of an adapter.
pub const MOST_BLOCKS: usize = 1024;

impl TrainOptions {
    /// The usual weight of the term over items without a pair.
    pub const UNPAIRED: f32 = 1.0;

    /// The options for training on sets of so many pairs, with their weights; defaults scale with the largest set.
    pub fn resolve(&self, sets: &[(usize, f32)]) -> Result<Options, OptionError> {
        let pairs = sets.iter().map(|(pairs, _)| *pairs).max().unwrap_or(0);
        let small = pairs < SMALL;
        let batch = self.batch.unwrap_or(if small { 256 } else { 20_480.min(pairs / 8) }).min(pairs / 2);
        let augment = self.augment.unwrap_or_default();
        let mixes = augment.mixes() && self.mixup_alpha.is_none_or(|alpha| alpha >= LEAST_ALPHA);
        let size = |&(pairs, weight)| Size { pairs, batch: batch.min(pairs / 2).max(1), weight, unpaired: None };
        let epoch = sets.iter().map(|set| size(set).steps(mixes)).sum::<usize>().max(1);
        let few = (50.0 * (pairs as f64 / 600.0).sqrt()).clamp(50.0, 100.0) as usize;
        let enough = if small { few } else { (STEPS / epoch).clamp(20, 500) };
        let epochs = self.epochs.unwrap_or(self.steps.map_or(enough, |steps| steps.div_ceil(epoch).max(1)));
        if let (Some(steps), None) = (self.steps, self.epochs)
            && epochs > MOST_EPOCHS
        {
            let reason = format!("that is more than {MOST_EPOCHS} passes over the pairs");
            return Err(OptionError { key: "steps", value: steps.to_string(), reason });
        }
        let steps = self.steps.unwrap_or(usize::MAX).min(epochs.saturating_mul(epoch));
        let mixup_alpha = self.mixup_alpha.unwrap_or(1.0);
        let start = self.start.unwrap_or_default();
        // What goes on from a closed form is small, and takes small steps.
        let (shallow, lr) = (small || start != Start::Random, if start == Start::Random { 1e-3 } else { 1e-4 });
        let width = if start != Start::Random {
            384
        } else if small {
            1024
        } else {
            512
        };
        let soft = self.targets == Some(TargetKind::Similar);
        let above_0 = |weight: &f32| *weight != 0.0;
        let (structure, unpaired) = (self.structure.filter(above_0), self.unpaired);
        let options = Options {
            start,
            loss: self.loss.unwrap_or_default(),
            sigmoid_bias: self.sigmoid_bias,
            targets: self.targets.unwrap_or_default(),
            captions: self.captions.unwrap_or_default(),
            mask_items: self.mask_items.unwrap_or(true),
            target_share: self.target_share.or(soft.then_some(0.3)),
            target_temperature: self.target_temperature.or(soft.then_some(0.1)),
            structure,
            structure_temperature: self.structure_temperature.or(structure.map(|_| 0.05)),
            unpaired,
            unpaired_batch: self.unpaired_batch.or(unpaired.filter(above_0).map(|_| 512)),
            blocks: self.blocks.unwrap_or(if shallow { 1 } else { 4 }),
            expansion: self.expansion.unwrap_or(if shallow { 1 } else { 4 }),
            width: self.width.unwrap_or(width),
            bias: self.bias.unwrap_or(true),
            dropout: self.dropout.unwrap_or(0.6),
            epochs,
            steps: self.steps,
            batch,
            micro_batch: self.micro_batch.unwrap_or(MICRO_BATCH),
            memory: self.memory,
            precision: self.precision.unwrap_or_default(),
            augment,
            noise: self.noise.or((augment == Augment::Noise).then_some(0.1)),
            regions: self.regions.or((augment == Augment::Quantise).then_some(16)),
            removed: self.removed.or((augment == Augment::Project).then_some(0.1)),
            mixup_alpha,
            mixup_alpha_end: self.mixup_alpha_end.unwrap_or(mixup_alpha),
            mixup: self.mixup.unwrap_or_default(),
            mixup_shared: self.mixup_shared,
            lr: self.lr.unwrap_or(lr),
            lr_end: self.lr_end.unwrap_or(1e-6_f32.min(self.lr.unwrap_or(1.0)).max(0.0)),
            warmup: self.warmup.unwrap_or((steps / 10).min(100)),
            weight_decay: self.weight_decay.unwrap_or(0.1),
            decay_vectors: self.decay_vectors.unwrap_or(false),
            beta1: self.beta1.unwrap_or(0.9),
            beta2: self.beta2.unwrap_or(0.999),
            epsilon: self.epsilon.unwrap_or(1e-8),
            clip: self.clip.unwrap_or(0.0),
            ema: self.ema.unwrap_or(0.0),
            temperature: self.temperature.unwrap_or(0.07),
            temperature_learned: self.temperature_learned.unwrap_or(true),
            temperature_min: self.temperature_min.unwrap_or(0.001),
            temperature_max: self.temperature_max.unwrap_or(0.5),
            eval_every: self.eval_every.unwrap_or(epochs.div_ceil(20)),
            patience: self.patience.unwrap_or(0),
            checkpoint_minutes: self.checkpoint_minutes.unwrap_or(10.0),
            checkpoint_steps: self.checkpoint_steps.unwrap_or(0),
        };
        options.check(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_resolved_resolves_to_itself() {
        for pairs in [10, 516, 4_999, 5_000, 100_000, 3_000_000] {
            let memory = Some("3GiB".parse().unwrap());
            for steps in [None, Some(7)] {
                let options = TrainOptions { blocks: Some(3), memory, steps, ..TrainOptions::default() };
                let options = options.resolve(&[(pairs, 1.0)]).unwrap();
                let again: TrainOptions = toml::from_str(&toml::to_string(&options).unwrap()).unwrap();
                assert_eq!(again.resolve(&[(pairs, 1.0)]).unwrap(), options);
            }
        }
    }

    #[test]
    fn steps_are_those_of_all_sets_as_they_are_mixed_and_weighed() {
        let epochs = |alpha, sets: &[(usize, f32)]| {
            let options =
                TrainOptions { mixup_alpha: alpha, batch: Some(10), steps: Some(100), ..TrainOptions::default() };
            options.resolve(sets).unwrap().epochs
        };
        assert_eq!(epochs(None, &[(200, 1.0)]), 10);
        assert_eq!(epochs(Some(0.0), &[(200, 1.0)]), 5);
        assert_eq!(epochs(None, &[(200, 0.5)]), 20);
        assert_eq!(epochs(None, &[(200, 1.0), (200, 1.0)]), 5);
    }

    #[test]
    fn large_data_gets_the_papers_recipe() {
        let options = TrainOptions::default().resolve(&[(5_000_000, 1.0)]).unwrap();
        assert_eq!((options.batch, options.blocks, options.expansion, options.width), (20_480, 4, 4, 512));
        assert_eq!(options.warmup, 100);
    }

    #[test]
    fn impossible_options_are_named() {
        let absurd = [
            TrainOptions { epochs: Some(1_000_000_000_000), ..TrainOptions::default() },
            TrainOptions { steps: Some(usize::MAX), ..TrainOptions::default() },
            TrainOptions { blocks: Some(usize::MAX), ..TrainOptions::default() },
            TrainOptions { width: Some(usize::MAX / 2), ..TrainOptions::default() },
            TrainOptions { sigmoid_bias: Some(1e9), loss: Some(Loss::Sigmoid), ..TrainOptions::default() },
        ];
        for (options, key) in absurd.into_iter().zip(["epochs", "steps", "blocks", "width", "sigmoid_bias"]) {
            assert_eq!(options.resolve(&[(100, 1.0)]).unwrap_err().key, key);
        }
        let error = |options: TrainOptions, pairs| options.resolve(&[(pairs, 1.0)]).unwrap_err().to_string();
        let dropout = TrainOptions { dropout: Some(1.0), ..TrainOptions::default() };
        assert_eq!(error(dropout, 100), "`dropout = 1` in [train]: must be at least 0 and below 1");
        let batch = TrainOptions { batch: Some(1), ..TrainOptions::default() };
        assert_eq!(error(batch, 100), "`batch = 1` in [train]: a step needs at least 2 mixed pairs");
    }

    #[test]
    fn alpha_gets_to_its_end_in_the_last_epoch() {
        let options = TrainOptions { epochs: Some(5), mixup_alpha_end: Some(0.0), ..TrainOptions::default() };
        let options = options.resolve(&[(1000, 1.0)]).unwrap();
        assert_eq!([0, 2, 4].map(|epoch| options.alpha(epoch)), [1.0, 0.5, 0.0]);
    }
}
