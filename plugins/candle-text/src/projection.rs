//! The projection of a text's latent to where an aligned model (CLIP, CLAP) compares it with pictures or sounds.

use candle_kit::{Layer, Pooling};
use fusemix_sdk::{Error, OptionKind, OptionSpec, Options};

use crate::model::{Outline, Projection};

const KEY: &str = "projection";

pub(crate) fn option() -> OptionSpec {
    let help = "use the latent that CLIP and CLAP compare with pictures and sounds, not the one before it (default: \
                false)";
    OptionSpec::new(KEY, OptionKind::Boolean, help)
}

/// True if what the model `name` pools is projected.
pub(crate) fn choose(
    options: &Options,
    outline: &Outline,
    layer: Layer,
    pooling: Pooling,
    name: &str,
) -> Result<bool, Error> {
    if !options.get_or(KEY, false)? {
        return Ok(false);
    }
    let refusal = match outline.projection {
        Projection::To(_) if layer != Layer::Last => format!("it needs the last layer; remove `layer = {layer}`"),
        Projection::To(_) if pooling != Pooling::Pooler => {
            format!("it is of the model's own pooling; remove `pooling = \"{pooling}\"`")
        }
        Projection::To(_) => return Ok(true),
        Projection::Pooler => {
            "the model has none, and needs none: its pooler, the default, is what it compares with pictures; remove it"
                .into()
        }
        Projection::None => format!("{name} has none; only CLIP and CLAP have one"),
    };
    Err(Error::config(format!("`{KEY} = true`: {refusal}")).key(KEY))
}
