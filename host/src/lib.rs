//! fusemix: one shared space out of encoders that already exist.

pub mod array_file;
pub mod cache;
pub mod cli;
pub mod config;
pub mod dataset;
pub mod encode;
pub mod latents;
pub mod plugin;
pub mod run;
pub mod toml_file;
