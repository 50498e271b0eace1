//! A run folder: the output of a fit, and the input of evaluation and search.
//!
//! | file | content |
//! |---|---|
//! | `recipe.toml` | the recipe as resolved: absolute paths, every option of the fit with its value |
//! | `run.json` | program version, seed, device, and for each tower the fingerprints of its encoders |
//! | `adapters.safetensors` | the space (see `space/file.rs`) |
//! | `metrics.jsonl` | a JSON object a line: losses by epoch, recall on the validation pairs |
//! | `seen.safetensors` | digests of the items and pairs that were trained on |

mod error;
mod folder;
mod info;
mod lock;
mod metrics;
mod names;
mod replace;
mod seen;

pub use error::RunError;
pub use folder::RunFolder;
pub use info::{DerivedFrom, EncoderInfo, RunInfo, TowerInfo};
pub use metrics::{Metrics, MetricsFile, read_metrics};
pub use seen::{Overlap, Seen};
