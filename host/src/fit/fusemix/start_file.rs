//! `start.safetensors`: the closed form that a training began from. What goes on from it must be the same to the bit,
//! and another machine, with other threads or less memory, may fit another one.
//!
//! For each tower, by its number, there are `N.mean`, `N.scale`, `N.weight`, `N.bias` and, with a kernel, `N.anchors`
//! and `N.tau`, as in a file of adapters, and `N.head` (shared x inputs). The metadata has `format = fusemix-start`,
//! `version`, `towers` (names), `unit` (of each tower, true if latents are scaled to length 1 first), and `training`
//! (all that it was made from). The last tensor is the BLAKE3 of the file before it.

use safetensors::SafeTensors;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use super::start::Begun;
use crate::regular;
use crate::space::{Head, Input, Kernel, Projection, Similarity};
use crate::tensor_file::{TensorFile, is_whole};

const FORMAT: &str = "fusemix-start";
const VERSION: &str = "1";
/// The largest file: as much as a file of adapters.
const LARGEST: u64 = 64 << 30;

/// The name, the shape and the values of a tensor.
type Tensor<'a> = (String, Vec<usize>, Cow<'a, [f32]>);

impl Begun {
    /// Writes the file; `training` is all that it was made from.
    pub fn save(&self, path: &Path, training: &str) -> io::Result<()> {
        let json = |value: serde_json::Value| value.to_string();
        let units: Vec<bool> = self.fronts.iter().map(|front| front.input.unit).collect();
        let metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("version".to_owned(), VERSION.to_owned()),
            ("towers".to_owned(), json(self.names.clone().into())),
            ("unit".to_owned(), json(units.into())),
            ("training".to_owned(), training.to_owned()),
        ]);
        let tensors = self.tensors();
        let shapes: Vec<_> = tensors.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
        let mut file = TensorFile::create(path, &shapes, &metadata, true)?;
        tensors.iter().try_for_each(|(_, _, values)| file.tensor(values))?;
        file.finish()
    }

    /// Reads the file; none if there is none, or it is damaged or of another training.
    pub fn load(path: &Path, training: &str) -> Option<Self> {
        let bytes = regular::read(path, LARGEST).ok()?;
        if !is_whole(&bytes) {
            return None;
        }
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        let metadata = header.metadata().as_ref()?;
        let value = |key: &str| metadata.get(key).map_or("", String::as_str);
        if [value("format"), value("version"), value("training")] != [FORMAT, VERSION, training] {
            return None;
        }
        let names: Vec<String> = serde_json::from_str(value("towers")).ok()?;
        let units: Vec<bool> = serde_json::from_str(value("unit")).ok()?;
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let (mut fronts, mut heads, mut shared) = (Vec::new(), HashMap::new(), 0);
        for (number, (name, unit)) in names.iter().zip(units).enumerate() {
            let tensor = |name: &str| tensors.tensor(&format!("{number}.{name}"));
            let values =
                |name: &str| -> Option<Vec<f32>> { Some(bytemuck::pod_collect_to_vec(tensor(name).ok()?.data())) };
            let input = Input { unit, mean: values("mean")?, scale: values("scale")? };
            let tau = values("tau").and_then(|tau| tau.first().copied());
            let kernel = match tau {
                None => None,
                Some(tau) => Some(Kernel { anchors: values("anchors")?, similarity: Similarity::Exponential { tau } }),
            };
            let head = Some(Head { weight: values("weight")?, bias: values("bias")? });
            shared = *tensor("head").ok()?.shape().first()?;
            heads.insert(name.clone(), values("head")?);
            fronts.push(Projection { input, kernel, head });
        }
        Some(Self { fronts, heads, names, shared })
    }

    /// All that makes it what it is, tower by tower.
    fn tensors<'a>(&'a self) -> Vec<Tensor<'a>> {
        let mut all = Vec::new();
        for (number, (front, name)) in self.fronts.iter().zip(&self.names).enumerate() {
            let width = front.input.mean.len();
            let mut add = |name: &str, shape: Vec<usize>, values: Cow<'a, [f32]>| {
                all.push((format!("{number}.{name}"), shape, values));
            };
            add("mean", vec![width], Cow::Borrowed(&front.input.mean));
            add("scale", vec![width], Cow::Borrowed(&front.input.scale));
            if let Some(Kernel { anchors, similarity: Similarity::Exponential { tau } }) = &front.kernel {
                add("anchors", vec![anchors.len() / width, width], anchors.into());
                add("tau", vec![1], vec![*tau].into());
            }
            if let Some(Head { weight, bias }) = &front.head {
                add("weight", vec![bias.len(), weight.len() / bias.len()], weight.into());
                add("bias", vec![bias.len()], bias.into());
            }
            let head = &self.heads[name];
            add("head", vec![self.shared, head.len() / self.shared.max(1)], head.into());
        }
        all
    }

    /// The sizes of what the adapters take and of what it is made from, and a digest of all values: another machine may
    /// find others.
    pub fn describe(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (_, _, values) in self.tensors() {
            hasher.update_rayon(bytemuck::cast_slice(&values));
        }
        let sizes = self.fronts.iter().map(|front| format!("{} of {}", front.width(), front.features()));
        format!("{} ({})", sizes.collect::<Vec<_>>().join(", "), &hasher.finalize().to_hex()[..16])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fit::fusemix::Start;
    use crate::fit::{PairSet, Problem};
    use crate::latents::{Dense, Latents};
    use crate::space::Inlet;

    #[test]
    fn what_a_training_began_from_is_read_back_to_the_bit_or_not_at_all() {
        let side = |width: usize| -> Arc<dyn Latents> {
            let value = |at: usize| ((at * 7919 + width) % 101) as f32 - 50.0;
            Arc::new(Dense::new((0..40 * width).map(value).collect(), width))
        };
        let sets = [PairSet { towers: [0, 1], latents: [side(6), side(5)], weight: 1.0 }];
        let towers = [("left", 6), ("right", 5)].map(|(name, width)| Inlet { name: name.to_owned(), width });
        let problem = Problem { towers: &towers, fixed: &[false; 2], sets: &sets, stop: &|| false };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("start.safetensors");
        for start in [Start::Cca, Start::KernelCca] {
            let begun = start.begin(&problem, 8).unwrap().unwrap();
            begun.save(&path, "these pairs").unwrap();
            let read = Begun::load(&path, "these pairs").unwrap();
            assert_eq!((&read.fronts, &read.heads, read.shared), (&begun.fronts, &begun.heads, begun.shared));
            assert_eq!(read.describe(), begun.describe());
            assert!(Begun::load(&path, "other pairs").is_none());
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(Begun::load(&path, "these pairs").is_none());
    }
}
