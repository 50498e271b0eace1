//! The prompt before each text.

use fusemix_sdk::{Error, OptionKind, OptionSpec, Options};

use crate::sentence_transformers::SentenceTransformers;

pub(crate) fn options() -> [OptionSpec; 2] {
    [
        OptionSpec::new(
            "prompt",
            OptionKind::Text,
            "text put before each item, such as \"query: \" (default: the checkpoint's own)",
        ),
        OptionSpec::new(
            "prompt_name",
            OptionKind::Text,
            "the name of the checkpoint's prompt that is put before each item",
        ),
    ]
}

/// The option `prompt`, else the checkpoint's prompt that `prompt_name` names, else its default.
pub(crate) fn choose(options: &Options, checkpoint: &SentenceTransformers) -> Result<String, Error> {
    match (options.get::<String>("prompt")?, options.get::<String>("prompt_name")?) {
        (Some(_), Some(_)) => {
            Err(Error::config("`prompt` and `prompt_name` are both set; remove one of them").key("prompt_name"))
        }
        (Some(prompt), None) => Ok(prompt),
        (None, Some(name)) => checkpoint.prompt(&name).map(str::to_owned),
        (None, None) => checkpoint.default_prompt().map(str::to_owned),
    }
}
