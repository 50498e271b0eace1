//! Compiled kernels, and the file in which a driver keeps them from one run to the next.

use ::wgpu::{
    AdapterInfo, BindGroupLayout, ComputePipeline, ComputePipelineDescriptor, Device, Features, PipelineCache,
    PipelineCacheDescriptor, PipelineCompilationOptions, ShaderModuleDescriptor, ShaderRuntimeChecks, ShaderSource,
};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::{env, fs};

use crate::kernels::Shader;
use crate::whole_file;

/// What distinguishes a pipeline: the place and length of its source, its entry point, and the values of its constants.
pub(super) type Key = ([usize; 2], &'static str, Vec<u64>);

/// The key of a shader's pipeline.
pub(super) fn key(shader: &Shader) -> Key {
    let place = [shader.source.as_ptr().addr(), shader.source.len()];
    (place, shader.entry, shader.constants.iter().map(|(_, value)| value.to_bits()).collect())
}

/// A compiled kernel.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub(super) compute: ComputePipeline,
    pub(super) layout: BindGroupLayout,
}

/// All kernels compiled so far.
pub(super) struct Pipelines {
    compiled: HashMap<Key, Pipeline>,
    cache: Option<(PipelineCache, PathBuf)>,
    /// True if the cache has what its file lacks.
    grown: bool,
}

impl Pipelines {
    /// None yet, but with the driver's cache of earlier runs if the device has one.
    pub(super) fn new(device: &Device, adapter: &AdapterInfo) -> Self {
        let has_cache = device.features().contains(Features::PIPELINE_CACHE);
        let cache = file(adapter).filter(|_| has_cache).map(|path| {
            let data = fs::read(&path).ok().and_then(|bytes| checked(&bytes));
            let descriptor = PipelineCacheDescriptor { label: None, data: data.as_deref(), fallback: true };
            // SAFETY: the data are what `get_data` gave, whole, as their digest says; wgpu checks that they were for
            // this driver.
            (unsafe { device.create_pipeline_cache(&descriptor) }, path)
        });
        Self { compiled: HashMap::new(), cache, grown: false }
    }

    /// The pipeline of a shader.
    pub(super) fn get(&mut self, device: &Device, shader: &Shader) -> Pipeline {
        let entry = match self.compiled.entry(key(shader)) {
            Entry::Occupied(there) => return there.get().clone(),
            Entry::Vacant(entry) => entry,
        };
        let source = ShaderSource::Wgsl(shader.source.into());
        let descriptor = ShaderModuleDescriptor { label: Some(shader.entry), source };
        let module = match shader.unchecked {
            false => device.create_shader_module(descriptor),
            // SAFETY: the shader is one of ours whose loops end and whose indices stay within workgroup memory; what it
            // reads and writes of buffers, it checks itself.
            true => unsafe { device.create_shader_module_trusted(descriptor, ShaderRuntimeChecks::unchecked()) },
        };
        let options = PipelineCompilationOptions {
            constants: &shader.constants,
            // Kernels write to workgroup memory before they read it.
            zero_initialize_workgroup_memory: false,
        };
        let compute = device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: Some(shader.entry),
            layout: None,
            module: &module,
            entry_point: Some(shader.entry),
            compilation_options: options,
            cache: self.cache.as_ref().map(|(cache, _)| cache),
        });
        self.grown = true;
        let layout = compute.get_bind_group_layout(0);
        entry.insert(Pipeline { compute, layout }).clone()
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        let Some((cache, path)) = self.cache.as_ref().filter(|_| self.grown) else { return };
        let Some(data) = cache.get_data() else { return };
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let digest = blake3::hash(&data);
        // The next run compiles again what this one could not keep.
        if let Err(error) = folder.and_then(|()| whole_file::write(path, &[digest.as_bytes(), &data[..]].concat())) {
            tracing::debug!("compiled kernels are not kept in {}: {error}", path.display());
        }
    }
}

/// The data behind their digest, if they are whole.
fn checked(bytes: &[u8]) -> Option<Vec<u8>> {
    let (digest, data) = bytes.split_at_checked(blake3::OUT_LEN)?;
    (blake3::hash(data).as_bytes() == digest).then(|| data.to_vec())
}

/// The file for an adapter's compiled kernels, in the user's folder for caches.
fn file(adapter: &AdapterInfo) -> Option<PathBuf> {
    let key = ::wgpu::util::pipeline_cache_key(adapter)?;
    let folder = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| Some(env::home_dir()?.join(".cache")))?;
    Some(folder.join("fusemix").join(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_data_are_not_used() {
        let data = b"what a driver compiled".to_vec();
        let bytes = [blake3::hash(&data).as_bytes(), &data[..]].concat();
        assert_eq!(checked(&bytes), Some(data));
        assert_eq!(checked(&bytes[..bytes.len() - 1]), None);
        assert_eq!(checked(b"short"), None);
    }
}
