//! Weights without a config.json, as the authors of EfficientNet-Lite and UNICOM publish them.

use candle_core::{DType, Device, Error as Failure, Result};
use candle_kit::{Source, checkpoint, reason};
use fusemix_sdk::Error;

use super::{Loaded, boxed, efficientnet, unicom};

/// Loads a network recognised by the names and shapes of its tensors.
pub(super) fn load(source: &Source, dtype: DType, device: &Device) -> std::result::Result<Loaded, Error> {
    let weights = vec![source.state_dict()?];
    let stranger = |error: String| {
        Error::config(format!(
            "{} has no config.json next to it, and is neither EfficientNet-Lite nor UNICOM as PyTorch saves them: \
             {error}",
            weights[0].display()
        ))
    };
    let vb = checkpoint::load(&weights, dtype, device).map_err(|error| stranger(error.message))?;
    let loaded: Result<_> = if vb.contains_tensor("_conv_stem.weight") {
        efficientnet::EfficientNet::load_lite(vb)
            .map(|(name, model, preprocessing)| (name, boxed(model), preprocessing))
    } else if vb.contains_tensor("feature.0.weight") && vb.contains_tensor("patch_embed.proj.weight") {
        unicom::Unicom::load(vb).map(|(model, preprocessing)| ("unicom", boxed(model), preprocessing))
    } else if vb.contains_tensor("modality_preprocessors.vision.cls_token") {
        Err(Failure::Msg("it is ImageBind, which is not supported".into()))
    } else {
        Err(Failure::Msg("it has the tensors of neither".into()))
    };
    let (architecture, model, preprocessing) = loaded.map_err(|error| stranger(reason(&error)))?;
    Ok(Loaded { architecture: architecture.to_owned(), model, preprocessing, weights, config: None })
}
