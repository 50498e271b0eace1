//! The encoder on its real weights.
