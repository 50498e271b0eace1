//! Text encoders: a checkpoint's weights, tokenizer.json and config.json.

mod extent;
mod input;
mod model;
mod pooling;
mod projection;
mod prompt;
mod sentence_transformers;
mod settings;
mod tokenizer;
mod tokenizer_class;

use candle_core::{DType, Device, Tensor, bail};
use candle_kit::nn::Packing;
use candle_kit::{Layer, Pinned, Pooling, Source};
use fusemix_sdk::{
    Description, Encoder, Error, Host, Item, Latent, Modality, OptionKind, OptionSpec, Options, Sink, tracing,
};
use rayon::prelude::*;
use std::ops::Range;
use std::time::{Duration, Instant};

use input::{Input, Pack, Tokens};
use model::{Model, Pass};
use sentence_transformers::{Layout, SentenceTransformers};

fusemix_sdk::export!(CandleText);

/// Items per call, enough to keep several cores busy with packs of similar lengths.
const BATCH: usize = 512;
/// The time after which a call reports its progress, which the host takes as a sign of life.
const LONG: Duration = Duration::from_secs(10);

struct CandleText {
    name: String,
    /// Digests of the loaded files, for the fingerprint.
    digests: Vec<(&'static str, String)>,
    pinned: Option<Pinned>,
    input: Input,
    model: Box<dyn Model>,
    layer: Layer,
    pooling: Pooling,
    /// True if what the model pools is projected.
    projection: bool,
    /// Tokens at the beginning that are not pooled.
    skipped: usize,
    lower_case: bool,
    normalize: bool,
    device: Device,
    dtype: DType,
}

impl Encoder for CandleText {
    fn options() -> Vec<OptionSpec> {
        let own = [
            OptionSpec::new("max_length", OptionKind::Integer, "tokens read of a text (default: the checkpoint's own)"),
            OptionSpec::new(
                "normalize",
                OptionKind::Boolean,
                "scale latents to length 1 (default: false, even if the checkpoint would: adapters learn from raw \
                 latents)",
            ),
        ];
        let shared = candle_kit::options().into_iter().filter(|option| option.key != "normalize");
        shared.chain(own).chain([projection::option()]).chain(prompt::options()).collect()
    }

    fn open(options: &Options, host: &Host) -> Result<Self, Error> {
        let device = candle_kit::device(options)?;
        let dtype = candle_kit::dtype(options, &device)?;
        let normalize = options.get::<bool>("normalize")?;
        let layout = Layout::of(Source::locate(options, host)?)?;
        let source = &layout.transformer;
        candle_kit::refuse_open_clip(source)?;
        let weights = source.checkpoint()?;
        let model = model::load(source, &weights, dtype, &device)?;
        let checkpoint = SentenceTransformers::read(&layout, options)?;
        let outline = model.outline();
        let layer = Layer::choose(options, outline.blocks)?;
        let pooling = pooling::choose(options, checkpoint.pooling.as_ref(), outline.poolings, layer)?;
        let projection = projection::choose(options, &outline, layer, pooling, source.name())?;
        let input = Input::open(source, options, &checkpoint, &outline)?;
        let mut digests = vec![
            ("weights", candle_kit::digest(&weights)?),
            ("config", candle_kit::digest(&[source.file("config.json")?])?),
            ("tokenizer", candle_kit::digest(&[source.file("tokenizer.json")?])?),
        ];
        if let Some(settings) = source.optional(settings::CONFIG)? {
            digests.push(("tokenizer_config", candle_kit::digest(&[settings])?));
        }
        let (name, cut) = (source.name().to_owned(), input.max_length());
        let width = outline.width(pooling, projection);
        tracing::info!("{name}: {pooling} of layer {layer}, up to {cut} tokens, width {width}");
        if checkpoint.normalizes && normalize.is_none() {
            tracing::info!(
                "{name}: sentence-transformers scales its latents to length 1; `normalize = true` does so here"
            );
        }
        if !checkpoint.unknown.is_empty() {
            let modules = checkpoint.unknown.join(", ");
            tracing::warn!("{name}: latents are taken before {modules}, which this plugin does not support");
        }
        let includes_prompt = checkpoint.pooling.is_none_or(|pooling| pooling.include_prompt);
        Ok(Self {
            // The class token stays the class token.
            skipped: match pooling {
                Pooling::Mean if !includes_prompt && !input.prompt().is_empty() => input.prompt_tokens(),
                _ => 0,
            },
            lower_case: checkpoint.lower_case,
            normalize: normalize.unwrap_or(false),
            name,
            digests,
            pinned: source.pinned(),
            input,
            model,
            layer,
            pooling,
            projection,
            device,
            dtype,
        })
    }

    fn describe(&self) -> Description {
        let outline = self.model.outline();
        let description = Description::new(Modality::Text, outline.width(self.pooling, self.projection))
            .batch(BATCH)
            .patience(candle_kit::PATIENCE)
            .fingerprint("max_length", self.input.max_length())
            .fingerprint("layer", self.layer)
            .fingerprint("pooling", self.pooling)
            .fingerprint("normalize", self.normalize);
        let mut description = candle_kit::computed_in(description, self.dtype);
        if !self.input.prompt().is_empty() {
            description = description.fingerprint("prompt", self.input.prompt());
        }
        if self.projection {
            description = description.fingerprint("projection", true);
        }
        if let Some(padding) = self.input.padding() {
            description = description.fingerprint("padding", padding);
        }
        if self.skipped > 0 {
            description = description.fingerprint("prompt_pooled", false);
        }
        if let Some(rules) = self.input.rules() {
            description = description.fingerprint("tokenizer_rules", rules);
        }
        if self.lower_case {
            description = description.fingerprint("lower_case", true);
        }
        let description = candle_kit::describe(description, outline.blocks, outline.poolings, self.layer);
        let description = Pinned::describe(self.pinned.as_ref(), description);
        self.digests.iter().fold(description, |description, (file, digest)| description.fingerprint(file, digest))
    }

    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
        let host = sink.host();
        let texts: Vec<_> = items.par_iter().map(|item| self.input.tokens(item)).collect();
        let packs = input::packs(&texts, &self.device);
        let (doing, began) = (format!("{}, texts", self.name), Instant::now());
        let latents = |pack: &[(usize, &Tokens)]| {
            self.latents(pack, &|done| {
                if host.should_stop() {
                    bail!("stopped");
                }
                if began.elapsed() > LONG {
                    let (texts, tokens, blocks) = (pack.len(), input::tokens(pack), self.model.outline().blocks);
                    host.status(&format!("{done} of {blocks} blocks done for texts: {texts}, tokens: {tokens}"));
                }
                Ok(())
            })
        };
        let run = |pack: &Pack<'_>| {
            let rows = candle_kit::in_halves(pack, &doing, &latents);
            rows.map_err(|error| if host.should_stop() { Error::stopped() } else { error })
        };
        // A pack a core (see `candle_kit::nn`); a GPU gets them one after the other.
        let rows: Vec<Vec<Vec<f32>>> = match self.device.is_cpu() {
            true => packs.par_iter().with_max_len(1).map(run).collect::<Result<_, _>>()?,
            false => packs.iter().map(run).collect::<Result<_, _>>()?,
        };
        if began.elapsed() > LONG {
            host.status("");
        }

        let mut latents = vec![Vec::new(); items.len()];
        for ((text, _), values) in packs.iter().flatten().zip(rows.into_iter().flatten()) {
            latents[*text] = values;
        }
        let tokens: usize = packs.iter().map(|pack| input::tokens(pack)).sum();
        sink.used("tokens", tokens as f64);
        let latent = |(text, values): (Result<Tokens, _>, _)| Ok(Latent::new(values, text?.truncated));
        sink.put_all(texts.into_iter().zip(latents).map(latent));
        Ok(())
    }
}

impl CandleText {
    /// The latent of each text; `before_block` is asked as [`Pass`] has it.
    fn latents(
        &self,
        pack: &[(usize, &Tokens)],
        before_block: &dyn Fn(usize) -> candle_core::Result<()>,
    ) -> candle_core::Result<Vec<Vec<f32>>> {
        let ids: Vec<u32> = pack.iter().flat_map(|(_, tokens)| tokens.ids.iter().copied()).collect();
        let packing = Packing::new(pack.iter().map(|(_, tokens)| tokens.ids.len()).collect(), &self.device)?;
        let pass = Pass { packing: &packing, layer: self.layer, before_block };
        let hidden = self.model.forward(&Tensor::new(ids, &self.device)?, &pass)?;
        let mut latents = match self.pooling {
            Pooling::Pooler => self.pooled(pack, &hidden)?.to_dtype(DType::F32)?.to_vec2()?,
            _ => self.pool(pack, &hidden.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?),
        };
        if self.normalize {
            latents.iter_mut().for_each(|latent| candle_kit::normalize(latent));
        }
        Ok(latents)
    }

    /// The model's own pooling of the states `hidden` (`tokens x hidden_size`): `texts x width`.
    fn pooled(&self, pack: &[(usize, &Tokens)], hidden: &Tensor) -> candle_core::Result<Tensor> {
        let places = pack.iter().scan(0, |next, (_, tokens)| {
            let start = *next;
            *next += tokens.ids.len();
            Some((start + self.model.pooled(&tokens.ids)) as u32)
        });
        let places = Tensor::new(places.collect::<Vec<u32>>(), &self.device)?;
        let pooled = self.model.pooler(&hidden.index_select(&places, 0)?)?;
        if self.projection { self.model.project(&pooled) } else { Ok(pooled) }
    }

    /// Any other pooling of the states, without those of padding.
    fn pool(&self, pack: &[(usize, &Tokens)], mut hidden: &[f32]) -> Vec<Vec<f32>> {
        let width = self.model.outline().hidden_size;
        let mut latent = |tokens: &Tokens| {
            let (states, others) = hidden.split_at(tokens.ids.len() * width);
            hidden = others;
            let Range { start, end } = tokens.own;
            let first = (start + self.skipped).min(end - 1);
            self.pooling.pool(&states[first * width..end * width], width)
        };
        pack.iter().map(|(_, tokens)| latent(tokens)).collect()
    }
}

#[cfg(test)]
mod tests;
