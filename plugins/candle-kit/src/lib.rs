//! The common parts of the candle plugins: finding a model's files, digests of weights, choosing a device, layers that
//! are fast on the CPU.

pub mod checkpoint;
mod choice;
mod device;
mod digest;
mod failure;
mod folder;
mod hub;
mod instead;
pub mod nn;
mod open_clip;
mod source;

pub use choice::{Layer, Pooling, describe, in_halves, normalize};
pub use device::{computed_in, device, dtype};
pub use digest::{digest, digest_of};
pub use failure::{guarded, reason};
pub use instead::instead;
pub use open_clip::refuse_open_clip;
pub use source::{Pinned, Source};

use fusemix_sdk::{OptionKind, OptionSpec};

/// The keys that every candle plugin accepts: those that [`Source::locate`], [`device()`], [`dtype()`],
/// [`Layer::choose`] and [`Pooling::choose`] read, and `normalize`.
pub fn options() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new("model", OptionKind::Text, "a folder, a weights file, or a hub id such as org/name").required(),
        OptionSpec::new("revision", OptionKind::Text, "branch, tag or commit of a hub id (default: main)"),
        OptionSpec::new("device", OptionKind::Text, "cpu, cuda, cuda:N or metal (default: cpu)"),
        OptionSpec::new("dtype", OptionKind::Text, "f32, bf16 or f16, which the model computes in (default: f32)")
            .choices(&["f32", "bf16", "f16"]),
        OptionSpec::new(
            "layer",
            OptionKind::Any,
            "last (default), penultimate, or the number of blocks before the latent",
        ),
        OptionSpec::new(
            "pooling",
            OptionKind::Text,
            "how the model's states become a latent (default: the checkpoint's own)",
        )
        .choices(&Pooling::ALL.map(|(name, _)| name)),
        OptionSpec::new("normalize", OptionKind::Boolean, "scale latents to length 1 (default: false)"),
    ]
}

/// Seconds that a call may take: a large model on few cores takes a long time over a batch.
pub const PATIENCE: f64 = 3600.0;
