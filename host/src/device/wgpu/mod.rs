//! GPUs through wgpu: Vulkan, Metal, DX12.

mod adapters;
mod bindings;
mod pipelines;
mod timestamps;

use ::wgpu::util::{BufferInitDescriptor, DeviceExt};
use ::wgpu::{
    BufferDescriptor, BufferUsages, CommandEncoder, ComputePass, ComputePassDescriptor, DeviceDescriptor, DeviceType,
    ExperimentalFeatures, Features, Instance, InstanceDescriptor, MapMode, PollType, PowerPreference,
    RequestAdapterOptions, SubmissionIndex,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buffer::{Buffer, Memory, Slice};
use super::profile::{Profile, Work};
use super::{Device, DeviceError};
use crate::kernels::{Gpu, Kernel};
pub use adapters::{AdapterReport, adapters};
use bindings::Bindings;
use pipelines::Pipelines;
use timestamps::Timestamps;

/// The most launches per submission, so that a GPU that also draws a desktop stays responsive.
const LAUNCHES: usize = 1 << 12;
/// Steps that may be running while the next one is prepared.
const STEPS: usize = 2;

/// What is used where there is it.
const WANTED: Features =
    Features::SUBGROUP.union(Features::SHADER_F16).union(Features::TIMESTAMP_QUERY).union(Features::PIPELINE_CACHE);

/// A GPU.
pub struct Wgpu {
    name: String,
    gpu: Gpu,
    device: ::wgpu::Device,
    queue: ::wgpu::Queue,
    pipelines: Mutex<Pipelines>,
    bindings: Mutex<Bindings>,
    memory: Option<u64>,
    recording: Mutex<Recording>,
    failure: Arc<Mutex<Option<DeviceError>>>,
    timestamps: Option<Timestamps>,
    profile: Profile,
}

/// Launches that are not yet submitted to the GPU.
#[derive(Default)]
struct Recording {
    /// The pass that launches join, of the encoder; it ends before anything else is recorded.
    pass: Option<ComputePass<'static>>,
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
        let fragment = adapters::fragment(&adapter);
        let mut required_features = Features::IMMEDIATES | (adapter.features() & WANTED);
        if fragment.is_some() {
            required_features |= Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        }
        // SAFETY: of what is experimental only matrix units are used, by one kernel, which tests hold against its twin.
        let experimental_features = unsafe { ExperimentalFeatures::enabled() };
        let required_limits = adapter.limits();
        let asked =
            DeviceDescriptor { required_limits, required_features, experimental_features, ..Default::default() };
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
        let subgroups = [info.subgroup_min_size, info.subgroup_max_size];
        let subgroups = required_features.contains(Features::SUBGROUP).then_some(subgroups);
        let limits = device.limits();
        let workgroup = limits.max_compute_workgroup_storage_size;
        let threads = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        let f16 = required_features.contains(Features::SHADER_F16);
        let timed = profile && required_features.contains(Features::TIMESTAMP_QUERY);
        Ok(Self {
            name,
            gpu: Gpu { software, subgroups, f16, fragment, workgroup, threads },
            timestamps: timed.then(|| Timestamps::new(&device, &queue)),
            pipelines: Mutex::new(Pipelines::new(&device, &info)),
            bindings: Mutex::default(),
            memory: adapters::memory(&adapter),
            device,
            queue,
            recording: Mutex::default(),
            failure,
            profile: Profile::default(),
        })
    }

    /// What its kernels may use.
    #[cfg(test)]
    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Loses the GPU, as a driver crash does.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        self.device.destroy();
    }

    /// Submits the recorded launches to the GPU.
    fn hand_over(&self, recording: &mut Recording) -> Option<SubmissionIndex> {
        (recording.launches, recording.pass) = (0, None);
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

    /// Records what is no launch.
    fn record(&self, record: impl FnOnce(&mut CommandEncoder)) {
        let mut recording = lock(&self.recording);
        recording.pass = None;
        record(recording.encoder.get_or_insert_with(|| self.device.create_command_encoder(&Default::default())));
        self.recorded(&mut recording);
    }

    /// Records a launch, in the pass of those before it unless each is timed.
    fn record_launch(&self, kernel: &'static str, record: impl FnOnce(&mut ComputePass<'static>)) {
        let mut guard = lock(&self.recording);
        let recording = &mut *guard;
        let encoder = recording.encoder.get_or_insert_with(|| self.device.create_command_encoder(&Default::default()));
        let timestamp_writes = self.timestamps.as_ref().map(|timestamps| timestamps.begin(kernel));
        if timestamp_writes.is_some() {
            recording.pass = None;
        }
        let begin = || {
            let descriptor = ComputePassDescriptor { label: None, timestamp_writes };
            encoder.begin_compute_pass(&descriptor).forget_lifetime()
        };
        record(recording.pass.get_or_insert_with(begin));
        self.recorded(recording);
    }

    fn recorded(&self, recording: &mut Recording) {
        recording.launches += 1;
        let full = self.timestamps.as_ref().is_some_and(Timestamps::are_full);
        if recording.launches >= LAUNCHES || full {
            self.hand_over(recording);
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

    fn reads_f16(&self) -> bool {
        self.gpu.f16
    }

    fn memory(&self) -> Option<u64> {
        self.memory
    }

    fn shares_memory(&self) -> bool {
        false
    }

    fn largest(&self) -> usize {
        let limits = self.device.limits();
        (limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / VALUE) as usize
    }

    fn zeros(&self, len: usize) -> Buffer {
        // Where buffers come, others have gone, which their bindings would keep.
        lock(&self.bindings).clear();
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
        let shader = kernel.shader(&self.gpu);
        let pipeline = lock(&self.pipelines).get(&self.device, &shader);
        let slices = || reads.iter().chain(writes);
        let group = lock(&self.bindings).get(&self.device, (pipelines::key(&shader), &pipeline), slices());
        let [x, y, z] = shader.workgroups;
        self.profile.count(kernel.name(), Work::of(kernel, slices()));
        self.record_launch(kernel.name(), |pass| {
            pass.set_pipeline(&pipeline.compute);
            pass.set_bind_group(0, &group, &[]);
            pass.set_immediates(0, bytemuck::cast_slice(&shader.params));
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
