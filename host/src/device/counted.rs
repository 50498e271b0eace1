//! A device that computes nothing, and counts what it is given: the work of a step too large for this machine.

use std::sync::RwLock;

use super::buffer::{Buffer, Memory, Slice};
use super::profile::{Profile, Work};
use super::{Device, DeviceError};
use crate::kernels::Kernel;
use crate::pages::Pages;

/// A GPU with as much memory as anybody wants, whose values are zeros.
#[derive(Default)]
pub struct Counted {
    profile: Profile,
}

impl Device for Counted {
    fn describe(&self) -> String {
        "nothing, only counted".to_owned()
    }

    fn has_16_bit(&self) -> bool {
        true
    }

    fn reads_f16(&self) -> bool {
        true
    }

    fn memory(&self) -> Option<u64> {
        None
    }

    fn shares_memory(&self) -> bool {
        false
    }

    fn largest(&self) -> usize {
        usize::MAX
    }

    fn zeros(&self, len: usize) -> Buffer {
        Buffer { len, memory: Memory::Host(RwLock::new(Pages::zeros(0))) }
    }

    fn fill(&self, _: Slice<'_>, _: &mut dyn FnMut(&mut [f32])) {}

    fn read(&self, slice: Slice<'_>) -> Result<Vec<f32>, DeviceError> {
        Ok(vec![0.0; slice.len()])
    }

    fn launch(&self, kernel: &dyn Kernel, reads: &[Slice<'_>], writes: &[Slice<'_>]) {
        self.profile.count(kernel.name(), Work::of(kernel, reads.iter().chain(writes)));
    }

    fn submit(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }
}
