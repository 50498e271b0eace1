//! GPUs through wgpu: Vulkan, Metal, DX12.

use ::wgpu::util::{BufferInitDescriptor, DeviceExt};
use ::wgpu::{
    BindGroupDescriptor, BindGroupEntry, BindingResource, BufferBinding, BufferDescriptor, BufferUsages,
    CommandEncoder, ComputePassDescriptor, ComputePipeline, ComputePipelineDescriptor, DeviceDescriptor, DeviceType,
    Features, Instance, InstanceDescriptor, MapMode, PollType, PowerPreference, RequestAdapterOptions,
    ShaderModuleDescriptor, ShaderSource, SubmissionIndex,
};
use std::collections::HashMap;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buffer::{Buffer, Memory, Slice};
use super::profile::Profile;
use super::timestamps::Timestamps;
use super::{Device, DeviceError};
use crate::kernels::{Gpu, Kernel};

/// The most launches per submission, so that a GPU that also draws a desktop stays responsive.
const LAUNCHES: usize = 1 << 12;
/// Steps that may be running while the next one is prepared.
const STEPS: usize = 2;

/// A GPU.
pub struct Wgpu {
    name: String,
    gpu: Gpu,
    device: ::wgpu::Device,
    queue: ::wgpu::Queue,
    pipelines: Mutex<HashMap<&'static str, ComputePipeline>>,
    recording: Mutex<Recording>,
    failure: Arc<Mutex<Option<DeviceError>>>,
    timestamps: Option<Timestamps>,
    profile: Profile,
}

/// Launches that are not yet submitted to the GPU.
#[derive(Default)]
struct Recording {
    encoder: Option<CommandEncoder>,
    launches: usize,
    /// The last submission of each running step.
    steps: VecDeque<SubmissionIndex>,
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

const VALUE: u64 = size_of::<f32>() as u64;

impl Wgpu {
    /// Opens the GPU with the highest performance; a software one only if `real` is false. With `profile` it times each
    /// kernel, which makes every step wait for the previous one.
    pub fn open(real: bool, profile: bool) -> Result<Self, DeviceError> {
        let instance = Instance::new(InstanceDescriptor::new_without_display_handle());
        let wanted = RequestAdapterOptions { power_preference: PowerPreference::HighPerformance, ..Default::default() };
        let missing = |error: &dyn ToString| DeviceError::Missing(error.to_string());
        let adapter = pollster::block_on(instance.request_adapter(&wanted)).map_err(|error| missing(&error))?;
        let info = adapter.get_info();
        let software = info.device_type == DeviceType::Cpu;
        if real && software {
            return Err(missing(&format!("only {}, a software renderer", info.name)));
        }
        let required_features =
            adapter.features() & (Features::SUBGROUP | Features::SHADER_F16 | Features::TIMESTAMP_QUERY);
        let asked = DeviceDescriptor { required_limits: adapter.limits(), required_features, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&asked)).map_err(|error| missing(&error))?;
        let name = format!("{} ({})", info.name, info.backend);
        let failure = Arc::new(Mutex::new(None));
        let (errors, losses) = (failure.clone(), failure.clone());
        let of = name.clone();
        device.on_uncaptured_error(Arc::new(move |error: ::wgpu::Error| {
            let (device, reason) = (of.clone(), error.to_string());
            lock(&errors).get_or_insert(match error {
                ::wgpu::Error::OutOfMemory { .. } => DeviceError::Memory { device, reason },
                _ => DeviceError::Failed { device, reason },
            });
        }));
        let device_name = name.clone();
        device.set_device_lost_callback(move |_, reason| {
            // Whatever else failed did so because of this.
            *lock(&losses) = Some(DeviceError::Lost { device: device_name.clone(), reason });
        });
        let fixed = info.subgroup_min_size == info.subgroup_max_size && required_features.contains(Features::SUBGROUP);
        let subgroup = fixed.then_some(info.subgroup_min_size);
        let timed = profile && required_features.contains(Features::TIMESTAMP_QUERY);
        Ok(Self {
            name,
            gpu: Gpu { software, subgroup, f16: required_features.contains(Features::SHADER_F16) },
            timestamps: timed.then(|| Timestamps::new(&device, &queue)),
            device,
            queue,
            pipelines: Mutex::default(),
            recording: Mutex::default(),
            failure,
            profile: Profile::default(),
        })
    }

    /// Loses the GPU, as a driver crash does.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        self.device.destroy();
    }

    fn pipeline(&self, source: &'static str, entry: &'static str) -> ComputePipeline {
        let compile = || {
            let source = ShaderSource::Wgsl(source.into());
            let module = self.device.create_shader_module(ShaderModuleDescriptor { label: None, source });
            self.device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(entry),
                layout: None,
                module: &module,
                entry_point: Some(entry),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        lock(&self.pipelines).entry(entry).or_insert_with(compile).clone()
    }

    /// Submits the recorded launches to the GPU.
    fn hand_over(&self, recording: &mut Recording) -> Option<SubmissionIndex> {
        recording.launches = 0;
        let mut encoder = recording.encoder.take()?;
        if let Some(timestamps) = &self.timestamps {
            timestamps.resolve(&mut encoder);
        }
        let index = self.queue.submit([encoder.finish()]);
        if let Some(timestamps) = &self.timestamps {
            timestamps.collect(&self.device, &self.profile);
        }
        Some(index)
    }

    fn record(&self, record: impl FnOnce(&mut CommandEncoder)) {
        let mut recording = lock(&self.recording);
        record(recording.encoder.get_or_insert_with(|| self.device.create_command_encoder(&Default::default())));
        recording.launches += 1;
        let full = self.timestamps.as_ref().is_some_and(Timestamps::are_full);
        if recording.launches >= LAUNCHES || full {
            self.hand_over(&mut recording);
        }
    }

    /// The first error since the last call.
    fn check(&self) -> Result<(), DeviceError> {
        lock(&self.failure).take().map_or(Ok(()), Err)
    }

    fn failed(&self, reason: impl ToString) -> DeviceError {
        DeviceError::Failed { device: self.name.clone(), reason: reason.to_string() }
    }
}

impl Device for Wgpu {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn has_16_bit(&self) -> bool {
        self.gpu.f16 && !self.gpu.software
    }

    fn memory(&self) -> Option<u64> {
        None
    }

    fn shares_memory(&self) -> bool {
        false
    }

    fn largest(&self) -> usize {
        let limits = self.device.limits();
        (limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / VALUE) as usize
    }

    fn zeros(&self, len: usize) -> Buffer {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let size = len.max(1) as u64 * VALUE;
        let memory =
            self.device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        Buffer { len, memory: Memory::Wgpu(memory) }
    }

    fn fill(&self, slice: Slice<'_>, fill: &mut dyn FnMut(&mut [f32])) {
        let mut values = vec![0.0; slice.len];
        fill(&mut values);
        let (contents, usage) = (bytemuck::cast_slice(&values), BufferUsages::COPY_SRC);
        let staged = self.device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage });
        let start = slice.start as u64 * VALUE;
        self.record(|encoder| {
            encoder.copy_buffer_to_buffer(&staged, 0, memory(slice.buffer), start, slice.len as u64 * VALUE);
        });
    }

    fn read(&self, slice: Slice<'_>) -> Result<Vec<f32>, DeviceError> {
        let (start, size) = (slice.start as u64 * VALUE, slice.len.max(1) as u64 * VALUE);
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let copy = self.device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        self.record(|encoder| encoder.copy_buffer_to_buffer(memory(slice.buffer), start, &copy, 0, size));
        self.hand_over(&mut lock(&self.recording));
        copy.map_async(MapMode::Read, .., |_| ());
        let polled = self.device.poll(PollType::wait_indefinitely());
        self.check()?;
        polled.map_err(|error| self.failed(error))?;
        let bytes = copy.get_mapped_range(..).map_err(|error| self.failed(error))?;
        Ok(bytemuck::pod_collect_to_vec(&bytes[..slice.len * size_of::<f32>()]))
    }

    fn launch(&self, kernel: &dyn Kernel, reads: &[Slice<'_>], writes: &[Slice<'_>]) {
        let mut shader = kernel.shader(&self.gpu);
        let pipeline = self.pipeline(shader.source, shader.entry);
        // Uniform memory comes in units of 16 bytes.
        shader.params.resize(shader.params.len().next_multiple_of(4), 0);
        let (contents, usage) = (bytemuck::cast_slice(&shader.params), BufferUsages::UNIFORM);
        let params = self.device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage });
        let bound = reads.iter().chain(writes).map(|slice| {
            let (offset, size) = (slice.start as u64 * VALUE, slice.len.max(1) as u64 * VALUE);
            BindingResource::Buffer(BufferBinding { buffer: memory(slice.buffer), offset, size: NonZeroU64::new(size) })
        });
        let bound = [params.as_entire_binding()].into_iter().chain(bound);
        let entries: Vec<BindGroupEntry<'_>> =
            (0..).zip(bound).map(|(binding, resource)| BindGroupEntry { binding, resource }).collect();
        let layout = pipeline.get_bind_group_layout(0);
        let group =
            self.device.create_bind_group(&BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        let [x, y, z] = shader.workgroups;
        self.record(|encoder| {
            let timestamp_writes = self.timestamps.as_ref().map(|timestamps| timestamps.begin(kernel.name()));
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor { label: None, timestamp_writes });
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(x, y, z);
        });
    }

    fn submit(&self) -> Result<(), DeviceError> {
        let mut recording = lock(&self.recording);
        let index = self.hand_over(&mut recording);
        recording.steps.extend(index);
        if recording.steps.len() > STEPS {
            let submission_index = recording.steps.pop_front();
            let polled = self.device.poll(PollType::Wait { submission_index, timeout: None });
            self.check()?;
            polled.map_err(|error| self.failed(error))?;
        }
        self.check()
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// An adapter found by wgpu.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct AdapterReport {
    /// Its name.
    pub name: String,
    /// Its graphics API.
    pub backend: String,
    /// `discrete_gpu`, `integrated_gpu`, `virtual_gpu`, `cpu` (software) or `other`.
    pub kind: &'static str,
    /// The driver's name and version.
    pub driver: String,
    /// The most bytes of a buffer.
    pub max_buffer_bytes: u64,
    /// The most bytes of a buffer that a kernel can bind.
    pub max_binding_bytes: u64,
    /// The most bytes of a workgroup's memory.
    pub workgroup_bytes: u32,
    /// Minimum and maximum size of a subgroup, if shaders can use subgroups.
    pub subgroup: Option<[u32; 2]>,
    /// True if shaders can compute with f16.
    pub f16: bool,
    /// True if kernels can be timed.
    pub timestamps: bool,
}

/// All adapters found by wgpu.
pub fn adapters() -> Vec<AdapterReport> {
    let instance = Instance::new(InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(::wgpu::Backends::all()));
    let report = |adapter: &::wgpu::Adapter| {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        AdapterReport {
            name: info.name,
            backend: info.backend.to_string(),
            kind: match info.device_type {
                DeviceType::DiscreteGpu => "discrete_gpu",
                DeviceType::IntegratedGpu => "integrated_gpu",
                DeviceType::VirtualGpu => "virtual_gpu",
                DeviceType::Cpu => "cpu",
                DeviceType::Other => "other",
            },
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            subgroup: features.contains(Features::SUBGROUP).then_some([info.subgroup_min_size, info.subgroup_max_size]),
            f16: features.contains(Features::SHADER_F16),
            timestamps: features.contains(Features::TIMESTAMP_QUERY),
        }
    };
    adapters.iter().map(report).collect()
}
