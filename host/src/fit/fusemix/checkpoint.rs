//! `checkpoint.safetensors`: the state of a training between two steps, from which it resumes exactly.
//!
//! For each tensor of the adapters there are `NAME.value`, `NAME.first` and `NAME.second` (AdamW's moments), and if
//! they are kept `NAME.average` and `NAME.best`; then `losses`, those of the epoch so far. The metadata has `format =
//! fusemix-checkpoint`, `version`, `training` (everything that must be the same to resume) and `position`. The last
//! tensor is the BLAKE3 of the file before it.

use memmap2::Mmap;
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::device::{DeviceError, Slice};
use crate::kernels::Precision;
use crate::space::Network;
use crate::tensor_file::{TensorFile, is_whole};
use crate::whole_file;
use crate::wording::differences;

const FORMAT: &str = "fusemix-checkpoint";
const VERSION: &str = "1";

/// The position of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Steps that are done.
    pub(super) step: usize,
    /// Epochs that are done.
    pub(super) epoch: usize,
    /// Steps of this epoch that are done.
    pub(super) at: usize,
    /// Steps that each tower has taken.
    pub(super) taken: Vec<usize>,
    /// The bits of the best recall so far, and the number of evaluations since.
    pub(super) best: Option<(u64, usize)>,
    /// The devices that it ran on, in order.
    pub(super) devices: Vec<String>,
    /// Rows of a micro-batch.
    pub(super) micro_batch: usize,
    /// The precision that it began in; none in checkpoints of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) precision: Option<Precision>,
    /// The scale of gradients in f16, and the steps since it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scale: Option<[f32; 2]>,
}

/// The place of a training's checkpoints, and the identity of the training.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The file; the previous checkpoint is next to it.
    pub path: PathBuf,
    /// The time between two checkpoints; zero for only at a stop.
    pub every: Duration,
    /// Steps between two checkpoints; 0 for none.
    pub steps: usize,
    /// Everything that must be the same to resume: options, seed, pairs, encoders.
    pub training: BTreeMap<String, String>,
}

/// An error of a checkpoint.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CheckpointError {
    #[error("cannot write {}: {cause}; check the folder and the free space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot use {}: {reason}", path.display())]
    Refused { path: PathBuf, reason: String },
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl Checkpoints {
    /// Removes the checkpoints, but not what a training began with.
    pub fn remove_steps(&self) {
        for path in [&self.path, &previous(&self.path)] {
            let _ = fs::remove_file(path);
        }
    }

    /// Records the seed of a training that will begin.
    pub fn announce(path: &Path, seed: u64) -> Result<(), CheckpointError> {
        let path = begun(path);
        let json = serde_json::json!({ "seed": seed.to_string() }).to_string();
        whole_file::write(&path, json.as_bytes()).map_err(|cause| CheckpointError::Write { path, cause })
    }

    /// Takes the checkpoint at `path` and the one before it away.
    pub fn remove_at(path: &Path) {
        for path in [path, &previous(path), &begun(path), &Self::start(path)] {
            // What is not there need not go, and what stays does no harm.
            let _ = fs::remove_file(path);
        }
    }

    /// The closed form that the training whose checkpoint is at `path` began from.
    pub fn start(path: &Path) -> PathBuf {
        path.with_file_name("start.safetensors")
    }

    /// The identity of the training whose checkpoint is at `path`.
    pub fn begun_with(path: &Path) -> Option<BTreeMap<String, String>> {
        let begun = || serde_json::from_slice(&fs::read(begun(path)).ok()?).ok();
        said(path, "training").or_else(begun)
    }

    /// The precision that the training whose checkpoint is at `path` began in.
    pub fn precision(path: &Path) -> Option<Precision> {
        said::<Position>(path, "position")?.precision
    }

    /// Records the identity of a training that begins, which may be stopped before its first checkpoint.
    pub fn begin(&self) -> Result<(), CheckpointError> {
        let path = begun(&self.path);
        let json = serde_json::to_vec_pretty(&self.training).expect("a map of strings is JSON");
        whole_file::write(&path, &json).map_err(|cause| CheckpointError::Write { path, cause })
    }

    /// True if there is a checkpoint at `path`.
    pub fn exist(path: &Path) -> bool {
        path.exists() || previous(path).exists()
    }

    /// Writes a checkpoint; the previous one is kept.
    pub(super) fn save(&self, network: &Network, position: &Position, losses: &[f32]) -> Result<(), CheckpointError> {
        let write = |cause| CheckpointError::Write { path: self.path.clone(), cause };
        let metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("version".to_owned(), VERSION.to_owned()),
            ("training".to_owned(), serde_json::to_string(&self.training).expect("a map of strings is JSON")),
            ("position".to_owned(), serde_json::to_string(position).expect("numbers are JSON")),
        ]);
        let state = state(network);
        let mut tensors: Vec<_> = state.iter().map(|(name, slice)| (name.clone(), vec![slice.len()])).collect();
        tensors.push(("losses".to_owned(), vec![losses.len()]));
        let next = self.path.with_extension("next.safetensors");
        let mut file = TensorFile::create(&next, &tensors, &metadata, true).map_err(write)?;
        for (_, slice) in state {
            file.tensor(&network.device.read(slice)?).map_err(write)?;
        }
        file.tensor(losses).map_err(write)?;
        file.finish().map_err(write)?;
        if self.path.exists() {
            // The last one keeps its name until the next one has it.
            let previous = previous(&self.path);
            match fs::remove_file(&previous) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(write(error)),
                _ => {}
            }
            fs::hard_link(&self.path, &previous)
                .or_else(|_| fs::copy(&self.path, &previous).map(drop))
                .map_err(write)?;
        }
        fs::rename(&next, &self.path).map_err(write)?;
        whole_file::sync_folder(&self.path).map_err(write)
    }

    /// Restores a space from its last good checkpoint; none if there is no checkpoint. If the newest is refused, a
    /// warning says so and the previous one is taken; if that is refused too, the first error is returned.
    pub(super) fn load(&self, network: &Network) -> Result<Option<(Position, Vec<f32>)>, CheckpointError> {
        let mut refused = None;
        for path in [self.path.clone(), previous(&self.path)] {
            match self.read(&path, network) {
                Err(CheckpointError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    refused.get_or_insert(error);
                }
                Ok(found) => {
                    if let Some(refused) = refused {
                        tracing::warn!("{refused}; continuing from the previous one");
                    }
                    return Ok(Some(found));
                }
            }
        }
        refused.map_or(Ok(None), Err)
    }

    fn read(&self, path: &Path, network: &Network) -> Result<(Position, Vec<f32>), CheckpointError> {
        let read = |cause| CheckpointError::Read { path: path.to_owned(), cause };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the file is this program's own and is only ever replaced as a whole.
        let bytes = unsafe { Mmap::map(&file) }.map_err(read)?;
        let refused = |reason: String| CheckpointError::Refused { path: path.to_owned(), reason };
        if !is_whole(&bytes) {
            return Err(refused("it is damaged: the file was truncated or modified".to_owned()));
        }
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| refused(error.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let value = |key: &str| metadata.get(key).map_or("", String::as_str);
        if (value("format"), value("version")) != (FORMAT, VERSION) {
            return Err(refused(format!("its format is `{}` {}", value("format"), value("version"))));
        }
        let training: BTreeMap<String, String> =
            serde_json::from_str(value("training")).map_err(|error| refused(error.to_string()))?;
        if training != self.training {
            let [then, now] = differences(&training, &self.training);
            return Err(refused(format!("it belongs to another training: then {then}; now {now}")));
        }
        let position: Position = serde_json::from_str(value("position")).map_err(|error| refused(error.to_string()))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| refused(error.to_string()))?;
        let values = |name: &str| tensors.tensor(name).map(|tensor| bytemuck::pod_collect_to_vec(tensor.data()));
        for (name, slice) in state(network) {
            match values(&name) {
                Ok(values) if values.len() == slice.len() => network.device.write(slice, &values),
                _ => return Err(refused(format!("tensor `{name}` is missing or has the wrong size"))),
            }
        }
        let losses = values("losses").map_err(|error| refused(error.to_string()))?;
        Ok((position, losses))
    }
}

/// The part of the metadata of the checkpoint at `path`, or of the one before it, that has this name.
fn said<T: DeserializeOwned>(path: &Path, name: &str) -> Option<T> {
    let said = |path: &Path| {
        let file = File::open(path).ok()?;
        // SAFETY: the file is this program's own and is only ever replaced as a whole.
        let bytes = unsafe { Mmap::map(&file) }.ok()?;
        if !is_whole(&bytes) {
            return None;
        }
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        serde_json::from_str(header.metadata().as_ref()?.get(name)?).ok()
    };
    said(path).or_else(|| said(&previous(path)))
}

/// The checkpoint before the last.
fn previous(path: &Path) -> PathBuf {
    path.with_extension("previous.safetensors")
}

/// What a training began with.
fn begun(path: &Path) -> PathBuf {
    path.with_file_name("training.json")
}

/// All state of a training, by name.
fn state(network: &Network) -> Vec<(String, Slice<'_>)> {
    let parameters = network.parameters().into_iter();
    let states = parameters.flat_map(|(name, parameter)| {
        parameter.state().into_iter().map(move |(part, slice)| (format!("{name}.{part}"), slice))
    });
    states.collect()
}

#[cfg(test)]
mod tests;
