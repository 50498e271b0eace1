//! fusemix: one shared space out of encoders that already exist.

pub mod latents;
