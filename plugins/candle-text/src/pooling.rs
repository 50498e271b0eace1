//! From the hidden states of a text's tokens to one latent.

use candle_kit::Source;
use fusemix_sdk::{Error, Options};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The mean over all tokens, special ones included.
    Mean,
    /// The first token.
    Cls,
}

impl Pooling {
    pub(crate) const NAMES: [&str; 2] = ["mean", "cls"];

    /// The option `pooling`, else what sentence-transformers does with this checkpoint, else the mean.
    pub(crate) fn choose(source: &Source, options: &Options) -> Result<Self, Error> {
        const FILE: &str = "1_Pooling/config.json";
        if let Some(name) = options.get::<String>("pooling")? {
            return match name.as_str() {
                "mean" => Ok(Self::Mean),
                "cls" => Ok(Self::Cls),
                _ => Err(Error::config(format!("`pooling = \"{name}\"`: choose {}", Self::NAMES.join(" or ")))),
            };
        }
        let Some(config) = source.json(FILE)? else { return Ok(Self::Mean) };
        let modes = config.as_object().into_iter().flatten().filter(|(_, on)| on.as_bool() == Some(true));
        let modes: Vec<&str> = modes.filter_map(|(mode, _)| mode.strip_prefix("pooling_mode_")).collect();
        match modes[..] {
            ["mean_tokens"] => Ok(Self::Mean),
            ["cls_token"] => Ok(Self::Cls),
            _ => Err(Error::config(format!(
                "`{}`: its {FILE} pools by {}; set `pooling` to {} to have it otherwise",
                source.name(),
                modes.join(" and "),
                Self::NAMES.join(" or ")
            ))),
        }
    }

    /// `hidden` is `tokens x width` of one text, row by row.
    pub(crate) fn pool(self, hidden: &[f32], width: usize) -> Vec<f32> {
        match self {
            Self::Cls => hidden[..width].to_vec(),
            Self::Mean => {
                let mut mean = vec![0.0; width];
                for token in hidden.chunks_exact(width) {
                    mean.iter_mut().zip(token).for_each(|(sum, value)| *sum += value);
                }
                let tokens = (hidden.len() / width) as f32;
                mean.iter_mut().for_each(|sum| *sum /= tokens);
                mean
            }
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
        })
    }
}

/// Scales `latent` to length 1; a zero stays zero.
pub(crate) fn normalize(latent: &mut [f32]) {
    let length = latent.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    latent.iter_mut().for_each(|value| *value /= length);
}
