//! A checkpoint's settings for its feature extractor. Settings that this plugin does not implement are refused, since
//! they would give other latents.

use candle_core::{Result, bail};
use candle_kit::{Source, reason};
use fusemix_sdk::Error;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::ops::RangeInclusive;

use super::read;

/// preprocessor_config.json of a family: the default is the published one, for checkpoints without the file.
pub(super) trait FrontEnd: DeserializeOwned + Default {
    type Config;

    /// Checks that this plugin supports the settings, and that they fit the model.
    fn check(&self, config: &Self::Config) -> Result<()>;
}

pub(super) fn load<T: FrontEnd>(config: &T::Config, source: &Source) -> std::result::Result<T, Error> {
    let Some((file, json)) = source.preprocessor("feature_extractor")? else {
        let front_end = T::default();
        let unknown = |error| {
            Error::config(format!(
                "{}: there is no preprocessor_config.json, and the published defaults do not fit: {}",
                source.name(),
                reason(&error)
            ))
        };
        return front_end.check(config).map_err(unknown).map(|()| front_end);
    };
    let front_end: T = read(json, file, source)?;
    let unfit = |error| Error::config(format!("{file} of {}: {}", source.name(), reason(&error)));
    front_end.check(config).map_err(unfit).map(|()| front_end)
}

/// Rejects all values of `key` but one.
pub(super) fn only<T: PartialEq + Debug>(key: &str, value: T, known: T) -> Result<()> {
    if value != known {
        bail!("`{key}` is {value:?}, which is not supported by this plugin; it supports {known:?}");
    }
    Ok(())
}

/// The range of mels in a spectrogram.
pub(super) const MELS: RangeInclusive<usize> = 1..=1024;

/// Rejects values of a key outside the supported range.
pub(super) fn in_range(key: &str, value: usize, allowed: RangeInclusive<usize>) -> Result<()> {
    if !allowed.contains(&value) {
        bail!("{key} is {value}; it must be between {} and {}", allowed.start(), allowed.end());
    }
    Ok(())
}

/// Rejects frames with an odd number of samples, which have no middle.
pub(super) fn even(key: &str, value: usize) -> Result<()> {
    in_range(&format!("`{key}`"), value, 2..=1 << 16)?;
    if !value.is_multiple_of(2) {
        bail!("`{key}` is {value}, which is odd; this plugin needs an even number of samples per frame");
    }
    Ok(())
}
