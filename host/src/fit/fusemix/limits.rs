//! The limits of training options.

use std::ops::RangeInclusive;

use super::augment::{Augment, Mixup};
use super::error::OptionError;
use super::objective::{Loss, TargetKind};
use super::options::{MOST_BLOCKS, MOST_EPOCHS};
use super::resolved::Options;
use super::tiles::TILE;

/// The temperatures of what is no logit that is learned.
const TEMPERATURES: RangeInclusive<f32> = 0.01..=10.0;
/// The weights of terms beside the loss.
const TERMS: RangeInclusive<f32> = 0.0..=1000.0;
/// The most dimensions of a shared space.
const MOST_WIDTH: usize = 1 << 16;

impl Options {
    /// The options, or the error of one that is out of its limits.
    pub(super) fn check(self, pairs: usize) -> Result<Self, OptionError> {
        let finite = |value: f32, least: f32| value.is_finite() && value >= least;
        let share = |value: f32| (0.0..1.0).contains(&value);
        let wrong = |key, value: &dyn ToString, reason: &str| {
            Err(OptionError { key, value: value.to_string(), reason: reason.to_owned() })
        };
        if let Some(error) = self.wrong_terms().or_else(|| self.wrong_changes()).or_else(|| self.unread_mixing()) {
            return Err(error);
        }
        match &self {
            o if o.batch < 2 && pairs >= 4 => wrong("batch", &o.batch, "a step needs at least 2 mixed pairs"),
            o if o.micro_batch < 64 => wrong("micro_batch", &o.micro_batch, "must be at least 64"),
            o if o.sigmoid_bias.is_some_and(|bias| !(-50.0..=50.0).contains(&bias) || o.loss != Loss::Sigmoid) => {
                let value = o.sigmoid_bias.unwrap_or_default();
                wrong("sigmoid_bias", &value, "must be between -50 and 50, and `loss = \"sigmoid\"`")
            }
            o if !(1..=MOST_WIDTH).contains(&o.width) => {
                wrong("width", &o.width, &format!("must be between 1 and {MOST_WIDTH} dimensions"))
            }
            o if !(1..=1024).contains(&o.expansion) => wrong("expansion", &o.expansion, "must be between 1 and 1024"),
            o if !(1..=MOST_EPOCHS).contains(&o.epochs) => {
                wrong("epochs", &o.epochs, &format!("must be between 1 and {MOST_EPOCHS}"))
            }
            o if o.blocks > MOST_BLOCKS => wrong("blocks", &o.blocks, &format!("must be at most {MOST_BLOCKS}")),
            o if o.steps == Some(0) => wrong("steps", &0, "must be at least 1"),
            o if !share(o.dropout) => wrong("dropout", &o.dropout, "must be at least 0 and below 1"),
            o if !finite(o.mixup_alpha, 0.0) => wrong("mixup_alpha", &o.mixup_alpha, "must be 0 or more"),
            o if !finite(o.mixup_alpha_end, 0.0) => wrong("mixup_alpha_end", &o.mixup_alpha_end, "must be 0 or more"),
            o if !finite(o.lr, f32::MIN_POSITIVE) => wrong("lr", &o.lr, "must be above 0"),
            o if !(0.0..=o.lr).contains(&o.lr_end) => wrong("lr_end", &o.lr_end, "must be between 0 and `lr`"),
            o if !finite(o.weight_decay, 0.0) => wrong("weight_decay", &o.weight_decay, "must be 0 or more"),
            o if !share(o.beta1) => wrong("beta1", &o.beta1, "must be at least 0 and below 1"),
            o if !share(o.beta2) => wrong("beta2", &o.beta2, "must be at least 0 and below 1"),
            o if !finite(o.epsilon, f32::MIN_POSITIVE) => wrong("epsilon", &o.epsilon, "must be above 0"),
            o if !finite(o.clip, 0.0) => wrong("clip", &o.clip, "must be 0 or more"),
            o if !share(o.ema) => wrong("ema", &o.ema, "must be at least 0 and below 1"),
            o if !finite(o.temperature_min, 1e-4) => {
                wrong("temperature_min", &o.temperature_min, "must be at least 0.0001")
            }
            o if !finite(o.temperature_max, o.temperature_min) => {
                wrong("temperature_max", &o.temperature_max, "must not be below `temperature_min`")
            }
            o if !(o.temperature_min..=o.temperature_max).contains(&o.temperature) => {
                let reason = format!("must be between {} and {}", o.temperature_min, o.temperature_max);
                wrong("temperature", &o.temperature, &reason)
            }
            o if !(0.0..=1e6).contains(&o.checkpoint_minutes) => {
                wrong("checkpoint_minutes", &o.checkpoint_minutes, "must be between 0 and a million")
            }
            _ => Ok(self),
        }
    }

    /// An error of an option about the change of latents.
    fn wrong_changes(&self) -> Option<OptionError> {
        let wrong = |key, value: String, reason: &str| Some(OptionError { key, value, reason: reason.to_owned() });
        let Self { augment, noise, regions, removed, mixup_shared, .. } = *self;
        match (augment, noise, regions, removed) {
            (of, Some(noise), ..) if of != Augment::Noise || !(0.0..=10.0).contains(&noise) => {
                wrong("noise", noise.to_string(), "must be between 0 and 10, and `augment = \"noise\"`")
            }
            (of, _, Some(regions), _) if of != Augment::Quantise || !(1..=10_000).contains(&regions) => {
                wrong("regions", regions.to_string(), "must be between 1 and 10000, and `augment = \"quantise\"`")
            }
            (of, _, _, Some(removed)) if of != Augment::Project || !(0.0..1.0).contains(&removed) => {
                wrong("removed", removed.to_string(), "must be at least 0 and below 1, and `augment = \"project\"`")
            }
            (of @ (Augment::IMix | Augment::M2Mix), ..) if !self.targets.is_own() => {
                let name = if of == Augment::IMix { "i-mix" } else { "m2-mix" };
                let reason = format!("`augment = \"{name}\"` has targets of its own; remove one of the two");
                wrong("targets", format!("\"{:?}\"", self.targets).to_lowercase(), &reason)
            }
            (Augment::M2Mix, ..) if self.loss != Loss::InfoNce => wrong(
                "loss",
                "\"sigmoid\"".to_owned(),
                "`augment = \"m2-mix\"` is a term of InfoNCE; remove one of the two",
            ),
            (of, ..) if mixup_shared.is_some() && of != Augment::Fusemix => {
                let shared = mixup_shared.unwrap_or_default().to_string();
                wrong("mixup_shared", shared, "is about `augment = \"fusemix\"`; remove it")
            }
            _ if mixup_shared == Some(false) && !self.targets.is_own() => {
                let reason = "a mixed pair has one weight in `targets`; remove one of the two";
                wrong("mixup_shared", "false".to_owned(), reason)
            }
            _ => None,
        }
    }

    /// An error of an option about mixing that is not the default, where nothing is mixed.
    fn unread_mixing(&self) -> Option<OptionError> {
        let (name, reads) = match self.augment {
            Augment::Fusemix | Augment::IMix | Augment::M2Mix => return None,
            Augment::None => ("none", "no key of its own"),
            Augment::Noise => ("noise", "`noise`"),
            Augment::Quantise => ("quantise", "`regions`"),
            Augment::Project => ("project", "`removed`"),
        };
        let (key, value) = match self {
            Self { mixup_alpha, .. } if *mixup_alpha != 1.0 => ("mixup_alpha", mixup_alpha.to_string()),
            Self { mixup_alpha_end, .. } if *mixup_alpha_end != 1.0 => ("mixup_alpha_end", mixup_alpha_end.to_string()),
            Self { mixup, .. } if *mixup != Mixup::default() => ("mixup", format!("\"{mixup:?}\"").to_lowercase()),
            _ => return None,
        };
        let reason = format!(
            "`augment = \"{name}\"` mixes nothing, so it does not read this; it reads {reads}. Remove `{key}`, or take \
             an `augment` that reads it: \"fusemix\", \"i-mix\" or \"m2-mix\""
        );
        Some(OptionError { key, value, reason })
    }

    /// An error of an option about targets, or about a term beside the loss.
    fn wrong_terms(&self) -> Option<OptionError> {
        let wrong =
            |key, value: &dyn ToString, reason: String| Some(OptionError { key, value: value.to_string(), reason });
        let soft = self.targets == TargetKind::Similar;
        let needing = [
            ("target_share", self.target_share, soft, "`targets = \"similar\"`", 0.0..=1.0),
            ("target_temperature", self.target_temperature, soft, "`targets = \"similar\"`", TEMPERATURES),
            ("structure", self.structure, true, "", TERMS),
            (
                "structure_temperature",
                self.structure_temperature,
                self.structure.is_some(),
                "`structure`",
                TEMPERATURES,
            ),
            ("unpaired", self.unpaired, true, "", TERMS),
        ];
        for (key, value, needed, by, range) in needing {
            let Some(value) = value else { continue };
            if !needed {
                return wrong(key, &value, format!("it says nothing without {by}; set that too, or remove it"));
            }
            if !range.contains(&value) {
                return wrong(key, &value, format!("must be between {} and {}", range.start(), range.end()));
            }
        }
        let batch = self.unpaired_batch?;
        if self.unpaired == Some(0.0) {
            return wrong("unpaired_batch", &batch, "it says nothing with `unpaired = 0`; remove it".to_owned());
        }
        let reason = || format!("must be between 2 and {TILE} items");
        (!(2..=TILE).contains(&batch)).then(|| wrong("unpaired_batch", &batch, reason()))?
    }
}
