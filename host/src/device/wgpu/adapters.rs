//! The adapters that wgpu finds.

use ::wgpu::{Adapter, CooperativeScalarType, DeviceType, Features, Instance, InstanceDescriptor};

use crate::kernels::{cooperative, is_set};

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
    /// The side of the squares that its matrix units multiply, of f16 with sums of f32, if shaders can use them.
    pub fragment: Option<u32>,
    /// The bytes of its memory, if it tells.
    pub memory_bytes: Option<u64>,
    /// True if kernels can be timed.
    pub timestamps: bool,
}

/// All adapters found by wgpu.
pub fn adapters() -> Vec<AdapterReport> {
    let instance = Instance::new(InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(::wgpu::Backends::all()));
    let report = |adapter: &Adapter| {
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
            fragment: fragment(adapter),
            memory_bytes: memory(adapter),
            timestamps: features.contains(Features::TIMESTAMP_QUERY),
        }
    };
    adapters.iter().map(report).collect()
}

/// The side of the squares of f16 that matrix units multiply with sums of f32; none if `FUSEMIX_NO_MATRIX_UNITS` is
/// set.
pub(super) fn fragment(adapter: &Adapter) -> Option<u32> {
    let needed = Features::SUBGROUP | Features::SHADER_F16 | Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    if !adapter.features().contains(needed) || is_set("FUSEMIX_NO_MATRIX_UNITS") {
        return None;
    }
    let (shapes, limits) = (adapter.cooperative_matrix_properties(), adapter.limits());
    let has = |side: u32| {
        let of_values = |shape: &&::wgpu::CooperativeMatrixProperties| {
            (shape.ab_type, shape.cr_type) == (CooperativeScalarType::F16, CooperativeScalarType::F32)
        };
        shapes.iter().filter(of_values).any(|shape| [shape.m_size, shape.n_size, shape.k_size] == [side; 3])
    };
    let threads = |side| cooperative::threads(side, adapter.get_info().subgroup_max_size);
    let [fewest, most] = cooperative::THREADS;
    let most = limits.max_compute_invocations_per_workgroup.min(most);
    let fits = |side: u32| (fewest..=most).contains(&threads(side)) && threads(side).is_power_of_two();
    let memory = limits.max_compute_workgroup_storage_size >= cooperative::WORKGROUP_BYTES;
    [16, 8].into_iter().find(|&side| has(side) && fits(side)).filter(|_| memory)
}

/// The bytes of an adapter's own memory.
#[cfg(any(target_os = "linux", target_os = "windows"))]
pub(super) fn memory(adapter: &Adapter) -> Option<u64> {
    // SAFETY: the adapter is only looked at.
    let vulkan = unsafe { adapter.as_hal::<::wgpu::hal::api::Vulkan>() }?;
    let instance = vulkan.shared_instance().raw_instance();
    // SAFETY: the device is one of this instance, which lives.
    let memory = unsafe { instance.get_physical_device_memory_properties(vulkan.raw_physical_device()) };
    // Bit 0: memory of the device itself.
    memory.memory_heaps_as_slice().iter().filter(|heap| heap.flags.as_raw() & 1 == 1).map(|heap| heap.size).max()
}

/// Unknown: nobody tells.
#[cfg(not(any(target_os = "linux", target_os = "windows")))]
pub(super) fn memory(_: &Adapter) -> Option<u64> {
    None
}
