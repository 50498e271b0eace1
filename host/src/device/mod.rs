//! Where the numbers are computed: one interface, over it everything numeric is written once.

use std::sync::Arc;

/// What `--device` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU where there is one, the CPU elsewhere.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU through wgpu, or whatever passes for one.
    Wgpu,
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu),
            _ => Err("a device is auto, cpu or wgpu".into()),
        }
    }
}

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DeviceError {
    #[error("no device for wgpu: {0}; install a Vulkan driver, or use --device cpu")]
    Missing(String),
}

/// Something that computes.
pub trait Device: Send + Sync {
    /// What it is, for people.
    fn describe(&self) -> String;
}

/// The device that `choice` asks for.
pub fn open(_choice: DeviceChoice) -> Result<Arc<dyn Device>, DeviceError> {
    todo!()
}
