//! The device that a model runs on.

use candle_core::Device;
use fusemix_sdk::Error;

/// The device called `name`: `cpu`, `cuda` (the first one) or `cuda:N`.
pub fn device(name: &str) -> Result<Device, Error> {
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    match (kind, number.parse()) {
        ("cpu", Ok(0)) => Ok(Device::Cpu),
        ("cuda", Ok(_)) if !cfg!(feature = "cuda") => Err(Error::config(format!(
            "`device = \"{name}\"`: this plugin is built for the CPU only; \
             rebuild it with `cargo build --release --features cuda -p PLUGIN`, or choose \"cpu\""
        ))),
        ("cuda", Ok(ordinal)) => Device::new_cuda(ordinal).map_err(|error| {
            Error::config(format!(
                "`device = \"{name}\"`: {error}; is the GPU there (nvidia-smi)? If not, choose \"cpu\""
            ))
        }),
        _ => Err(Error::config(format!("`device = \"{name}\"`: choose \"cpu\", \"cuda\" or \"cuda:N\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::device;

    #[test]
    fn names() {
        assert!(device("cpu").is_ok());
        for (name, says) in [("gpu", "choose"), ("cuda:x", "choose"), ("cpu:1", "choose")] {
            assert!(device(name).unwrap_err().message.contains(says), "{name}");
        }
        #[cfg(not(feature = "cuda"))]
        assert!(device("cuda:1").unwrap_err().message.contains("--features cuda"));
    }
}
