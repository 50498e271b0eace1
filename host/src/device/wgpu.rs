//! GPUs through wgpu: Vulkan, Metal, DX12.

use ::wgpu::util::{BufferInitDescriptor, DeviceExt};
use ::wgpu::{
    BindGroupDescriptor, BindGroupEntry, BufferDescriptor, BufferUsages, CommandEncoder, ComputePassDescriptor,
    ComputePipeline, ComputePipelineDescriptor, DeviceDescriptor, DeviceType, Instance, InstanceDescriptor, MapMode,
    PollType, PowerPreference, RequestAdapterOptions, ShaderModuleDescriptor, ShaderSource,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Buffer, Device, DeviceError, Memory};
use crate::kernels::Kernel;

/// Launches that are recorded before the GPU begins with them.
const RECORDED: usize = 64;

/// A GPU.
pub struct Wgpu {
    name: String,
    device: ::wgpu::Device,
    queue: ::wgpu::Queue,
    pipelines: Mutex<HashMap<&'static str, ComputePipeline>>,
    recording: Mutex<Recording>,
    failure: Arc<Mutex<Option<String>>>,
}

/// What was launched, and not yet handed to the GPU.
#[derive(Default)]
struct Recording {
    encoder: Option<CommandEncoder>,
    launches: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn memory(buffer: &Buffer) -> &::wgpu::Buffer {
    match &buffer.memory {
        Memory::Wgpu(memory) => memory,
        Memory::Host(_) => panic!("a buffer of another device"),
    }
}

impl Wgpu {
    /// Opens the GPU with the highest performance; one in software only if `real` is not asked for.
    pub fn open(real: bool) -> Result<Self, DeviceError> {
        let instance = Instance::new(InstanceDescriptor::new_without_display_handle());
        let wanted = RequestAdapterOptions { power_preference: PowerPreference::HighPerformance, ..Default::default() };
        let missing = |error: &dyn ToString| DeviceError::Missing(error.to_string());
        let adapter = pollster::block_on(instance.request_adapter(&wanted)).map_err(|error| missing(&error))?;
        let info = adapter.get_info();
        if real && info.device_type == DeviceType::Cpu {
            return Err(missing(&format!("only {}, which is software", info.name)));
        }
        let asked = DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&asked)).map_err(|error| missing(&error))?;
        let failure = Arc::new(Mutex::new(None));
        let first = |failure: &Mutex<Option<String>>, reason: String| {
            lock(failure).get_or_insert(reason);
        };
        let (errors, losses) = (failure.clone(), failure.clone());
        device.on_uncaptured_error(Arc::new(move |error: ::wgpu::Error| first(&errors, error.to_string())));
        device.set_device_lost_callback(move |_, reason| first(&losses, format!("it was lost: {reason}")));
        Ok(Self {
            name: format!("{} ({})", info.name, info.backend),
            device,
            queue,
            pipelines: Mutex::default(),
            recording: Mutex::default(),
            failure,
        })
    }

    fn pipeline(&self, kernel: &dyn Kernel) -> ComputePipeline {
        let compile = || {
            let source = ShaderSource::Wgsl(kernel.wgsl().into());
            let module = self.device.create_shader_module(ShaderModuleDescriptor { label: None, source });
            self.device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(kernel.entry()),
                layout: None,
                module: &module,
                entry_point: Some(kernel.entry()),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        lock(&self.pipelines).entry(kernel.entry()).or_insert_with(compile).clone()
    }

    /// Hands what is recorded to the GPU.
    fn submit(&self, recording: &mut Recording) {
        if let Some(encoder) = recording.encoder.take() {
            self.queue.submit([encoder.finish()]);
        }
        recording.launches = 0;
    }

    fn record(&self, record: impl FnOnce(&mut CommandEncoder)) {
        let mut recording = lock(&self.recording);
        record(recording.encoder.get_or_insert_with(|| self.device.create_command_encoder(&Default::default())));
        recording.launches += 1;
        if recording.launches >= RECORDED {
            self.submit(&mut recording);
        }
    }

    fn failed(&self, reason: impl ToString) -> DeviceError {
        DeviceError::Failed { device: self.name.clone(), reason: reason.to_string() }
    }
}

impl Device for Wgpu {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn zeros(&self, len: usize) -> Buffer {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let size = (len.max(1) * size_of::<f32>()) as u64;
        let memory =
            self.device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        Buffer { len, memory: Memory::Wgpu(memory) }
    }

    fn write(&self, buffer: &Buffer, values: &[f32]) {
        // A write overtakes what is recorded, which may still need the old values.
        self.submit(&mut lock(&self.recording));
        self.queue.write_buffer(memory(buffer), 0, bytemuck::cast_slice(values));
    }

    fn read(&self, buffer: &Buffer) -> Result<Vec<f32>, DeviceError> {
        let memory = memory(buffer);
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let copy = self.device.create_buffer(&BufferDescriptor {
            label: None,
            size: memory.size(),
            usage,
            mapped_at_creation: false,
        });
        self.record(|encoder| encoder.copy_buffer_to_buffer(memory, 0, &copy, 0, memory.size()));
        self.submit(&mut lock(&self.recording));
        copy.map_async(MapMode::Read, .., |_| ());
        let polled = self.device.poll(PollType::wait_indefinitely());
        if let Some(reason) = lock(&self.failure).take() {
            return Err(self.failed(reason));
        }
        polled.map_err(|error| self.failed(error))?;
        let bytes = copy.get_mapped_range(..).map_err(|error| self.failed(error))?;
        Ok(bytemuck::pod_collect_to_vec(&bytes[..buffer.len * size_of::<f32>()]))
    }

    fn launch(&self, kernel: &dyn Kernel, reads: &[&Buffer], writes: &[&Buffer]) {
        let pipeline = self.pipeline(kernel);
        let mut params = kernel.params();
        // Uniform memory comes in units of 16 bytes.
        params.resize(params.len().next_multiple_of(4), 0);
        let contents = bytemuck::cast_slice(&params);
        let usage = BufferUsages::UNIFORM;
        let params = self.device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage });
        let buffers = [&params].into_iter().chain(reads.iter().chain(writes).map(|buffer| memory(buffer)));
        let entries: Vec<BindGroupEntry<'_>> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let layout = pipeline.get_bind_group_layout(0);
        let group =
            self.device.create_bind_group(&BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        let [x, y, z] = kernel.workgroups();
        self.record(|encoder| {
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(x, y, z);
        });
    }
}
