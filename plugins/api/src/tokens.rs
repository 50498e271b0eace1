//! Token counts of texts: by the model's tokenizer if known, else estimated.

use fusemix_sdk::Error;
use std::fmt;
use std::path::Path;
use tiktoken_rs::CoreBPE;
use tokenizers::Tokenizer;

pub(crate) enum Tokens {
    /// The tokenizer of OpenAI's models.
    Cl100k(&'static CoreBPE),
    /// A tokenizer.json.
    File(Box<Tokenizer>),
    /// A token for four ASCII characters, one for each other character.
    Estimate,
}

impl Tokens {
    /// The counter by a tokenizer.json, or for a known model.
    pub(crate) fn open(tokenizer: Option<&Path>, model: &str) -> Result<Self, Error> {
        if let Some(path) = tokenizer {
            let wrong = |error| Error::config(format!("tokenizer {}: {error}", path.display())).key("tokenizer");
            let mut tokenizer = Tokenizer::from_file(path).map_err(wrong)?;
            // The file may say how its model is fed; here the whole text counts, and nothing else.
            tokenizer.with_truncation(None).map_err(wrong)?;
            tokenizer.with_padding(None);
            return Ok(Self::File(Box::new(tokenizer)));
        }
        let openai = ["text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"];
        Ok(match openai.contains(&model) {
            true => Self::Cl100k(tiktoken_rs::cl100k_base_singleton()),
            false => Self::Estimate,
        })
    }

    pub(crate) fn count(&self, text: &str) -> u64 {
        let estimate = || {
            let ascii = text.bytes().filter(u8::is_ascii).count();
            (ascii.div_ceil(4) + text.chars().filter(|c| !c.is_ascii()).count()) as u64
        };
        match self {
            Self::Cl100k(bpe) => bpe.encode_ordinary(text).len() as u64,
            Self::File(tokenizer) => {
                tokenizer.encode_fast(text, true).map_or_else(|_| estimate(), |found| found.len() as u64)
            }
            Self::Estimate => estimate(),
        }
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cl100k(_) => "counted with cl100k_base",
            Self::File(_) => "counted with its tokenizer.json",
            Self::Estimate => "estimated: one for four ASCII characters, one for each other",
        })
    }
}
