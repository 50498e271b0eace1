//! FuseMix: adapters trained on mixed pairs with a symmetric InfoNCE (Vouitsis et al., arXiv 2312.10144).

mod bench;
mod centred;
mod checkpoint;
mod draws;
mod error;
mod feed;
mod loss;
mod memory;
mod observer;
mod options;
mod pass;
mod quiet;
mod rules;
mod schedule;
mod sizes;
mod start;
mod start_file;
mod structure;
mod targets;
mod tiles;
mod train;
mod transport;
mod unpaired;

pub use crate::kernels::Precision;
pub use bench::time_product;
pub use checkpoint::{CheckpointError, Checkpoints};
pub use error::TrainError;
pub use loss::Loss;
pub use observer::{EpochMetrics, Observer, Outcome};
pub use options::{MOST_BLOCKS, Mixup, OptionError, Options, TrainOptions};
pub(super) use quiet::fit;
pub use rules::{Planned, check};
pub use start::{Begun, Start};
pub use targets::TargetKind;
pub use train::{Extras, Trainer};
pub use unpaired::Unpaired;
