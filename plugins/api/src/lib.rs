//! Encoders behind embedding APIs, configured in plugins.toml with no code.
//!
//! Paid answers are on the host's disk before more of a batch is sent. From items to latents, each module importing
//! only those before it: `secret`, `endpoint`, `media` and `input` (items in the form that is sent), `failure`, `said`
//! (the server's own words), `limit` (what these say of the number of inputs), `packed`, `scalar`, `vector`, `order` and
//! `answer` (checks that a vector must pass), `catalog` (providers by name); `tokens` and `size`; `settings`; `client` (one
//! exchange over HTTP), `pace` (the time of a request), `sizes` (how many items it may have), `tries` (the decision to
//! retry); `provider` (the wire formats), `diagnosis` (the key that a server refuses); `sender` (batches halved down to
//! the item at fault). What still fails and may pass, the host tries again.

mod answer;
mod body;
mod catalog;
mod client;
mod diagnosis;
mod endpoint;
mod failure;
mod input;
mod limit;
mod media;
mod order;
mod pace;
mod packed;
mod provider;
mod said;
mod scalar;
mod secret;
mod sender;
mod settings;
mod size;
mod sizes;
mod tls;
mod tokens;
mod tries;
mod vector;

use fusemix_sdk::{
    Description, Encoder, Error, Host, Item, Limits, Modality, OptionSpec, Options, Outcome, Rate, Sink, Size, tracing,
};

use input::Input;
use sender::{Parcel, Sender};
use settings::Settings;
use tokens::Tokens;

fusemix_sdk::export!(Api);

/// Concurrent requests unless plugins.toml says otherwise.
const CONCURRENCY: usize = 8;
/// Seconds beyond a request's own time limits before its call counts as hung.
const MARGIN: f64 = 60.0;

struct Api {
    settings: Settings,
    tokens: Tokens,
    pixels_per_token: Option<f64>,
    sender: Sender,
}

impl Encoder for Api {
    fn options() -> Vec<OptionSpec> {
        settings::options()
    }

    fn open(options: &Options, _: &Host) -> Result<Self, Error> {
        let settings = Settings::read(options)?;
        let tokens = Tokens::open(settings.tokenizer.as_deref(), &settings.model)?;
        let provider = provider::open(&settings, options)?;
        let pixels_per_token = settings.pixels_per_token.or(provider.pixels_per_token());
        let has_tokens = match settings.modality {
            Modality::Text => true,
            Modality::Image => pixels_per_token.is_some(),
            _ => false,
        };
        if settings.price.is_some_and(|price| price.million_tokens > 0.0 && price.item == 0.0) && !has_tokens {
            return Err(Error::config(format!(
                "`price_per_million_tokens`: the number of tokens in {} items is unknown, so they cannot be priced; \
                 set `price_per_item`{}",
                settings.modality,
                if settings.modality == Modality::Image { " or `pixels_per_token`" } else { "" }
            ))
            .key("price_per_million_tokens"));
        }
        // What a fingerprint says is written into the cache.
        let told = provider.fingerprint().into_iter().chain(settings.fingerprint());
        let base_url = settings.base_url.iter().map(|url| ("base_url", url.clone()));
        // What plugins.toml says is noted in runs.
        let prefix = options.get::<String>("key_prefix")?.map(|prefix| ("key_prefix", prefix));
        if let Some((name, _)) = told.chain(base_url).chain(prefix).find(|(_, value)| settings.holds_key(value)) {
            return Err(Error::config(format!(
                "`{name}` contains the API key, which is sent only in a header; remove it"
            ))
            .key(name));
        }
        let sender = Sender::open(&settings, provider)?;
        tracing::info!("{} of {}: tokens {tokens}", settings.model, sender.address());
        Ok(Self { settings, tokens, pixels_per_token, sender })
    }

    fn describe(&self) -> Description {
        let Settings {
            modality, dimensions, max_bytes, max_tokens, requests_per_minute, tokens_per_minute, price, ..
        } = &self.settings;
        let provider = self.sender.provider();
        let own = provider.limits();
        // No request is larger than what a minute may hold.
        let a_minute = tokens_per_minute.map(|tokens| (tokens as u64).max(1));
        let tokens = [max_tokens.or(own.tokens), a_minute].into_iter().flatten().min();
        let description = Description::new(modality.clone(), *dimensions)
            .batch(own.items)
            .concurrency(CONCURRENCY)
            .limits(Limits::new(max_bytes.or(own.bytes), tokens).items(own.is_strict.then_some(own.items)))
            .rate(Rate::new(*requests_per_minute, *tokens_per_minute))
            .price(*price)
            .patience((self.settings.connect_timeout + self.settings.request_timeout).as_secs_f64() + MARGIN)
            // Servers batch as they like, and their arithmetic is not always the same.
            .tolerance(1e-2);
        // Two servers may well have two models of one name.
        let elsewhere = self.settings.base_url.as_ref().filter(|url| provider.base() != Some(url.as_str()));
        let elsewhere = elsewhere.filter(|_| !provider.is_identified()).map(|url| ("base_url", url.clone()));
        let parts = self.settings.fingerprint().into_iter().chain(elsewhere).chain(provider.fingerprint());
        parts.fold(description, |description, (key, value)| description.fingerprint(key, value))
    }

    fn measure(&self, items: &[Item<'_>]) -> Vec<Size> {
        items.iter().map(|item| self.size(item)).collect()
    }

    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut parcels = Vec::new();
        for (place, item) in items.iter().enumerate() {
            match Input::of(item) {
                Ok(input) => parcels.push(Parcel { place, input, tokens: self.size(item).tokens }),
                Err(error) => sink.put(place, Outcome::Err(error)),
            }
        }
        self.sender.send(&parcels, sink)
    }
}

impl Api {
    fn size(&self, item: &Item<'_>) -> Size {
        let prompt = self.settings.prompt.as_deref().unwrap_or_default();
        size::size(item, prompt, &self.tokens, self.pixels_per_token)
    }
}

#[cfg(test)]
mod tests;
mod unknown_model;
