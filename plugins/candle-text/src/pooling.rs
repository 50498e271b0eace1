//! How sentence-transformers pools a checkpoint's states, where the checkpoint says so.

use candle_kit::{Pooling, Source};
use fusemix_sdk::{Error, Options};

const FILE: &str = "1_Pooling/config.json";

/// The option `pooling`, else what the checkpoint says, else the first of what its family `offers`.
pub(crate) fn choose(source: &Source, options: &Options, offers: &[Pooling]) -> Result<Pooling, Error> {
    let config = source.json(FILE)?.filter(|_| !matches!(options.get::<String>("pooling"), Ok(Some(_))));
    let Some(config) = config else { return Pooling::choose(options, offers) };
    let modes = config.as_object().into_iter().flatten().filter(|(_, on)| on.as_bool() == Some(true));
    let modes: Vec<&str> = modes.filter_map(|(mode, _)| mode.strip_prefix("pooling_mode_")).collect();
    match modes[..] {
        ["mean_tokens"] => Ok(Pooling::Mean),
        ["cls_token"] => Ok(Pooling::Cls),
        ["lasttoken"] => Ok(Pooling::Last),
        _ => Err(Error::config(format!(
            "`{}`: its {FILE} pools by {}; set `pooling` to {} to have it otherwise",
            source.name(),
            modes.join(" and "),
            offers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        ))),
    }
}
