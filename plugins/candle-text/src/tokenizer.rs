//! The tokenizer: tokenizer.json with what tokenizer_config.json and older files change of it, as transformers'
//! `AutoTokenizer` reads them. Its classes build most parts anew from their settings, whatever tokenizer.json says.

use candle_kit::{Source, checkpoint::unreadable};
use fusemix_sdk::Error;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokenizers::models::ModelWrapper;
use tokenizers::{
    AddedToken, NormalizerWrapper, PaddingDirection, PaddingParams, PostProcessorWrapper, PreTokenizerWrapper,
    Tokenizer, TruncationDirection,
};

use crate::settings::{ROLES, Settings, refused};
use crate::tokenizer_class::Class;

const FILE: &str = "tokenizer.json";
/// What CLIP takes for a word.
const CLIP_WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// What SigLIP leaves out of a text: ASCII's punctuation.
const PUNCTUATION: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"##;

/// A tokenizer without padding and truncation.
pub(crate) struct Opened {
    pub(crate) tokenizer: Tokenizer,
    /// The side of a text that is cut off.
    pub(crate) side: TruncationDirection,
    /// For a model that reads padding.
    pub(crate) padding: Option<Padding>,
    /// The digest of the rules by which it makes tokens, if they are others than tokenizer.json has.
    pub(crate) rules: Option<String>,
}

/// The token that fills a text up to a length.
#[derive(Clone, Copy)]
pub(crate) struct Padding {
    pub(crate) id: u32,
    /// True if it comes before the text.
    pub(crate) left: bool,
}

pub(crate) fn open(source: &Source) -> Result<Opened, Error> {
    let path = source.optional(FILE)?.ok_or_else(|| no_tokenizer(source.name()))?;
    let unread = |error: tokenizers::Error| unreadable(&path, error);
    let mut tokenizer = Tokenizer::from_file(&path).map_err(unread)?;
    let known = tokenizer.get_added_tokens_decoder().clone().into_iter().collect();
    let settings = Settings::read(source, &known)?;
    let model = source.json("config.json")?.unwrap_or_default();
    let class = Class::choose(&settings, &model, source)?;
    let class = if class.fits(tokenizer.get_model()) { class } else { Class::Plain };
    let filed_padding = tokenizer.get_padding().cloned();
    tokenizer.with_padding(None);
    let side = match (settings.values["truncation_side"].as_str(), tokenizer.get_truncation()) {
        (None, Some(own)) => own.direction,
        (None | Some("right"), _) => TruncationDirection::Right,
        (Some("left"), _) => TruncationDirection::Left,
        (Some(other), _) => {
            return Err(refused(source, "truncation_side", &format!("is {other}; choose left or right")));
        }
    };
    tokenizer.with_truncation(None).map_err(unread)?;
    let filed = rules(&tokenizer).map_err(unread)?;
    if settings.whole && class != Class::Plain {
        tokenizer = without_added(&tokenizer).map_err(unread)?;
    }
    apply(&settings, class, &mut tokenizer).map_err(unread)?;
    let built = rules(&tokenizer).map_err(unread)?;
    let rules = (built != filed).then(|| candle_kit::digest_of(built.to_string().as_bytes()));
    let padding = padding(&settings, class, filed_padding.as_ref(), &tokenizer);
    Ok(Opened { tokenizer, side, padding, rules })
}

/// A tokenizer of the same parts that has no added tokens yet.
fn without_added(tokenizer: &Tokenizer) -> tokenizers::Result<Tokenizer> {
    let mut bare = Tokenizer::new(tokenizer.get_model().clone());
    bare.with_normalizer(tokenizer.get_normalizer().cloned())?;
    bare.with_pre_tokenizer(tokenizer.get_pre_tokenizer().cloned());
    bare.with_post_processor(tokenizer.get_post_processor().cloned());
    bare.with_decoder(tokenizer.get_decoder().cloned());
    Ok(bare)
}

/// The token and the side of the settings, else of the class, else of tokenizer.json (`filed`).
fn padding(settings: &Settings, class: Class, filed: Option<&PaddingParams>, tokenizer: &Tokenizer) -> Option<Padding> {
    let named = settings.token("pad_token", class.tokens()).and_then(|token| tokenizer.token_to_id(&token.content));
    let left = match (settings.values["padding_side"].as_str(), filed) {
        (Some(side), _) => side == "left",
        (None, Some(filed)) => matches!(filed.direction, PaddingDirection::Left),
        (None, None) => matches!(class, Class::Gemma | Class::Siglip2),
    };
    Some(Padding { id: named.or(filed.map(|filed| filed.pad_id))?, left })
}

/// What a tokenizer makes tokens by, besides its vocabulary.
fn rules(tokenizer: &Tokenizer) -> tokenizers::Result<Value> {
    let added: BTreeMap<u32, AddedToken> = tokenizer.get_added_tokens_decoder().clone().into_iter().collect();
    let unknown = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => Some(&model.unk_token),
        _ => None,
    };
    Ok(json!({
        "normalizer": tokenizer.get_normalizer(),
        "pre_tokenizer": tokenizer.get_pre_tokenizer(),
        "frame": tokenizer.encode("", true)?.get_ids(),
        "added": added,
        "unknown": unknown,
        "split_special_tokens": tokenizer.get_encode_special_tokens(),
    }))
}

/// Builds the parts anew that the class builds, and adds the tokens that the settings name.
fn apply(settings: &Settings, class: Class, tokenizer: &mut Tokenizer) -> tokenizers::Result<()> {
    match class {
        Class::Bert | Class::MpNet => {
            let normalizer = json!({
                "type": "BertNormalizer",
                "clean_text": true,
                "handle_chinese_chars": settings.is_on("tokenize_chinese_chars", true),
                "strip_accents": settings.values["strip_accents"].as_bool(),
                "lowercase": settings.is_on("do_lower_case", true),
            });
            tokenizer.with_normalizer(Some(part::<NormalizerWrapper>(normalizer)?))?;
            tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(json!({"type": "BertPreTokenizer"}))?));
        }
        Class::Roberta => {
            let words = json!({
                "type": "ByteLevel",
                "add_prefix_space": settings.is_on("add_prefix_space", false),
                "trim_offsets": true,
                "use_regex": true,
            });
            tokenizer.with_normalizer(None::<NormalizerWrapper>)?;
            tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(words)?));
        }
        Class::XlmRoberta => {
            let scheme = if settings.is_on("add_prefix_space", true) { "always" } else { "never" };
            let space = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true});
            let words = json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]});
            let own = tokenizer.get_normalizer().map(serde_json::to_value).transpose()?;
            tokenizer.with_normalizer(own.and_then(precompiled).map(part::<NormalizerWrapper>).transpose()?)?;
            tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(words)?));
        }
        Class::Qwen2 => {
            let mut words = serde_json::to_value(tokenizer.get_pre_tokenizer())?;
            prefix_space(&mut words, settings.is_on("add_prefix_space", false));
            tokenizer.with_normalizer(Some(part::<NormalizerWrapper>(json!({"type": "NFC"}))?))?;
            tokenizer.with_pre_tokenizer(part::<Option<PreTokenizerWrapper>>(words)?);
        }
        Class::Clip => {
            let normalizer = json!({"type": "Sequence", "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Lowercase"},
            ]});
            let words = json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": CLIP_WORDS}, "behavior": "Removed", "invert": true},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            ]});
            tokenizer.with_normalizer(Some(part::<NormalizerWrapper>(normalizer)?))?;
            tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(words)?));
        }
        Class::Siglip => {
            let replace = |pattern: &str, content: &str| json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": content});
            let own = tokenizer.get_normalizer().map(serde_json::to_value).transpose()?;
            let lowercase = settings.is_on("do_lower_case", true).then(|| json!({"type": "Lowercase"}));
            let steps = [Some(json!({"type": "Prepend", "prepend": "▁"})), lowercase];
            let rest = [replace(PUNCTUATION, ""), replace(r"\s+", " "), replace(r"\s$", "")];
            let steps = steps.into_iter().flatten().chain(rest).chain(own.and_then(precompiled));
            let normalizer = json!({"type": "Sequence", "normalizers": steps.collect::<Vec<_>>()});
            let words = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true});
            tokenizer.with_normalizer(Some(part::<NormalizerWrapper>(normalizer)?))?;
            tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(words)?));
        }
        Class::Gemma | Class::Siglip2 => {
            let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
            let normalizer = match class {
                Class::Siglip2 => json!({"type": "Sequence", "normalizers": [{"type": "Lowercase"}, space]}),
                _ => space,
            };
            let words = json!({
                "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false,
            });
            tokenizer.with_normalizer(Some(part::<NormalizerWrapper>(normalizer)?))?;
            tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(words)?));
        }
        Class::Plain => {}
    }
    add(settings, class, tokenizer)?;
    frame(settings, class, tokenizer)?;
    tokenizer.set_encode_special_tokens(settings.is_on("split_special_tokens", false));
    Ok(())
}

/// Adds the tokens that tokenizer.json lacks, and those that it has with other manners.
fn add(settings: &Settings, class: Class, tokenizer: &mut Tokenizer) -> tokenizers::Result<()> {
    let unknown = settings.token("unk_token", class.tokens()).map(|token| token.content);
    let rebuilt = match (tokenizer.get_model(), unknown) {
        (ModelWrapper::WordPiece(model), Some(unknown)) if class != Class::Plain && model.unk_token != unknown => {
            let mut model = model.clone();
            model.unk_token = unknown;
            Some(ModelWrapper::from(model))
        }
        (ModelWrapper::BPE(model), Some(unknown))
            if class.names_unknown() && model.unk_token != Some(unknown.clone()) =>
        {
            let mut model = model.clone();
            model.unk_token = Some(unknown);
            Some(ModelWrapper::from(model))
        }
        _ => None,
    };
    if let Some(model) = rebuilt {
        tokenizer.with_model(model);
    }
    for token in settings.added() {
        match token.special {
            true => tokenizer.add_special_tokens([token])?,
            false => tokenizer.add_tokens([token])?,
        };
    }
    let named = ROLES.iter().filter_map(|role| settings.token(role, class.tokens())).chain(settings.others());
    for token in named {
        let known = tokenizer.get_added_tokens_decoder();
        if !known.values().any(|known| known.content == token.content) {
            tokenizer.add_special_tokens([token])?;
        }
    }
    Ok(())
}

/// The tokens at the beginning and at the end of a text.
fn frame(settings: &Settings, class: Class, tokenizer: &mut Tokenizer) -> tokenizers::Result<()> {
    let roles = match class {
        Class::Bert | Class::MpNet | Class::Roberta => [Some("cls_token"), Some("sep_token")],
        Class::XlmRoberta | Class::Clip => [Some("bos_token"), Some("eos_token")],
        Class::Siglip => [None, Some("eos_token")],
        Class::Gemma | Class::Siglip2 if tokenizer.get_post_processor().is_none() => {
            let on = |key, role| settings.is_on(key, false).then_some(role);
            [on("add_bos_token", "bos_token"), on("add_eos_token", "eos_token")]
        }
        // Tokenizer.json's own.
        Class::Gemma | Class::Siglip2 | Class::Qwen2 | Class::Plain => return Ok(()),
    };
    let (mut around, mut tokens) = (Vec::new(), serde_json::Map::new());
    for role in roles {
        let content = role.and_then(|role| settings.token(role, class.tokens())).map(|token| token.content);
        let id = content.as_deref().and_then(|content| tokenizer.token_to_id(content));
        if role.is_some() && id.is_none() {
            return Ok(());
        }
        if let (Some(content), Some(id)) = (&content, id) {
            tokens.insert(content.clone(), json!({"id": content, "ids": [id], "tokens": [content]}));
        }
        around.push(content.map(|content| json!({"SpecialToken": {"id": content, "type_id": 0}})));
    }
    let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let single = [around[0].take(), Some(sequence("A")), around[1].take()];
    let template = json!({
        "type": "TemplateProcessing",
        "single": single.into_iter().flatten().collect::<Vec<_>>(),
        "pair": [sequence("A"), sequence("B")],
        "special_tokens": tokens,
    });
    tokenizer.with_post_processor(Some(part::<PostProcessorWrapper>(template)?));
    Ok(())
}

fn part<T: DeserializeOwned>(json: Value) -> tokenizers::Result<T> {
    Ok(serde_json::from_value(json)?)
}

/// SentencePiece's own map of characters, among the steps of a normalizer.
fn precompiled(normalizer: Value) -> Option<Value> {
    if normalizer["type"] == "Precompiled" {
        return Some(normalizer);
    }
    normalizer["normalizers"].as_array()?.iter().find(|step| step["type"] == "Precompiled").cloned()
}

fn prefix_space(words: &mut Value, on: bool) {
    if let Some(steps) = words["pretokenizers"].as_array_mut() {
        steps.iter_mut().for_each(|step| prefix_space(step, on));
    } else if words["type"] == "ByteLevel" {
        words["add_prefix_space"] = on.into();
    }
}

fn no_tokenizer(model: &str) -> Error {
    Error::config(format!(
        "`model = \"{model}\"`: there is no tokenizer.json; download it from where the model came from, or, if the \
         tokenizer's other files are here (vocab.txt, sentencepiece.bpe.model or the like), create it with \
         `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` of the transformers package"
    ))
    .key("model")
}
