//! Where the numbers are computed: one interface, over which all that is numeric is written once.

mod buffer;
mod cpu;
mod profile;
mod timestamps;
mod wgpu;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::kernels::Kernel;
pub use buffer::{Buffer, Slice};
pub use cpu::Cpu;
pub(crate) use cpu::available_memory;
pub use profile::{KernelTime, Profile};
pub use wgpu::{AdapterReport, Wgpu, adapters};

/// What `--device` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU where there is one, the CPU elsewhere.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The best that wgpu finds, be it a GPU in software.
    Wgpu,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu),
            other => Err(format!("`{other}` is no device; there are auto, cpu and wgpu")),
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

/// What can go wrong with a device.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DeviceError {
    #[error("wgpu finds no device ({0}); install its Vulkan driver, or use --device cpu")]
    Missing(String),
    #[error("{device} failed: {reason}; --device cpu does without it")]
    Failed { device: String, reason: String },
    #[error("{device} has no memory left: {reason}; a smaller `memory`, or `batch`, in [train] needs less")]
    Memory { device: String, reason: String },
    #[error("{device} was lost: {reason}; `fusemix train --resume` goes on from the last checkpoint")]
    Lost { device: String, reason: String },
}

/// Something that computes. Launches run in the order in which they are made, and fills and reads keep their place among
/// them; only [`Device::read`] waits.
pub trait Device: Send + Sync {
    /// What it is, for people.
    fn describe(&self) -> String;

    /// Whether products of 16-bit factors are faster here than those of f32.
    fn has_16_bit(&self) -> bool;

    /// Bytes that are free, where the device tells.
    fn memory(&self) -> Option<u64>;

    /// Whether its memory is that of the program.
    fn shares_memory(&self) -> bool;

    /// Values that a kernel can reach of a buffer at once.
    fn largest(&self) -> usize;

    /// A buffer of `len` zeros.
    fn zeros(&self, len: usize) -> Buffer;

    /// Overwrites a slice with what `fill` writes, which is all of it.
    fn fill(&self, slice: Slice<'_>, fill: &mut dyn FnMut(&mut [f32]));

    /// The values of a slice, or what went wrong since the last time.
    fn read(&self, slice: Slice<'_>) -> Result<Vec<f32>, DeviceError>;

    /// Launches a kernel. No buffer may be among both, nor twice among the `writes`.
    fn launch(&self, kernel: &dyn Kernel, reads: &[Slice<'_>], writes: &[Slice<'_>]);

    /// The end of a step: what was launched is on its way, and no more than the step before it is still under way.
    fn submit(&self) -> Result<(), DeviceError>;

    /// Where the time goes.
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

/// The device that `choice` asks for; one that can time its kernels if `profile` says so.
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

    /// What wgpu finds, or nothing where FUSEMIX_NO_WGPU leaves it out.
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
            let add = AddBias { rows: 1, width: 2, residual: false };
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
        device.launch(&AddBias { rows: 1, width: 2, residual: false }, &[], &[out.all()]);
        let error = device.read(out.all()).unwrap_err().to_string();
        assert!(error.contains("--device cpu"), "{error}");
    }
}
