//! From texts to tokens, and from tokens to batches.

use candle_core::Device;
use candle_kit::Source;
use fusemix_sdk::{Error, Item, ItemError, Options};
use std::cmp::Reverse;
use tokenizers::{Tokenizer, TruncationParams};

use crate::model::Model;

/// Tokens of a batch on the CPU: a batch's hidden states stay in a core's cache, and its products are large enough.
const CPU_TOKENS: usize = 512;
/// Tokens of a batch on a GPU, padding included.
const GPU_TOKENS: usize = 16_384;

pub(crate) struct Input {
    tokenizer: Tokenizer,
    max_length: usize,
    vocab_size: usize,
}

/// One text as the model reads it, special tokens included.
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) truncated: bool,
}

impl Input {
    pub(crate) fn open(source: &Source, options: &Options, model: &dyn Model) -> Result<Self, Error> {
        let path = source.file("tokenizer.json")?;
        let unread = |error: tokenizers::Error| Error::config(format!("{}: {error}", path.display()));
        let mut tokenizer = Tokenizer::from_file(&path).map_err(unread)?;
        tokenizer.with_padding(None);
        let special = tokenizer.encode_fast("", true).map_err(unread)?.len();
        let max_length = max_length(source, options, special, model.max_positions())?;
        let truncation = tokenizer.get_truncation().cloned().unwrap_or_default();
        let truncation = TruncationParams { max_length, stride: 0, ..truncation };
        tokenizer.with_truncation(Some(truncation)).map_err(unread)?;
        Ok(Self { tokenizer, max_length, vocab_size: model.vocab_size() })
    }

    pub(crate) fn max_length(&self) -> usize {
        self.max_length
    }

    pub(crate) fn tokens(&self, item: &Item<'_>) -> Result<Tokens, ItemError> {
        let encoding = self.tokenizer.encode_fast(item.as_text()?, true);
        let encoding = encoding.map_err(|error| ItemError::new(format!("the tokenizer: {error}")))?;
        let ids = encoding.get_ids().to_vec();
        match ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            Some(id) => Err(ItemError::new(format!("token {id} is not one of the model's {}", self.vocab_size))),
            None if ids.is_empty() => Err(ItemError::new("no tokens")),
            None => Ok(Tokens { ids, truncated: !encoding.get_overflowing().is_empty() }),
        }
    }
}

/// The option `max_length`, else what the checkpoint says: sentence-transformers' limit, the tokenizer's, the positions.
fn max_length(source: &Source, options: &Options, special: usize, positions: usize) -> Result<usize, Error> {
    if let Some(length) = options.get::<usize>("max_length")? {
        return match length > special && length <= positions {
            true => Ok(length),
            false => Err(Error::config(format!(
                "`max_length = {length}`: choose one from {} to the {positions} that the model knows",
                special + 1
            ))),
        };
    }
    for (file, key) in [("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")]
    {
        // Tokenizers without a limit say 1e30, which is no whole number.
        if let Some(length) = source.json(file)?.and_then(|config| config[key].as_u64())
            && length > special as u64
        {
            return Ok(positions.min(length as usize));
        }
    }
    Ok(positions)
}

/// Texts that go through the model together.
pub(crate) struct Batch {
    /// The index of each text.
    pub(crate) texts: Vec<usize>,
    /// The tokens of each text.
    pub(crate) lengths: Vec<usize>,
    /// Their tokens, one text after the other.
    pub(crate) ids: Vec<u32>,
}

/// Batches of similar lengths, the longest first.
pub(crate) fn batches(texts: &[Result<Tokens, ItemError>], device: &Device) -> Vec<Batch> {
    let budget = if device.is_cpu() { CPU_TOKENS } else { GPU_TOKENS };
    let texts = texts.iter().enumerate().filter_map(|(index, text)| Some((index, &text.as_ref().ok()?.ids)));
    let mut texts: Vec<(usize, &Vec<u32>)> = texts.collect();
    texts.sort_by_key(|(_, ids)| Reverse(ids.len()));
    let mut batches = Vec::new();
    let mut rest = &texts[..];
    while let Some((_, longest)) = rest.first() {
        let (batch, others) = rest.split_at(rest.len().min(1.max(budget / longest.len())));
        batches.push(Batch {
            texts: batch.iter().map(|(index, _)| *index).collect(),
            lengths: batch.iter().map(|(_, ids)| ids.len()).collect(),
            ids: batch.iter().flat_map(|(_, ids)| ids.iter().copied()).collect(),
        });
        rest = others;
    }
    batches
}
