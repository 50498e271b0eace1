//! Exit codes, for scripts.

use fusemix_sdk::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::ConfigError;
use crate::dataset::DataError;
use crate::encode::{EncodeError, Summary};
use crate::fit::FitError;
use crate::fit::fusemix::TrainError;
use crate::gallery::{ExportError, GalleryError};
use crate::plugin::{EncoderError, LoadError};
use crate::run::RunError;
use crate::session::Error;

/// An argument that parses, and makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Invalid(pub(super) String);

/// A failure without a code of its own.
pub(super) const FAILED: u8 = 1;
/// Done, but some items have no latent.
pub(super) const SOME_FAILED: u8 = 4;
/// A mistake in the arguments, as the parser has it.
const ARGUMENTS: u8 = 2;
/// A mistake in plugins.toml, a recipe or a pair file.
const CONFIG: u8 = 3;
/// A run that does not match the configured encoders.
const OTHER_ENCODER: u8 = 5;
/// Ended at --max-items or --max-cost.
const BOUNDED: u8 = 6;
/// Done, but the encoder returned NaN or infinity for some items.
const NOT_FINITE: u8 = 18;
/// A plugin has ended the program.
pub(super) const PLUGIN_ENDED: u8 = 20;
/// Stopped by the user; the next run continues.
pub(super) const STOPPED: u8 = 130;

/// The end of `fusemix --help`.
pub(super) const HELP: &str = "\
Exit codes:
   0  done                                 13  plugin: incompatible interface
   1  failed                               14  plugin: wrong version
   2  invalid arguments                    15  plugin: wrong SHA-256
   3  invalid plugins.toml, recipe, data   16  plugin panicked
   4  done, but some items failed          17  plugin: wrong width or number of rows
   5  run and encoders do not match        18  done, but the encoder returned NaN or infinity
   6  --max-items or --max-cost reached    19  plugin hung: a call exceeded its `timeout`
  10  plugin: file not found               20  encoder failed
  11  plugin: not a library               130  stopped; the next run continues
  12  plugin: not a fusemix plugin";

/// True once the program ends as it should.
pub(super) static ENDS: AtomicBool = AtomicBool::new(false);

/// Says that the program ends as it should.
fn ends() {
    ENDS.store(true, Ordering::Relaxed);
}

/// The end of `main`, by a panic too.
pub(super) struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        ends();
    }
}

/// Ends the program.
pub(super) fn now(code: u8) -> ! {
    ends();
    std::process::exit(code.into());
}

/// The exit code of an error.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<Error>() {
        return session(error);
    }
    if error.is::<Invalid>() {
        return ARGUMENTS;
    }
    let of_user = error.is::<ConfigError>() || error.is::<DataError>();
    let of_user = of_user || error.downcast_ref().is_some_and(is_of_user);
    let of_encode = error.downcast_ref::<EncodeError>().map(encode);
    of_encode.unwrap_or(if of_user { CONFIG } else { FAILED })
}

/// The exit code of a use-case that failed.
pub(super) fn session(error: &Error) -> u8 {
    match error {
        Error::Config(_) | Error::Data(_) => CONFIG,
        Error::Served { cause, .. } => session(cause),
        // What the recipe of a run, or the data, lacks for what was asked.
        Error::NoTower { .. } | Error::NoTest | Error::TestElsewhere { .. } | Error::NoRuns => CONFIG,
        Error::NoColumn { .. }
        | Error::OtherColumns { .. }
        | Error::OtherColumn { .. }
        | Error::NoItems { .. }
        | Error::OtherPairs { .. } => CONFIG,
        Error::NothingToCompare { .. } | Error::NoTestInSweep | Error::NoValidation | Error::FewProbed { .. } => CONFIG,
        Error::FewClasses { .. } | Error::SameClass { .. } | Error::NamedClasses { .. } | Error::NoClass { .. } => {
            CONFIG
        }
        Error::MapWidth { .. }
        | Error::MapLength { .. }
        | Error::MapAdapted { .. }
        | Error::NothingToMigrate { .. }
        | Error::OtherItems { .. }
        | Error::EmptyClass { .. }
        | Error::NoTruth { .. }
        | Error::WhichTower { .. } => CONFIG,
        Error::Reserved { .. } | Error::EmptyId { .. } | Error::SameId { .. } => CONFIG,
        Error::NothingToCompress { .. } | Error::NoSamples { .. } | Error::FewSamples { .. } | Error::Folds { .. } => {
            CONFIG
        }
        Error::NoLatent { .. } | Error::NoPair { .. } | Error::SameRuns { .. } => CONFIG,
        Error::Fit(error) => fit(error),
        Error::Train(error) => training(error),
        Error::Plugin(error) => plugin(error),
        Error::Encoder(error) => encoder(error),
        Error::Encode(error) => encode(error),
        Error::Run(RunError::OtherEncoder { .. } | RunError::OtherLatents { .. }) => OTHER_ENCODER,
        Error::Run(RunError::NoRun { .. } | RunError::NoFolder { made: false, .. } | RunError::Gallery { .. }) => {
            CONFIG
        }
        Error::Gallery(error) if is_of_user(error) => CONFIG,
        Error::Export(
            ExportError::Taken { .. }
            | ExportError::Reserved { .. }
            | ExportError::TooWide { .. }
            | ExportError::NotEmpty { .. },
        ) => CONFIG,
        Error::Gallery(GalleryError::OtherRun { .. } | GalleryError::Retrained { .. }) => OTHER_ENCODER,
        Error::Gallery(
            GalleryError::OtherTower { .. } | GalleryError::OtherEncoder { .. } | GalleryError::OtherEncoders { .. },
        ) => OTHER_ENCODER,
        Error::Stopped | Error::StoppedFit | Error::StoppedChosen => STOPPED,
        Error::Budget => BOUNDED,
        _ => FAILED,
    }
}

/// True if a gallery is not where it was looked for, or has not what was asked for.
fn is_of_user(error: &GalleryError) -> bool {
    matches!(error, GalleryError::Absent { .. } | GalleryError::NoColumn { .. } | GalleryError::Filter(_))
}

fn fit(error: &FitError) -> u8 {
    match error {
        FitError::Option { .. } | FitError::Few { .. } | FitError::Apart { .. } => CONFIG,
        FitError::Unreached { .. } | FitError::Widths { .. } => CONFIG,
        FitError::Train(error) => training(error),
        _ => FAILED,
    }
}

fn training(error: &TrainError) -> u8 {
    match error {
        TrainError::Option(_) | TrainError::Few { .. } => CONFIG,
        TrainError::Identity { .. } | TrainError::Nothing { .. } => CONFIG,
        _ => FAILED,
    }
}

fn encode(error: &EncodeError) -> u8 {
    match error {
        EncodeError::Encoder(error) => encoder(error),
        EncodeError::Cache(_) => FAILED,
        EncodeError::Cost { .. } => BOUNDED,
    }
}

/// The exit code of an encoding with this summary.
pub(super) fn summary(summary: &Summary) -> u8 {
    match summary {
        Summary { stopped: true, .. } => STOPPED,
        Summary { bounded: true, .. } => BOUNDED,
        Summary { not_finite: 1.., .. } => NOT_FINITE,
        Summary { failed: 1.., .. } => SOME_FAILED,
        _ => 0,
    }
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
        LoadError::Process { .. } => PLUGIN_ENDED,
    }
}

/// The exit code of an encoder that cannot be opened, or whose call failed.
fn encoder(error: &EncoderError) -> u8 {
    match error {
        EncoderError::Config(_) => CONFIG,
        EncoderError::Plugin(error) => plugin(error),
        EncoderError::OpenHang { .. } | EncoderError::Hang { .. } => 19,
        EncoderError::Passing { .. } => 20,
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
