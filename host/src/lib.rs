//! fusemix: one shared space out of encoders that already exist.

pub mod cache;
pub mod cli;
pub mod config;
pub mod latents;
pub mod plugin;
pub mod toml_file;
