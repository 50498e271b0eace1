//! Exit codes: what a script can tell from how a command ended.

use fusemix_sdk::ErrorKind;

use super::towers::Stopped;
use crate::dataset::DataError;
use crate::encode::EncodeError;
use crate::plugin::{EncoderError, LoadError};
use crate::run::RunError;
use crate::toml_file::ConfigError;

/// Failed, with no better word for it.
pub(super) const FAILED: u8 = 1;
/// Done, but some items have no latent.
pub(super) const SOME_FAILED: u8 = 4;
/// What the user wrote, in plugins.toml, a recipe or a pair file, is wrong.
const CONFIG: u8 = 3;
/// A run and the encoders that are configured now do not match.
const OTHER_ENCODER: u8 = 5;
/// Ended where --max-items or --max-cost said so.
pub(super) const BOUNDED: u8 = 6;
/// Done, but the encoder gave NaN or infinity to some items.
pub(super) const NOT_FINITE: u8 = 18;
/// Stopped by the user; the next run goes on.
pub(super) const STOPPED: u8 = 130;

/// The end of `fusemix --help`.
pub(super) const HELP: &str = "\
Exit codes:
   0  done                                 13  plugin: built for another interface
   1  failed                               14  plugin: version not met
   2  wrong arguments                      15  plugin: SHA-256 differs
   3  plugins.toml, recipe or data wrong   16  plugin panicked
   4  encode, embed, export: items failed  17  plugin: wrong width or number of rows
   5  run and encoders do not match        18  done, but the encoder gave NaN or infinity
   6  --max-items or --max-cost reached    19  plugin hung: a call took longer than `timeout`
  10  plugin: no such file                 20  encoder failed
  11  plugin: not a library               130  stopped; the next run goes on
  12  plugin: not a fusemix plugin";

/// The exit code of an error.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| {
            let of_plugin = cause.downcast_ref::<LoadError>().map(plugin);
            let of_encoder = cause.downcast_ref::<EncoderError>().map(encoder);
            let of_encode = cause.downcast_ref::<EncodeError>().and_then(|error| match error {
                EncodeError::Encoder(error) => Some(encoder(error)),
                EncodeError::Cache(_) => None,
            });
            let of_run = cause.downcast_ref::<RunError>().and_then(|error| match error {
                RunError::OtherEncoder { .. } => Some(OTHER_ENCODER),
                _ => None,
            });
            let of_user = (cause.is::<ConfigError>() || cause.is::<DataError>()).then_some(CONFIG);
            let of_stop = cause.is::<Stopped>().then_some(STOPPED);
            of_stop.or(of_plugin).or(of_encoder).or(of_encode).or(of_run).or(of_user)
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
        EncoderError::Config(_) => CONFIG,
        EncoderError::Plugin(error) => plugin(error),
        EncoderError::OpenHang { .. } | EncoderError::Hang { .. } => 19,
        EncoderError::Protocol { .. } | EncoderError::Width { .. } | EncoderError::FirstWidth { .. } => 17,
        EncoderError::Open { cause, .. } | EncoderError::Call { cause, .. } => match cause.kind {
            ErrorKind::Config => CONFIG,
            ErrorKind::Panic => 16,
            ErrorKind::Contract => 17,
            ErrorKind::Stopped => STOPPED,
            _ => 20,
        },
    }
}
