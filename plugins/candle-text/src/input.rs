//! Tokenisation of texts, and packing of tokens.

use candle_core::Device;
use candle_kit::{Source, checkpoint::unreadable, guarded};
use fusemix_sdk::{Error, Item, ItemError, Options};
use std::cmp::Reverse;
use std::ops::Range;
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{Encoding, NormalizerWrapper, Tokenizer, TruncationDirection, TruncationParams};

use crate::extent::{Part, parts};
use crate::model::Outline;
use crate::prompt;
use crate::sentence_transformers::SentenceTransformers;
use crate::settings;
use crate::tokenizer::{self, Opened, Padding};

/// Tokens of a batch on the CPU: a batch's hidden states stay in a core's cache, and its products are large enough.
const CPU_TOKENS: usize = 512;
/// Tokens of a batch on a GPU, padding included.
const GPU_TOKENS: usize = 16_384;

pub(crate) struct Input {
    tokenizer: Tokenizer,
    /// See [`Opened::rules`].
    rules: Option<String>,
    max_length: usize,
    /// The side of a long text that is left out.
    cut: TruncationDirection,
    vocab_size: usize,
    /// What fills a text up to `max_length`, of a model that reads padding.
    padding: Option<Padding>,
    prompt: String,
    /// Tokens of the prompt, those before it included.
    prompt_tokens: usize,
    /// The tokens of a text with nothing in it.
    bare: Vec<u32>,
}

/// One text as the model reads it, special tokens included.
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    /// Those that are not padding.
    pub(crate) own: Range<usize>,
    pub(crate) truncated: bool,
}

impl Input {
    pub(crate) fn open(
        source: &Source,
        options: &Options,
        checkpoint: &SentenceTransformers,
        model: &Outline,
    ) -> Result<Self, Error> {
        let Opened { mut tokenizer, side: cut, padding, rules } = tokenizer::open(source)?;
        let path = source.file("tokenizer.json")?;
        let unread = |error: tokenizers::Error| unreadable(&path, error);
        let words = tokenizer.get_vocab_size(true);
        if words < model.vocab_size / 10 {
            let (path, all) = (path.display(), model.vocab_size);
            let message = format!("wrong tokenizer: {path} has only {words} of the model's {all} tokens");
            return Err(Error::config(format!("{message}; download this model's tokenizer.json")).key("model"));
        }
        if checkpoint.lower_case {
            let steps = [Some(NormalizerWrapper::from(Lowercase)), tokenizer.get_normalizer().cloned()];
            let steps = Sequence::new(steps.into_iter().flatten().collect());
            tokenizer.with_normalizer(Some(steps)).map_err(unread)?;
        }
        let prompt = prompt::choose(options, checkpoint)?;
        // A space at its end becomes part of the text's first word.
        let encoding = tokenizer.encode_fast(prompt.trim_end(), true).map_err(unread)?;
        let behind = encoding.get_special_tokens_mask().last() == Some(&1);
        let prompt_tokens = encoding.len() - usize::from(behind);
        let bare = encoding.get_ids().to_vec();

        let special = tokenizer.encode_fast("", true).map_err(unread)?.len();
        let max_length = max_length(source, options, checkpoint, special, model.max_positions)?;
        if encoding.len() >= max_length {
            let tokens = encoding.len();
            return Err(Error::config(format!("the prompt fills {tokens} of `max_length = {max_length}`; shorten it"))
                .key("max_length"));
        }
        let truncation = TruncationParams { max_length, stride: 0, direction: cut, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(unread)?;
        let padding = match padding {
            _ if !model.pads => None,
            None => {
                let message = format!("`model = \"{}\"`: its tokenizer has no `pad_token`", source.name());
                return Err(Error::config(format!("{message}; name one in {}", settings::CONFIG)).key("model"));
            }
            padding => padding,
        };
        let vocab_size = model.vocab_size;
        Ok(Self { tokenizer, rules, max_length, cut, vocab_size, padding, prompt, prompt_tokens, bare })
    }

    /// See [`Opened::rules`].
    pub(crate) fn rules(&self) -> Option<&str> {
        self.rules.as_deref()
    }

    /// The padding of texts, for the fingerprint.
    pub(crate) fn padding(&self) -> Option<String> {
        let Padding { id, left } = self.padding?;
        Some(format!("{id} {} to {}", if left { "before" } else { "behind" }, self.max_length))
    }

    pub(crate) fn max_length(&self) -> usize {
        self.max_length
    }

    pub(crate) fn prompt(&self) -> &str {
        &self.prompt
    }

    pub(crate) fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    pub(crate) fn tokens(&self, item: &Item<'_>) -> Result<Tokens, ItemError> {
        let text = item.as_text()?;
        let encoding = guarded("reading its tokens", || {
            let encoding = match self.prompt.is_empty() {
                true => self.encoding(text),
                false => self.encoding(&format!("{}{text}", self.prompt)),
            };
            encoding.map_err(|error| ItemError::new(format!("the tokenizer failed: {error}")))
        })?;
        let ids = encoding.get_ids().to_vec();
        match ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            Some(id) => {
                Err(ItemError::new(format!("token {id} is outside the model's vocabulary of {}", self.vocab_size)))
            }
            None if ids == self.bare => Err(ItemError::new(
                "the tokenizer finds nothing in it: it knows none of the characters, or leaves them out",
            )),
            None => Ok(self.filled(ids, !encoding.get_overflowing().is_empty())),
        }
    }
}

impl Input {
    /// The tokens of a text, of which no more is read than they need.
    fn encoding(&self, text: &str) -> tokenizers::Result<Encoding> {
        for Part { text: part, shorter } in parts(text, self.max_length, self.cut) {
            let encoding = self.tokenizer.encode_fast(part, true)?;
            // Half of the tokens are as if the rest were there: between words always, and within a word (in a run of one
            // letter all of them may be others) if they are with one letter less.
            let tokens = encoding.len() + encoding.get_overflowing().iter().map(Encoding::len).sum::<usize>();
            let is_same = |other: &str| {
                let other = self.tokenizer.encode_fast(other, true)?;
                tokenizers::Result::Ok(other.get_ids() == encoding.get_ids())
            };
            if tokens >= 2 * self.max_length && shorter.map_or(Ok(true), is_same)? {
                return Ok(encoding);
            }
        }
        self.tokenizer.encode_fast(text, true)
    }

    fn filled(&self, mut ids: Vec<u32>, truncated: bool) -> Tokens {
        let length = ids.len();
        let Some(Padding { id, left }) = self.padding else { return Tokens { ids, own: 0..length, truncated } };
        let missing = self.max_length - length;
        ids.resize(self.max_length, id);
        if left {
            ids.rotate_right(missing);
        }
        let own = if left { missing..self.max_length } else { 0..length };
        Tokens { ids, own, truncated }
    }
}

/// The option `max_length`, else what the checkpoint says: sentence-transformers' limit, the tokenizer's, the
/// positions.
fn max_length(
    source: &Source,
    options: &Options,
    checkpoint: &SentenceTransformers,
    special: usize,
    positions: usize,
) -> Result<usize, Error> {
    if let Some(length) = options.get::<usize>("max_length")? {
        return match length > special && length <= positions {
            true => Ok(length),
            false => Err(Error::config(format!(
                "`max_length = {length}`: choose a length from {} to the {positions} that the model supports",
                special + 1
            ))
            .key("max_length")),
        };
    }
    let tokenizer = source.json(settings::CONFIG)?.unwrap_or_default();
    // Tokenizers without a limit say 1e30, which is no whole number.
    let limits = [checkpoint.max_seq_length, tokenizer["model_max_length"].as_u64()];
    let limit = limits.into_iter().flatten().find(|&length| length > special as u64);
    Ok(limit.map_or(positions, |length| positions.min(length as usize)))
}

/// Texts that pass through the model together, each with its index.
pub(crate) type Pack<'a> = Vec<(usize, &'a Tokens)>;

/// Tokens of all its texts.
pub(crate) fn tokens(pack: &[(usize, &Tokens)]) -> usize {
    pack.iter().map(|(_, tokens)| tokens.own.len()).sum()
}

/// Packs of similar lengths, the longest first. A text longer than a pack gets its own.
pub(crate) fn packs<'a>(texts: &'a [Result<Tokens, ItemError>], device: &Device) -> Vec<Pack<'a>> {
    let budget = if device.is_cpu() { CPU_TOKENS } else { GPU_TOKENS };
    let texts = texts.iter().enumerate().filter_map(|(index, text)| Some((index, text.as_ref().ok()?)));
    let mut texts: Pack<'a> = texts.collect();
    texts.sort_by_key(|(_, tokens)| Reverse(tokens.ids.len()));
    let mut packs = Vec::new();
    let mut rest = &texts[..];
    while let Some((_, longest)) = rest.first() {
        let (pack, others) = rest.split_at(rest.len().min(1.max(budget / longest.ids.len())));
        packs.push(pack.to_vec());
        rest = others;
    }
    packs
}
