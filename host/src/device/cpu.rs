//! The CPU: a launch runs the kernel's twin on all cores.

use std::sync::{PoisonError, RwLock};

use super::{Buffer, Device, DeviceError, Memory};
use crate::kernels::Kernel;

/// All cores of this machine.
pub struct Cpu;

fn host(buffer: &Buffer) -> &RwLock<Vec<f32>> {
    match &buffer.memory {
        Memory::Host(values) => values,
        Memory::Wgpu(_) => panic!("a buffer of another device"),
    }
}

impl Device for Cpu {
    fn describe(&self) -> String {
        format!("CPU, {} threads", rayon::current_num_threads())
    }

    fn zeros(&self, len: usize) -> Buffer {
        Buffer { len, memory: Memory::Host(RwLock::new(vec![0.0; len])) }
    }

    fn write(&self, buffer: &Buffer, values: &[f32]) {
        host(buffer).write().unwrap_or_else(PoisonError::into_inner)[..values.len()].copy_from_slice(values);
    }

    fn read(&self, buffer: &Buffer) -> Result<Vec<f32>, DeviceError> {
        Ok(host(buffer).read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn launch(&self, kernel: &dyn Kernel, reads: &[&Buffer], writes: &[&Buffer]) {
        let reads: Vec<_> =
            reads.iter().map(|read| host(read).read().unwrap_or_else(PoisonError::into_inner)).collect();
        // A lock that is taken is a buffer that the launch has twice.
        let mut writes: Vec<_> =
            writes.iter().map(|write| host(write).try_write().expect("each buffer once in a launch")).collect();
        let reads: Vec<&[f32]> = reads.iter().map(|read| read.as_slice()).collect();
        let mut writes: Vec<&mut [f32]> = writes.iter_mut().map(|write| write.as_mut_slice()).collect();
        kernel.twin(&reads, &mut writes);
    }
}
