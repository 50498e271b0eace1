//! The CPU: a launch runs the kernel's Rust twin on all cores.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use super::buffer::{Buffer, Memory, Slice};
use super::profile::{Profile, Work};
use super::{Device, DeviceError};
use crate::kernels::{Kernel, bf16};
use crate::pages::Pages;
use crate::wording::count;

/// All cores of this machine.
#[derive(Default)]
pub struct Cpu {
    profile: Profile,
}

fn memory<'a>(slice: &Slice<'a>) -> &'a RwLock<Pages<f32>> {
    match &slice.buffer.memory {
        Memory::Host(values) => values,
        Memory::Wgpu(_) => panic!("a buffer of another device"),
    }
}

fn read<'a>(slice: &Slice<'a>) -> RwLockReadGuard<'a, Pages<f32>> {
    memory(slice).read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks a slice; a lock that is already taken means that the launch has the buffer twice.
fn write<'a>(slice: &Slice<'a>) -> RwLockWriteGuard<'a, Pages<f32>> {
    memory(slice).try_write().expect("no buffer is both read and written")
}

impl Device for Cpu {
    fn describe(&self) -> String {
        format!("CPU, {}", count(rayon::current_num_threads(), "thread"))
    }

    fn has_16_bit(&self) -> bool {
        bf16::is_supported()
    }

    fn reads_f16(&self) -> bool {
        false
    }

    fn memory(&self) -> Option<u64> {
        available_memory()
    }

    fn shares_memory(&self) -> bool {
        true
    }

    fn largest(&self) -> usize {
        usize::MAX
    }

    fn zeros(&self, len: usize) -> Buffer {
        Buffer { len, memory: Memory::Host(RwLock::new(Pages::zeros(len))) }
    }

    fn fill(&self, slice: Slice<'_>, fill: &mut dyn FnMut(&mut [f32])) {
        fill(&mut write(&slice)[slice.start..slice.start + slice.len]);
    }

    fn read(&self, slice: Slice<'_>) -> Result<Vec<f32>, DeviceError> {
        Ok(read(&slice)[slice.start..slice.start + slice.len].to_vec())
    }

    fn launch(&self, kernel: &dyn Kernel, reads: &[Slice<'_>], writes: &[Slice<'_>]) {
        self.profile.count(kernel.name(), Work::of(kernel, reads.iter().chain(writes)));
        let start = Instant::now();
        let guards: Vec<_> = reads.iter().map(read).collect();
        let mut write_guards: Vec<_> = writes.iter().map(write).collect();
        let values: Vec<&[f32]> =
            guards.iter().zip(reads).map(|(guard, slice)| &guard[slice.start..slice.start + slice.len]).collect();
        let mut written: Vec<&mut [f32]> = write_guards
            .iter_mut()
            .zip(writes)
            .map(|(guard, slice)| &mut guard[slice.start..slice.start + slice.len])
            .collect();
        kernel.twin(&values, &mut written);
        self.profile.add(kernel.name(), start.elapsed());
    }

    fn submit(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// Free bytes of memory, if the system reports them.
pub(crate) fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
