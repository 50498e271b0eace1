//! The pooling of a checkpoint's states, unless plugins.toml sets it.

use candle_kit::{Layer, Pooling};
use fusemix_sdk::{Error, Options};

use crate::sentence_transformers::PoolingFile;

/// The option `pooling`, else the checkpoint's setting, else the first of its family's `offers`.
pub(crate) fn choose(
    options: &Options,
    checkpoint: Option<&PoolingFile>,
    offers: &[Pooling],
    layer: Layer,
) -> Result<Pooling, Error> {
    match checkpoint.filter(|_| !matches!(options.get::<String>("pooling"), Ok(Some(_)))) {
        Some(file) => of_checkpoint(file, &layer.poolings(offers)),
        None => Pooling::choose(options, offers, layer),
    }
}

fn of_checkpoint(file: &PoolingFile, offers: &[Pooling]) -> Result<Pooling, Error> {
    let modes: Vec<&str> = file.modes.iter().map(String::as_str).collect();
    let pooling = match modes[..] {
        ["mean"] => Some(Pooling::Mean),
        ["cls"] => Some(Pooling::Cls),
        ["lasttoken"] => Some(Pooling::Last),
        _ => None,
    };
    pooling.filter(|pooling| offers.contains(pooling)).ok_or_else(|| {
        let offers = offers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let says = match modes[..] {
            [] => "names no pooling".to_owned(),
            _ => format!("pools by {}, which this plugin does not support", modes.join(" and ")),
        };
        Error::config(format!("{} {says}; set `pooling` to one of {offers}", file.name)).key("pooling")
    })
}
