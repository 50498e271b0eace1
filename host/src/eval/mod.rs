//! Evaluation: retrieval between towers, and nearest items.

mod held_out;
mod nearest;
mod retrieval;

pub use held_out::{HeldOut, retrieval_of};
pub use nearest::nearest;
pub use retrieval::{Embedded, Retrieval, both_ways, mean_recall};
