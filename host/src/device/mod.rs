//! Computing devices behind one interface, so that all numerical code is written once.

mod buffer;
mod counted;
mod cpu;
mod profile;
mod wgpu;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::kernels::Kernel;
pub use buffer::{Buffer, Slice};
pub use counted::Counted;
pub use cpu::Cpu;
pub(crate) use cpu::available_memory;
pub use profile::{KernelTime, Profile};
pub use wgpu::{AdapterReport, Wgpu, adapters};

/// The value of `--device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The best device that wgpu finds, even a software GPU.
    Wgpu,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu),
            other => Err(format!("`{other}` is not a device; choose auto, cpu or wgpu")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
        })
    }
}

/// An error of a device.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DeviceError {
    #[error("wgpu found no device ({0}); install a Vulkan driver, or use --device cpu")]
    Missing(String),
    #[error("{device} failed: {reason}; use --device cpu to do without it")]
    Failed { device: String, reason: String },
    #[error("embeddings of tower `{tower}` are not finite: latents beyond about 1e18 overflow; scale them")]
    Infinite { tower: String },
    #[error("{device} is out of memory: {reason}; reduce `memory` or `batch` in [train]")]
    Memory { device: String, reason: String },
    #[error("{device} was lost: {reason}; use `fusemix train --resume` to continue from the last checkpoint")]
    Lost { device: String, reason: String },
}

/// A computing device. Launches run in the order in which they are made, and fills and reads keep their place among
/// them; only [`Device::read`] waits.
pub trait Device: Send + Sync {
    /// Its human-readable name.
    fn describe(&self) -> String;

    /// True if products of 16-bit factors are faster than those of f32.
    fn has_16_bit(&self) -> bool;

    /// True if products of 16-bit factors read them as f16 from memory.
    fn reads_f16(&self) -> bool;

    /// Free bytes of memory, or all where it is the device's own, if the device reports them.
    fn memory(&self) -> Option<u64>;

    /// True if its memory is the program's own.
    fn shares_memory(&self) -> bool;

    /// The most values of a buffer that a kernel can bind at once.
    fn largest(&self) -> usize;

    /// A buffer of `len` zeros.
    fn zeros(&self, len: usize) -> Buffer;

    /// Overwrites a slice with what `fill` writes; it must write all of it.
    fn fill(&self, slice: Slice<'_>, fill: &mut dyn FnMut(&mut [f32]));

    /// The values of a slice, or the error that occurred since the last read.
    fn read(&self, slice: Slice<'_>) -> Result<Vec<f32>, DeviceError>;

    /// Launches a kernel. No buffer may be in both `reads` and `writes`, nor twice in `writes`.
    fn launch(&self, kernel: &dyn Kernel, reads: &[Slice<'_>], writes: &[Slice<'_>]);

    /// Ends a step: submits the launches, and waits until at most the previous step is still running.
    fn submit(&self) -> Result<(), DeviceError>;

    /// The profile of kernel times.
    fn profile(&self) -> &Profile;
}

impl dyn Device + '_ {
    /// A buffer that holds `values`.
    pub fn upload(&self, values: &[f32]) -> Buffer {
        let buffer = self.zeros(values.len());
        self.write(buffer.all(), values);
        buffer
    }

    /// Overwrites a slice.
    pub fn write(&self, slice: Slice<'_>, values: &[f32]) {
        self.fill(slice, &mut |out| out.copy_from_slice(values));
    }
}

/// The device that `choice` asks for, able to time its kernels if `profile` is true.
pub fn open(choice: DeviceChoice, profile: bool) -> Result<Arc<dyn Device>, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(Arc::new(Cpu::default())),
        DeviceChoice::Wgpu => Ok(Arc::new(Wgpu::open(false, profile)?)),
        DeviceChoice::Auto => match Wgpu::open(true, profile) {
            Ok(device) => Ok(Arc::new(device)),
            Err(error) => {
                tracing::info!("{error}");
                Ok(Arc::new(Cpu::default()))
            }
        },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::OnceLock;

    /// The device that wgpu finds; none if FUSEMIX_NO_WGPU excludes it.
    pub(crate) fn wgpu() -> Option<&'static Wgpu> {
        static DEVICE: OnceLock<Wgpu> = OnceLock::new();
        match std::env::var_os("FUSEMIX_NO_WGPU") {
            Some(_) => None,
            None => {
                Some(DEVICE.get_or_init(|| Wgpu::open(false, false).expect("set FUSEMIX_NO_WGPU=1 to leave wgpu out")))
            }
        }
    }

    #[test]
    fn writes_and_launches_keep_their_order() {
        use crate::kernels::AddBias;
        let cpu = Cpu::default();
        let devices = [Some(&cpu as &dyn Device), wgpu().map(|device| device as &dyn Device)];
        for device in devices.into_iter().flatten() {
            let (bias, out) = (device.upload(&[1.0, 2.0]), device.zeros(2));
            let add = AddBias { rows: 1, width: 2 };
            device.launch(&add, &[bias.all()], &[out.all()]);
            device.write(bias.part(0, 1), &[10.0]);
            device.launch(&add, &[bias.all()], &[out.all()]);
            assert_eq!(device.read(out.all()).unwrap(), [11.0, 4.0], "{}", device.describe());
        }
    }

    #[test]
    fn what_a_gpu_refuses_is_an_error_of_the_next_read() {
        use crate::kernels::AddBias;
        let Ok(device) = (match std::env::var_os("FUSEMIX_NO_WGPU") {
            Some(_) => return,
            None => Wgpu::open(false, false),
        }) else {
            panic!("set FUSEMIX_NO_WGPU=1 to leave wgpu out")
        };
        let out = device.zeros(2);
        // The shader reads a buffer that the launch does not give it.
        device.launch(&AddBias { rows: 1, width: 2 }, &[], &[out.all()]);
        let error = device.read(out.all()).unwrap_err().to_string();
        assert!(error.contains("--device cpu"), "{error}");
    }
}
