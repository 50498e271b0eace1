//! Exit codes: what a script can tell from how a command ended.

use crate::plugin::{EncoderError, LoadError};
use crate::toml_file::ConfigError;

/// Failed, with no better word for it.
pub(super) const FAILED: u8 = 1;
/// Done, but some items have no latent.
pub(super) const SOME_FAILED: u8 = 4;
/// Stopped by the user; the next run goes on.
pub(super) const STOPPED: u8 = 130;

/// The end of `fusemix --help`.
pub(super) const HELP: &str = "\
Exit codes:
   0  done                                 13  plugin: built for another interface
   1  failed                               14  plugin: version not met
   2  wrong arguments                      15  plugin: SHA-256 differs
   3  plugins.toml, recipe or data wrong   16  plugin panicked
   4  done, but some items have no latent  17  plugin: wrong width or number of rows
   5  run and encoders do not match        18  done, but the encoder gave NaN or infinity
  10  plugin: no such file                 19  plugin hung: a call took longer than `timeout`
  11  plugin: not a library                20  encoder failed
  12  plugin: not a fusemix plugin        130  stopped; the next run goes on";

/// The exit code of an error.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| {
            let of_config = cause.downcast_ref::<ConfigError>().map(|_| 3);
            let of_plugin = cause.downcast_ref::<LoadError>().map(plugin);
            of_config.or(of_plugin).or(cause.downcast_ref::<EncoderError>().map(encoder))
        })
        .unwrap_or(FAILED)
}

/// The exit code of a plugin that does not load.
pub(super) fn plugin(error: &LoadError) -> u8 {
    match error {
        LoadError::Missing { .. } | LoadError::Unreadable { .. } => 10,
        LoadError::NotALibrary { .. } => 11,
        LoadError::NotAPlugin { .. } => 12,
        LoadError::Abi { .. } => 13,
        LoadError::Version { .. } | LoadError::Name { .. } => 14,
        LoadError::Checksum { .. } => 15,
    }
}

/// The exit code of an encoder that does not open, or whose call failed.
pub(super) fn encoder(error: &EncoderError) -> u8 {
    match error {
        EncoderError::Plugin(error) => plugin(error),
        EncoderError::OpenHang { .. } => 19,
        EncoderError::Protocol { .. } => 17,
        error if error.is_stop() => STOPPED,
        error if error.is_panic() => 16,
        error if error.is_config() => 3,
        _ => 20,
    }
}
