//! Checkpoints of the authors' own code (`HTSAT_Swin_Transformer`), and of LAION's CLAP, which uses it: only a state
//! dict. Their tensors get the names of the `transformers` package; every size is that of a tensor.

use candle_core::{DType, Result, Tensor, bail};
use std::collections::HashMap;

use super::{Config, Preprocessor, Repeated};
use crate::mel::Spectrogram;
use crate::model::front_end::FrontEnd;

/// The prefixes of the tower's names: none, the trainer's name for it, or CLAP's, also with that of parallel training.
const PREFIXES: [&str; 4] = ["", "sed_model.", "audio_branch.", "module.audio_branch."];
/// Samples a second of what was published, with 100 frames a second: AudioSet and ESC-50, CLAP, Speech Commands.
const RATES: [u32; 3] = [32_000, 48_000, 16_000];
/// The published side of the folded spectrogram.
const SPEC_SIZE: usize = 256;
/// The authors' names of a block's parts, and those of transformers.
const PARTS: [(&str, &str); 7] = [
    ("norm1.", "layernorm_before."),
    ("norm2.", "layernorm_after."),
    ("attn.proj.", "attention.output.dense."),
    ("attn.relative_position_bias_table", "attention.self.relative_position_bias_table"),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
    ("attn.qkv.", "attention.self."),
];

/// A checkpoint of the authors, as one of transformers.
pub(crate) struct Renamed {
    pub(crate) config: Config,
    pub(crate) preprocessor: Preprocessor,
    pub(crate) tensors: HashMap<String, Tensor>,
}

impl Renamed {
    pub(crate) fn new(tensors: HashMap<String, Tensor>) -> Result<Self> {
        let has = |prefix: &&str| {
            let named = |name| tensors.contains_key(&format!("{prefix}{name}"));
            named("bn0.weight") && named("layers.0.blocks.0.attn.qkv.weight")
        };
        let Some(prefix) = PREFIXES.into_iter().find(has) else {
            bail!("it has no `bn0.weight` and `layers.0.blocks.0.attn.qkv.weight`");
        };
        let clap = prefix.ends_with("audio_branch.");
        let mut renamed = HashMap::new();
        let projection = format!("{}audio_projection.", prefix.trim_end_matches("audio_branch."));
        let mut tower = HashMap::new();
        for (name, tensor) in tensors {
            if let Some(rest) = name.strip_prefix(prefix) {
                tower.insert(rest.to_owned(), tensor);
            } else if let Some((layer, kind)) = name.strip_prefix(&projection).and_then(|name| name.split_once('.')) {
                let layer = if layer == "0" { "linear1" } else { "linear2" };
                renamed.insert(format!("audio_projection.{layer}.{kind}"), tensor);
            }
        }
        let preprocessor = preprocessor(&tower, if clap { Repeated::Samples } else { Repeated::Frames })?;
        let projection_dim = renamed.get("audio_projection.linear1.weight").map_or(Ok(0), |weight| weight.dim(0))?;
        let config = Config { projection_dim, ..config(&tower)? };
        config.check()?;
        preprocessor.check(&config)?;
        for (name, tensor) in tower {
            rename(&name, tensor, &mut renamed)?;
        }
        Ok(Self { config, preprocessor, tensors: renamed })
    }
}

fn tensor<'a>(tower: &'a HashMap<String, Tensor>, name: &str) -> Result<&'a Tensor> {
    tower.get(name).ok_or_else(|| candle_core::Error::Msg(format!("it has no `{name}`")))
}

/// The sample rate, recognised by the checkpoint's mel filters.
fn preprocessor(tower: &HashMap<String, Tensor>, repeated: Repeated) -> Result<Preprocessor> {
    let filters = tensor(tower, "logmel_extractor.melW")?;
    let (frequencies, feature_size) = filters.dims2()?;
    if frequencies < 2 {
        bail!("`logmel_extractor.melW` is of {frequencies} frequencies");
    }
    let filters: Vec<f32> = filters.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    for sampling_rate in RATES {
        let preprocessor = Preprocessor {
            feature_size,
            sampling_rate,
            hop_length: sampling_rate as usize / 100,
            fft_window_size: 2 * (frequencies - 1),
            repeated,
            ..Preprocessor::default()
        };
        if Spectrogram::new(preprocessor.parameters()).filters_are(&filters) {
            return Ok(preprocessor);
        }
    }
    bail!("`logmel_extractor.melW` is not of mels from 50 to 14000 Hz of a sound at {RATES:?} Hz");
}

fn config(tower: &HashMap<String, Tensor>) -> Result<Config> {
    if tower.contains_key("patch_embed.mel_conv2d.weight") {
        bail!("it fuses parts of long sounds (`mel_conv2d`); this plugin supports only unfused CLAP");
    }
    let (first, _, patch, _) = tensor(tower, "patch_embed.proj.weight")?.dims4()?;
    let depth = |stage: usize| {
        let has = |block: &usize| tower.contains_key(&format!("layers.{stage}.blocks.{block}.norm1.weight"));
        (0..).take_while(has).count()
    };
    let depths: Vec<usize> = (0..).map(depth).take_while(|&depth| depth > 0).collect();
    // A row for each offset within a window, a column for each head.
    let table =
        |stage: usize| tensor(tower, &format!("layers.{stage}.blocks.0.attn.relative_position_bias_table"))?.dims2();
    let window_size = table(0)?.0.isqrt().div_ceil(2);
    // A mask for each window of the square.
    let side = tower.get("layers.0.blocks.1.attn_mask").map(|mask| mask.dim(0)).transpose()?;
    Ok(Config {
        window_size,
        num_mel_bins: tensor(tower, "logmel_extractor.melW")?.dim(1)?,
        spec_size: side.map_or(SPEC_SIZE, |windows| windows.isqrt() * window_size * patch),
        patch_size: patch,
        patch_stride: vec![patch],
        hidden_size: first << depths.len().saturating_sub(1),
        num_attention_heads: (0..depths.len()).map(|stage| Ok(table(stage)?.1)).collect::<Result<_>>()?,
        depths,
        patch_embeds_hidden_size: first,
        mlp_ratio: tensor(tower, "layers.0.blocks.0.mlp.fc1.weight")?.dim(0)? as f64 / first as f64,
        ..Config::default()
    })
}

/// Renames a tensor of the tower as in transformers; tensors that the model does not read are unchanged.
fn rename(name: &str, tensor: Tensor, tensors: &mut HashMap<String, Tensor>) -> Result<()> {
    let mut insert = |name: String, tensor| tensors.insert(format!("audio_encoder.{name}"), tensor);
    if let Some(kind) = name.strip_prefix("bn0.") {
        insert(format!("batch_norm.{kind}"), tensor);
        return Ok(());
    }
    let part =
        PARTS.iter().find_map(|(theirs, ours)| name.split_once(&format!(".{theirs}")).map(|split| (split, ours)));
    match part {
        Some(((block, kind), &"attention.self.")) => {
            for (part, tensor) in ["query", "key", "value"].into_iter().zip(tensor.chunk(3, 0)?) {
                insert(format!("{block}.attention.self.{part}.{kind}"), tensor);
            }
        }
        Some(((block, kind), ours)) => {
            insert(format!("{block}.{ours}{kind}"), tensor);
        }
        None => {
            insert(name.to_owned(), tensor);
        }
    }
    Ok(())
}
