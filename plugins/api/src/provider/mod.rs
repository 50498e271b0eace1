//! The wire formats, one per file; a new one is a file, a line in each of the two lists here and in those of `catalog`.

mod cohere;
mod contract;
mod gemini;
mod http;
mod jina;
mod ollama;
mod openai;
mod tei;
mod voyage;

use fusemix_sdk::{Error, Options};

use crate::settings::Settings;

pub(crate) use contract::{Provider, Spare};

pub(crate) fn open(settings: &Settings, options: &Options) -> Result<Box<dyn Provider>, Error> {
    Ok(match settings.provider.as_str() {
        "openai" => Box::new(openai::OpenAi::open(settings, options)?),
        "cohere" => Box::new(cohere::Cohere::open(settings)?),
        "voyage" => Box::new(voyage::Voyage::open(settings)),
        "jina" => Box::new(jina::Jina::open(settings)),
        "gemini" => Box::new(gemini::Gemini::open(settings)?),
        "tei" => Box::new(tei::Tei::open(settings)),
        "ollama" => Box::new(ollama::Ollama::open(settings)),
        _ => Box::new(http::Http::open(settings, options)?),
    })
}
