//! The settings in sentence-transformers' files beside a checkpoint.

use candle_kit::Source;
use fusemix_sdk::{Error, Options, tracing};
use serde_json::Value;
use std::collections::BTreeMap;

const MODULES: &str = "modules.json";
/// The first module of all: the transformer, whose type was once the name of its family.
const TRANSFORMERS: [&str; 10] =
    ["Transformer", "BERT", "RoBERTa", "DistilBERT", "ALBERT", "CamemBERT", "XLMRoBERTa", "XLNet", "CLIPModel", ""];
/// Families that name the file with the maximum length of a text; the first existing file counts.
const LIMITS: [&str; 7] = ["bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"];
const PROMPTS: &str = "config_sentence_transformers.json";

/// Everything is absent from a checkpoint without such files.
#[derive(Default)]
pub(crate) struct SentenceTransformers {
    pub(crate) pooling: Option<PoolingFile>,
    /// True if sentence-transformers scales its latents to length 1.
    pub(crate) normalizes: bool,
    /// Modules of sentence-transformers that change a latent and that this plugin lacks: `Dense`.
    pub(crate) unknown: Vec<String>,
    /// Tokens.
    pub(crate) max_seq_length: Option<u64>,
    pub(crate) lower_case: bool,
    /// By name.
    prompts: BTreeMap<String, String>,
    default_prompt: Option<String>,
}

/// The pooling module's config.json.
pub(crate) struct PoolingFile {
    /// Its name in the repository.
    pub(crate) name: String,
    /// `mean`, `cls`, `lasttoken` and others; several are put one after the other.
    pub(crate) modes: Vec<String>,
    /// True if the prompt's tokens are pooled too.
    pub(crate) include_prompt: bool,
}

/// Where the modules of a checkpoint are: the whole, and its transformer, which has a folder of its own in old ones.
pub(crate) struct Layout {
    pub(crate) whole: Source,
    pub(crate) transformer: Source,
}

impl Layout {
    /// The layout by modules.json, in the model's folder or in the one around it.
    pub(crate) fn of(source: Source) -> Result<Self, Error> {
        if !source.knows(MODULES)? {
            return Ok(Self { whole: source.clone(), transformer: source });
        }
        if let Some(modules) = source.json(MODULES)? {
            let path = modules.as_array().into_iter().flatten().find(|module| is_transformer(module));
            let transformer = source.within(path.and_then(|module| module["path"].as_str()).unwrap_or_default());
            return Ok(Self { whole: source, transformer });
        }
        let around = source.around().map(|(whole, folder)| Ok::<_, Error>((whole.json(MODULES)?, whole, folder)));
        if let Some((Some(modules), whole, folder)) = around.transpose()? {
            let own = |module: &&Value| is_transformer(module) && module["path"] == folder.as_str();
            if modules.as_array().into_iter().flatten().any(|module| own(&module)) {
                let transformer = whole.within(&folder);
                return Ok(Self { whole, transformer });
            }
        }
        Ok(Self { whole: source.clone(), transformer: source })
    }
}

fn is_transformer(module: &Value) -> bool {
    TRANSFORMERS.contains(&kind(module))
}

/// The last part of a module's type.
fn kind(module: &Value) -> &str {
    module["type"].as_str().and_then(|name| name.rsplit('.').next()).unwrap_or_default()
}

impl SentenceTransformers {
    /// Reads the files. If it is unknown whether they exist (see [`Source::optional`]), `pooling` has to be set.
    pub(crate) fn read(layout: &Layout, options: &Options) -> Result<Self, Error> {
        let source = &layout.whole;
        let mut found = Self::default();
        if !source.knows(MODULES)? {
            let without =
                |error: Error| Error::config(format!("{}; or set `pooling` to go without", error.message)).key("model");
            return match options.get::<String>("pooling")? {
                Some(_) => {
                    tracing::warn!(
                        "{}: {MODULES} is not cached; it may name a prompt and a maximum length",
                        source.name()
                    );
                    Ok(found)
                }
                None => source.optional(MODULES).map(|_| found).map_err(without),
            };
        }
        let (mut pooling, mut pooled) = ("1_Pooling".to_owned(), false);
        let modules = source.json(MODULES)?.unwrap_or_default();
        for module in modules.as_array().into_iter().flatten() {
            match kind(module) {
                "Pooling" => {
                    pooling = module["path"].as_str().unwrap_or_default().to_owned();
                    pooled = true;
                }
                "Normalize" => found.normalizes = true,
                "Dropout" => {}
                known if TRANSFORMERS.contains(&known) => {}
                other if !pooled => {
                    let message =
                        format!("{MODULES} of {}: {other} changes states before they are pooled", source.name());
                    return Err(Error::config(format!(
                        "{message}, which this plugin does not support; choose another checkpoint"
                    ))
                    .key("model"));
                }
                other => found.unknown.push(other.to_owned()),
            }
        }
        let name = format!("{pooling}/config.json");
        found.pooling = source.json(&name)?.map(|config| PoolingFile::new(name, &config));
        let mut limits = Value::Null;
        for name in LIMITS.map(|family| format!("sentence_{family}_config.json")) {
            if let Some(found) = layout.transformer.json(&name)? {
                limits = found;
                break;
            }
        }
        found.max_seq_length = limits["max_seq_length"].as_u64();
        found.lower_case = limits["do_lower_case"].as_bool().unwrap_or(false);
        let prompts = source.json(PROMPTS)?.unwrap_or_default();
        let texts = prompts["prompts"].as_object().into_iter().flatten();
        found.prompts = texts.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect();
        found.default_prompt = prompts["default_prompt_name"].as_str().map(str::to_owned);
        Ok(found)
    }

    /// The prompt called `name`.
    pub(crate) fn prompt(&self, name: &str) -> Result<&str, Error> {
        let names: Vec<&str> = self.prompts.keys().map(String::as_str).collect();
        self.prompts.get(name).map(String::as_str).ok_or_else(|| {
            Error::config(match names[..] {
                [] => format!("`prompt_name = \"{name}\"`: the checkpoint has no named prompts; set `prompt` instead"),
                _ => format!("`prompt_name = \"{name}\"`: the checkpoint's prompts are {}", names.join(", ")),
            })
            .key("prompt_name")
        })
    }

    /// The prompt that the checkpoint puts before texts unless told otherwise.
    pub(crate) fn default_prompt(&self) -> Result<&str, Error> {
        let Some(name) = &self.default_prompt else { return Ok("") };
        let wrong =
            |error: Error| Error::config(format!("{PROMPTS}, `default_prompt_name`: {}", error.message)).key("model");
        self.prompt(name).map_err(wrong)
    }
}

impl PoolingFile {
    /// `pooling_mode` is one mode or a list of them; before there was a key for each, `pooling_mode_MODE_tokens` or so.
    fn new(name: String, config: &Value) -> Self {
        let modes = match &config["pooling_mode"] {
            Value::String(mode) => vec![mode.clone()],
            Value::Array(modes) => modes.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => {
                let on = config.as_object().into_iter().flatten().filter(|(_, on)| on.as_bool() == Some(true));
                let modes = on.filter_map(|(key, _)| key.strip_prefix("pooling_mode_"));
                modes.map(|mode| mode.trim_end_matches("_tokens").trim_end_matches("_token").to_owned()).collect()
            }
        };
        Self { name, modes, include_prompt: config["include_prompt"].as_bool().unwrap_or(true) }
    }
}
