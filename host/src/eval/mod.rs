//! Evaluation: retrieval between towers, and nearest items.

mod alignment;
mod classes;
mod folds;
mod health;
mod held_out;
mod interval;
mod nearest;
mod ranks;
mod retrieval;

pub use alignment::{Alignment, NEAREST};
pub use classes::{Accuracy, Nearest, TOP};
pub use health::Health;
pub(crate) use held_out::root;
pub use held_out::{HeldOut, retrieval_of};
pub use interval::{Interval, Sample};
pub use nearest::nearest;
pub use retrieval::{Embedded, Ranking, Retrieval, both_ways, mean_recall};
