//! Weights without a config.json, as the authors of EfficientNet-Lite and UNICOM publish them.

use candle_core::{DType, Device, Error as Failure, Result};
use candle_kit::{Source, checkpoint, reason};
use fusemix_sdk::{Error, Host, Options};
use std::path::Path;

use super::{Loaded, boxed, efficientnet, unicom};

/// Of state dicts, whatever they are called.
const ENDINGS: [&str; 3] = ["pt", "pth", "bin"];

/// A folder without a config.json means the only state dict in it.
pub(crate) fn locate(options: &Options, host: &Host) -> std::result::Result<Source, Error> {
    let name: String = options.need("model")?;
    let folder = options.resolve(&name);
    if !folder.is_dir() || folder.join("config.json").is_file() || options.get::<String>("revision")?.is_some() {
        return Source::locate(options, host);
    }
    let unread = |error| Error::config(format!("{}: {error}", folder.display()));
    let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(unread)?;
    let paths = entries.into_iter().map(|entry| Path::new(&name).join(entry.file_name()));
    let mut files: Vec<_> =
        paths.filter(|path| ENDINGS.iter().any(|end| path.extension() == Some(end.as_ref()))).collect();
    files.sort();
    match &files[..] {
        [file] => Source::locate(&options.clone().with("model", file.to_string_lossy()), host),
        [] => Source::locate(options, host),
        files => Err(Error::config(format!(
            "`model = \"{name}\"`: {} has no config.json, and {} state dicts; name one of them, such as {}",
            folder.display(),
            files.len(),
            files[0].display()
        ))),
    }
}

/// The network is known by the names and shapes of its tensors.
pub(super) fn load(source: &Source, dtype: DType, device: &Device) -> std::result::Result<Loaded, Error> {
    let weights = vec![source.weights(&["model.safetensors", "pytorch_model.bin"])?];
    let stranger = |error: String| {
        Error::config(format!(
            "{} has no config.json beside it, and is neither EfficientNet-Lite nor UNICOM as PyTorch saves them: {error}",
            weights[0].display()
        ))
    };
    let vb = checkpoint::load(&weights, dtype, device).map_err(|error| stranger(error.message))?;
    let loaded: Result<_> = if vb.contains_tensor("_conv_stem.weight") {
        efficientnet::EfficientNet::load_lite(vb).map(|(name, model, recipe)| (name, boxed(model), recipe))
    } else if vb.contains_tensor("feature.0.weight") && vb.contains_tensor("patch_embed.proj.weight") {
        unicom::Unicom::load(vb).map(|(model, recipe)| ("unicom", boxed(model), recipe))
    } else {
        Err(Failure::Msg("it has the tensors of neither".into()))
    };
    let (architecture, model, recipe) = loaded.map_err(|error| stranger(reason(&error)))?;
    Ok(Loaded { architecture: architecture.to_owned(), model, recipe, weights, config: None })
}
