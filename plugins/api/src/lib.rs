//! Encoders behind embedding APIs, configured in plugins.toml with no code.
//!
//! One call of the host is one request, as a rule: what was paid for is on the host's disk before more is sent. From items to
//! latents: `input` (items as they are sent, and their sizes), `sender` (retries, batches halved down to the item at
//! fault), `pace` (when a request may go), `client` (one exchange over HTTP), `provider` (the wire formats), `answer`
//! (what is checked before a vector counts).

mod answer;
mod client;
mod input;
mod pace;
mod provider;
mod sender;
mod settings;
mod tokens;

use fusemix_sdk::{
    Description, Encoded, Encoder, Error, Host, Item, ItemError, Limits, OptionSpec, Options, Rate, Size, tracing,
};

use input::Input;
use sender::Sender;
use settings::Settings;
use tokens::Tokens;

fusemix_sdk::export!(Api);

/// Requests that run at once unless plugins.toml says otherwise.
const CONCURRENCY: usize = 8;

struct Api {
    settings: Settings,
    tokens: Tokens,
    sender: Sender,
}

impl Encoder for Api {
    fn options() -> Vec<OptionSpec> {
        settings::options()
    }

    fn open(options: &Options, _: &Host) -> Result<Self, Error> {
        let settings = Settings::read(options)?;
        let tokens = Tokens::open(&settings)?;
        let provider = provider::open(&settings, options)?;
        let sender = Sender::open(&settings, provider)?;
        tracing::info!("{} of {}: tokens {tokens}", settings.model, sender.address());
        Ok(Self { settings, tokens, sender })
    }

    fn describe(&self) -> Description {
        let Settings {
            modality, dimensions, max_bytes, max_tokens, requests_per_minute, tokens_per_minute, price, ..
        } = &self.settings;
        let own = self.sender.provider().limits();
        // No request is larger than what a minute may hold.
        let a_minute = tokens_per_minute.map(|tokens| (tokens as u64).max(1));
        let tokens = [max_tokens.or(own.tokens), a_minute].into_iter().flatten().min();
        let description = Description::new(modality.clone(), *dimensions)
            .batch(own.items)
            .concurrency(CONCURRENCY)
            .limits(Limits::new(max_bytes.or(own.bytes), tokens))
            .rate(Rate::new(*requests_per_minute, *tokens_per_minute))
            .price(*price)
            // Servers batch as they like, and their arithmetic is not always the same.
            .tolerance(1e-2);
        let parts = self.settings.fingerprint().into_iter().chain(self.sender.provider().fingerprint());
        parts.fold(description, |description, (key, value)| description.fingerprint(key, value))
    }

    fn measure(&self, items: &[Item<'_>]) -> Vec<Size> {
        items.iter().map(|item| self.size(item)).collect()
    }

    fn encode(&self, items: &[Item<'_>], host: &Host) -> Result<Encoded, Error> {
        let inputs: Vec<Result<Input, ItemError>> = items.iter().map(Input::of).collect();
        let (places, good): (Vec<usize>, Vec<&Input>) =
            inputs.iter().enumerate().filter_map(|(place, input)| Some((place, input.as_ref().ok()?))).unzip();
        let tokens: Vec<u64> = places.iter().map(|&place| self.size(&items[place]).tokens).collect();
        let sent = self.sender.send(&good, &tokens, host)?;
        let mut encoded = Encoded::new(
            inputs
                .iter()
                .map(|input| Err(input.as_ref().err().cloned().unwrap_or(ItemError::new("not sent"))))
                .collect(),
            sent.usage,
        );
        for (place, outcome) in places.into_iter().zip(sent.outcomes) {
            encoded.outcomes[place] = outcome;
        }
        Ok(encoded)
    }
}

impl Api {
    fn size(&self, item: &Item<'_>) -> Size {
        input::size(item, self.settings.prompt.as_deref().unwrap_or_default(), &self.tokens)
    }
}

#[cfg(test)]
mod tests;
