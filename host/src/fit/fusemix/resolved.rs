//! The options of a training with every value known.

use serde::Serialize;

use super::augment::{Augment, Mixup};
use super::objective::{Captions, Loss, TargetKind};
use super::sizes::LEAST_ALPHA;
use super::start::Start;
use crate::bytes::Bytes;
use crate::device::Device;
use crate::kernels::{Format, Precision};
use crate::nn::{AdapterKind, Keep, Shape};
use crate::space::TowerSpec;

/// Training options with every value known. Written as TOML, it reads back as [`TrainOptions`](super::TrainOptions)
/// that resolve to itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of TrainOptions")]
pub struct Options {
    pub start: Start,
    pub loss: Loss,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigmoid_bias: Option<f32>,
    #[serde(skip_serializing_if = "TargetKind::is_own")]
    pub targets: TargetKind,
    pub captions: Captions,
    pub mask_items: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_share: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structure: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structure_temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpaired: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpaired_batch: Option<usize>,
    pub blocks: usize,
    pub expansion: usize,
    pub width: usize,
    pub bias: bool,
    pub dropout: f32,
    pub epochs: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    pub batch: usize,
    pub micro_batch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    pub precision: Precision,
    #[serde(skip_serializing_if = "Augment::mixes")]
    pub augment: Augment,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<f32>,
    pub mixup_alpha: f32,
    pub mixup_alpha_end: f32,
    pub mixup: Mixup,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup_shared: Option<bool>,
    pub lr: f32,
    pub lr_end: f32,
    pub warmup: usize,
    pub weight_decay: f32,
    pub decay_vectors: bool,
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
    pub clip: f32,
    pub ema: f32,
    pub temperature: f32,
    pub temperature_learned: bool,
    pub temperature_min: f32,
    pub temperature_max: f32,
    pub eval_every: usize,
    pub patience: usize,
    pub checkpoint_minutes: f32,
    pub checkpoint_steps: usize,
}

impl Options {
    /// The bias of the sigmoid's logits with so many pairs a step: where none is given, the logarithm of the odds of a
    /// pair among all. None for another loss.
    pub(super) fn logit_bias(&self, batch: usize) -> Option<f32> {
        let odds = -(batch.max(2) as f32 - 1.0).ln();
        (self.loss == Loss::Sigmoid).then(|| self.sigmoid_bias.unwrap_or(odds))
    }

    /// The weight of the term over items without a pair, if it has one.
    pub(super) fn transported(&self) -> Option<f32> {
        self.unpaired.filter(|weight| *weight > 0.0)
    }

    /// True if the latents of a batch are compared with one another.
    pub(super) fn needs_centred(&self) -> bool {
        self.structure.is_some() || self.targets == TargetKind::Similar
    }

    /// The adapter of a tower.
    pub(super) fn shape(&self, spec: &TowerSpec) -> Shape {
        let (kind, width) = (spec.adapter, spec.width);
        let (inner, blocks) = match kind {
            AdapterKind::Mlp | AdapterKind::Glu => (width * self.expansion, spec.blocks.unwrap_or(self.blocks)),
            AdapterKind::Linear | AdapterKind::Identity => (0, 0),
        };
        Shape { kind, width, inner, blocks, shared: self.width, bias: self.bias || kind == AdapterKind::Identity }
    }

    /// The extras kept of each parameter.
    pub(super) fn keep(&self) -> Keep {
        Keep { average: self.ema > 0.0, best: self.patience > 0, halves: false }
    }

    /// The format of products' factors in a device's memory.
    pub(super) fn format(&self, device: &dyn Device) -> Format {
        if self.precision == Precision::Bf16 && device.reads_f16() { Format::F16 } else { Format::F32 }
    }

    /// True if epoch `epoch`, from 0, mixes pairs.
    pub(super) fn mixes(&self, epoch: usize) -> bool {
        self.augment.mixes() && self.alpha(epoch) >= LEAST_ALPHA
    }

    /// True if epoch `epoch`, from 0, mixes one side, whose labels the other items are.
    pub(super) fn labels(&self, epoch: usize) -> bool {
        self.augment == Augment::IMix && self.alpha(epoch) >= LEAST_ALPHA
    }

    /// True if epoch `epoch`, from 0, has negatives that are mixed from embeddings.
    pub(super) fn bends(&self, epoch: usize) -> bool {
        self.augment == Augment::M2Mix && self.alpha(epoch) >= LEAST_ALPHA
    }

    /// True if both sides of a mixed pair have the same weight.
    pub(super) fn shares_weights(&self) -> bool {
        self.mixup_shared.unwrap_or(true)
    }

    /// The mixing's alpha in epoch `epoch`, from 0.
    pub(super) fn alpha(&self, epoch: usize) -> f32 {
        let share = epoch as f32 / (self.epochs - 1).max(1) as f32;
        self.mixup_alpha + (self.mixup_alpha_end - self.mixup_alpha) * share
    }
}
