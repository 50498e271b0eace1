//! The device that a model runs on, and the numbers that it computes with.

use candle_core::{DType, Device};
use fusemix_sdk::{Description, Error, Options, tracing};

/// The option `device`: `cpu`, `cuda` (the first one), `cuda:N` or `metal`.
pub fn device(options: &Options) -> Result<Device, Error> {
    named(&options.get_or("device", "cpu".to_owned())?)
}

/// The option `dtype`: `f32`, `bf16` or `f16`.
pub fn dtype(options: &Options, device: &Device) -> Result<DType, Error> {
    let name = options.get_or("dtype", "f32".to_owned())?;
    if device.is_cpu() && name != "f32" {
        tracing::warn!("`dtype = \"{name}\"` is meant for GPUs; on the CPU it is many times slower than \"f32\"");
    }
    match name.as_str() {
        "f32" => Ok(DType::F32),
        "bf16" => Ok(DType::BF16),
        "f16" => Ok(DType::F16),
        other => Err(Error::config(format!("`dtype = \"{other}\"`: choose \"f32\", \"bf16\" or \"f16\"")).key("dtype")),
    }
}

/// A description with the model's number type, unless that is f32, as before there was a choice.
pub fn computed_in(description: Description, dtype: DType) -> Description {
    // How far apart the latents of an item may be, alone and in a batch.
    const ROUNDING: f32 = 0.05;
    match dtype {
        DType::F32 => description,
        dtype => description.fingerprint("dtype", dtype.as_str()).tolerance(ROUNDING),
    }
}

fn named(name: &str) -> Result<Device, Error> {
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    match (kind, number.parse()) {
        ("cpu", Ok(0)) => Ok(Device::Cpu),
        ("cuda", Ok(_)) if !cfg!(feature = "cuda") => Err(not_built_for(name, kind)),
        ("metal", Ok(_)) if !cfg!(feature = "metal") => Err(not_built_for(name, kind)),
        ("metal", Ok(ordinal)) => Device::new_metal(ordinal).map_err(|error| {
            Error::config(format!("`device = \"{name}\"`: {error}; use \"cpu\" if there is no such device"))
                .key("device")
        }),
        ("cuda", Ok(ordinal)) => Device::new_cuda(ordinal).map_err(|error| {
            Error::config(format!("`device = \"{name}\"`: {error}; check the GPU with nvidia-smi, or use \"cpu\""))
                .key("device")
        }),
        _ => Err(Error::config(format!("`device = \"{name}\"`: choose \"cpu\", \"cuda\", \"cuda:N\" or \"metal\""))
            .key("device")),
    }
}

fn not_built_for(name: &str, feature: &str) -> Error {
    Error::config(format!(
        "`device = \"{name}\"`: this plugin was built without it; rebuild it with `cargo build --release --features \
         {feature} -p PLUGIN`, or use \"cpu\""
    ))
    .key("device")
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn names() {
        assert!(named("cpu").is_ok());
        for (name, says) in [("gpu", "choose"), ("cuda:x", "choose"), ("cpu:1", "choose")] {
            assert!(named(name).unwrap_err().message.contains(says), "{name}");
        }
        #[cfg(not(feature = "cuda"))]
        assert!(named("cuda:1").unwrap_err().message.contains("--features cuda"));
    }
}
