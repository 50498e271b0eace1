//! The tokenizer classes of transformers: which one a checkpoint has, and the tokens that it names by itself.

use candle_kit::Source;
use fusemix_sdk::Error;
use serde_json::Value;
use tokenizers::models::ModelWrapper;

use crate::settings::{Settings, refused};

/// The classes of transformers that are followed.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Class {
    Bert,
    MpNet,
    Roberta,
    XlmRoberta,
    Qwen2,
    Clip,
    Siglip,
    Gemma,
    /// Gemma's, of which all letters are small.
    Siglip2,
    /// Takes tokenizer.json as it is.
    Plain,
}

impl Class {
    const NAMES: [(&str, Self); 13] = [
        ("BertTokenizer", Self::Bert),
        ("DistilBertTokenizer", Self::Bert),
        ("MPNetTokenizer", Self::MpNet),
        ("RobertaTokenizer", Self::Roberta),
        ("XLMRobertaTokenizer", Self::XlmRoberta),
        ("CamembertTokenizer", Self::XlmRoberta),
        ("Qwen2Tokenizer", Self::Qwen2),
        ("CLIPTokenizer", Self::Clip),
        ("SiglipTokenizer", Self::Siglip),
        ("GemmaTokenizer", Self::Gemma),
        ("Siglip2Tokenizer", Self::Siglip2),
        ("PreTrainedTokenizer", Self::Plain),
        ("TokenizersBackend", Self::Plain),
    ];

    /// The class that the settings name, else the model's own.
    pub(crate) fn choose(settings: &Settings, model: &Value, source: &Source) -> Result<Self, Error> {
        let own = match model["model_type"].as_str().unwrap_or_default() {
            "bert" | "distilbert" | "nomic_bert" => Self::Bert,
            "mpnet" => Self::MpNet,
            "roberta" | "clap" => Self::Roberta,
            "xlm-roberta" | "camembert" | "gte" => Self::XlmRoberta,
            "qwen3" => Self::Qwen2,
            "clip" => Self::Clip,
            "siglip" => Self::Siglip,
            "siglip2" => return Ok(Self::Siglip2),
            // Whatever its settings name, as transformers has it.
            "modernbert" => return Ok(Self::Plain),
            _ => Self::Plain,
        };
        let Some(name) = settings.values["tokenizer_class"].as_str().or(model["tokenizer_class"].as_str()) else {
            return Ok(own);
        };
        let known = Self::NAMES.iter().find(|(known, _)| *known == name.strip_suffix("Fast").unwrap_or(name));
        known.map(|(_, class)| *class).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name).join(", ");
            refused(source, "tokenizer_class", &format!("is {name}; this plugin follows {names}"))
        })
    }

    /// The roles that its tokens have unless the settings say otherwise.
    pub(crate) fn tokens(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Bert => &[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
            // MPNet's words are BERT's, and so is the token of what is none.
            Self::MpNet => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "[UNK]"),
                ("sep_token", "</s>"),
                ("pad_token", "<pad>"),
                ("cls_token", "<s>"),
                ("mask_token", "<mask>"),
            ],
            Self::Roberta | Self::XlmRoberta => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
                ("sep_token", "</s>"),
                ("pad_token", "<pad>"),
                ("cls_token", "<s>"),
                ("mask_token", "<mask>"),
            ],
            Self::Qwen2 => &[("unk_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>")],
            Self::Clip => &[
                ("unk_token", "<|endoftext|>"),
                ("bos_token", "<|startoftext|>"),
                ("eos_token", "<|endoftext|>"),
                ("pad_token", "<|endoftext|>"),
            ],
            Self::Siglip => &[("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "</s>")],
            Self::Gemma | Self::Siglip2 => &[
                ("unk_token", "<unk>"),
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Self::Plain => &[],
        }
    }

    /// True if the class has what is no token replaced by one that the settings name.
    pub(crate) fn names_unknown(self) -> bool {
        matches!(self, Self::Clip | Self::Gemma | Self::Siglip2)
    }

    /// True if the class builds tokenizers of such a model; of another one, tokenizer.json is taken as it is.
    pub(crate) fn fits(self, model: &ModelWrapper) -> bool {
        match self {
            Self::Bert | Self::MpNet => matches!(model, ModelWrapper::WordPiece(_)),
            Self::Roberta | Self::Qwen2 | Self::Clip | Self::Gemma | Self::Siglip2 => {
                matches!(model, ModelWrapper::BPE(_))
            }
            Self::XlmRoberta | Self::Siglip => matches!(model, ModelWrapper::Unigram(_)),
            Self::Plain => true,
        }
    }
}
