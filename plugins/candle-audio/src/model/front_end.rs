//! What a checkpoint says of its feature extractor. What this plugin would do otherwise is refused: it would give other
//! latents.

use candle_core::{Result, bail};
use candle_kit::{Source, reason};
use fusemix_sdk::Error;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::ops::RangeInclusive;

use super::read;

/// preprocessor_config.json of a family: the default is what was published with it, for checkpoints without the file.
pub(super) trait FrontEnd: DeserializeOwned + Default {
    type Config;

    /// Whether this plugin makes what it says, and the model reads that.
    fn check(&self, config: &Self::Config) -> Result<()>;
}

pub(super) fn load<T: FrontEnd>(config: &T::Config, source: &Source) -> std::result::Result<T, Error> {
    let Some((file, json)) = source.preprocessor("feature_extractor")? else {
        let front_end = T::default();
        let unknown = |error| {
            Error::config(format!(
                "{}: there is no preprocessor_config.json, and what was published does not fit: {}",
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

/// Refuses all values of `key` but one.
pub(super) fn only<T: PartialEq + Debug>(key: &str, value: T, known: T) -> Result<()> {
    if value != known {
        bail!("`{key}` is {value:?}, which is not supported by this plugin; it knows {known:?}");
    }
    Ok(())
}

/// Mels that a spectrogram may have.
pub(super) const MELS: RangeInclusive<usize> = 1..=1024;

/// Refuses values of a key that no spectrogram is made with.
pub(super) fn in_range(key: &str, value: usize, allowed: RangeInclusive<usize>) -> Result<()> {
    if !allowed.contains(&value) {
        bail!("{key} is {value}; it must be from {} to {}", allowed.start(), allowed.end());
    }
    Ok(())
}

/// Refuses frames of an odd number of samples, which have no middle.
pub(super) fn even(key: &str, value: usize) -> Result<()> {
    in_range(&format!("`{key}`"), value, 2..=1 << 16)?;
    if !value.is_multiple_of(2) {
        bail!("`{key}` is {value}, which is odd; this plugin makes spectrograms of an even number of samples a frame");
    }
    Ok(())
}
