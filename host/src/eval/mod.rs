//! Evaluation: how well towers find each other, and what is nearest.

mod held_out;
mod nearest;
mod retrieval;

pub use held_out::HeldOut;
pub use nearest::nearest;
pub use retrieval::{Embedded, Retrieval, both_ways, mean_recall};
