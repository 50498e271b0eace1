//! OpenCLIP's own layout, which is refused by name.

use fusemix_sdk::Error;

use crate::Source;

const CONFIG: &str = "open_clip_config.json";

/// An error if the model is there in OpenCLIP's layout alone.
pub fn refuse_open_clip(source: &Source) -> Result<(), Error> {
    let has = |name| Ok::<_, Error>(source.knows(name)? && source.optional(name)?.is_some());
    if has("config.json")? || !has(CONFIG)? {
        return Ok(());
    }
    Err(Error::config(format!(
        "`model = \"{}\"`: this is OpenCLIP's own layout ({CONFIG}), which is not supported; take a checkpoint of the \
         model in transformers' layout, which has a config.json with `model_type` clip or siglip",
        source.name()
    ))
    .key("model"))
}
