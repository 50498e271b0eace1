//! `start.safetensors`: the closed forms that a training began with: the one that its adapters go on from, and the
//! teacher of its items without a pair. What goes on with them must have the same to the bit, and another machine, with
//! other threads or less memory, may fit others.
//!
//! For each tower, by its number N, the one has `start.N.mean`, `.scale`, `.weight`, `.bias` and, with a kernel,
//! `.anchors` and `.tau`, as in a file of adapters, and `start.N.head` (shared x inputs); the other has
//! `teacher.N.mean` and so on. The metadata has `format = fusemix-start`, `version`, `towers` (names), and `training`
//! (all that they were made from). The last tensor is the BLAKE3 of the file before it.

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
const VERSION: &str = "2";
/// The largest file: as much as a file of adapters.
const LARGEST: u64 = 64 << 30;

/// The name, the shape and the values of a tensor.
type Tensor<'a> = (String, Vec<usize>, Cow<'a, [f32]>);

/// The closed forms that a training begins with.
#[derive(Default)]
pub(crate) struct Forms {
    /// The one that its adapters go on from.
    pub(crate) begun: Option<Begun>,
    /// The teacher of items without a pair, tower by tower.
    pub(crate) teacher: Option<Vec<Projection>>,
}

impl Forms {
    /// Writes the file; `training` is all that they were made from.
    pub(crate) fn save(&self, path: &Path, towers: &[String], training: &str) -> io::Result<()> {
        let metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("version".to_owned(), VERSION.to_owned()),
            ("towers".to_owned(), serde_json::json!(towers).to_string()),
            ("training".to_owned(), training.to_owned()),
        ]);
        let tensors = [self.of_start(), self.of_teacher()].concat();
        let shapes: Vec<_> = tensors.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
        let mut file = TensorFile::create(path, &shapes, &metadata, true)?;
        tensors.iter().try_for_each(|(_, _, values)| file.tensor(values))?;
        file.finish()
    }

    /// Reads the file; none if there is none, or it is damaged or of another training.
    pub(crate) fn load(path: &Path, training: &str) -> Option<Self> {
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
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let all = |form: &str| -> Option<Vec<Projection>> {
            (0..names.len()).map(|number| projection(&tensors, &format!("{form}.{number}"))).collect()
        };
        let has = |form: &str| tensors.tensor(&format!("{form}.0.mean")).is_ok();
        let mut forms = Self::default();
        if has("start") {
            let (mut heads, mut shared) = (HashMap::new(), 0);
            for (number, name) in names.iter().enumerate() {
                let head = tensors.tensor(&format!("start.{number}.head")).ok()?;
                shared = *head.shape().first()?;
                heads.insert(name.clone(), bytemuck::pod_collect_to_vec(head.data()));
            }
            forms.begun = Some(Begun { fronts: all("start")?, heads, names: names.clone(), shared, seen: Vec::new() });
        }
        if has("teacher") {
            forms.teacher = Some(all("teacher")?);
        }
        Some(forms)
    }

    /// What identifies each of them: sizes, and a digest of all values, since another machine may find others.
    pub(crate) fn describe(&self) -> impl Iterator<Item = (String, String)> {
        let digest = |tensors: &[Tensor<'_>]| {
            let mut hasher = blake3::Hasher::new();
            for (_, _, values) in tensors {
                hasher.update_rayon(bytemuck::cast_slice(values));
            }
            hasher.finalize().to_hex()[..16].to_owned()
        };
        let sizes = |all: &[Projection]| {
            let sizes = all.iter().map(|one| format!("{} of {}", one.width(), one.features()));
            sizes.collect::<Vec<_>>().join(", ")
        };
        let start = self.begun.as_ref().map(|begun| (sizes(&begun.fronts), digest(&self.of_start())));
        let teacher = self.teacher.as_ref().map(|teacher| (sizes(teacher), digest(&self.of_teacher())));
        let named = [("start", start), ("teacher", teacher)].into_iter();
        named.filter_map(|(name, of)| of.map(|(sizes, digest)| (name.to_owned(), format!("{sizes} ({digest})"))))
    }

    fn of_start(&self) -> Vec<Tensor<'_>> {
        let Some(begun) = &self.begun else { return Vec::new() };
        let mut all = Vec::new();
        for (number, (front, name)) in begun.fronts.iter().zip(&begun.names).enumerate() {
            all.extend(tensors(front, &format!("start.{number}")));
            let head = &begun.heads[name];
            let shape = vec![begun.shared, head.len() / begun.shared.max(1)];
            all.push((format!("start.{number}.head"), shape, head.into()));
        }
        all
    }

    fn of_teacher(&self) -> Vec<Tensor<'_>> {
        let teacher = self.teacher.iter().flatten().enumerate();
        teacher.flat_map(|(number, of)| tensors(of, &format!("teacher.{number}"))).collect()
    }
}

/// All that makes a map what it is.
fn tensors<'a>(of: &'a Projection, prefix: &str) -> Vec<Tensor<'a>> {
    let (width, mut all) = (of.input.mean.len(), Vec::new());
    let mut add = |name: &str, shape: Vec<usize>, values: Cow<'a, [f32]>| {
        all.push((format!("{prefix}.{name}"), shape, values));
    };
    add("mean", vec![width], Cow::Borrowed(&of.input.mean));
    add("scale", vec![width], Cow::Borrowed(&of.input.scale));
    if of.input.unit {
        add("unit", vec![1], vec![1.0].into());
    }
    if let Some(Kernel { anchors, similarity: Similarity::Exponential { tau } }) = &of.kernel {
        add("anchors", vec![anchors.len() / width, width], anchors.into());
        add("tau", vec![1], vec![*tau].into());
    }
    if let Some(Head { weight, bias }) = &of.head {
        add("weight", vec![bias.len(), weight.len() / bias.len()], weight.into());
        add("bias", vec![bias.len()], bias.into());
    }
    all
}

/// The map with these tensors.
fn projection(tensors: &SafeTensors<'_>, prefix: &str) -> Option<Projection> {
    let values = |name: &str| -> Option<Vec<f32>> {
        Some(bytemuck::pod_collect_to_vec(tensors.tensor(&format!("{prefix}.{name}")).ok()?.data()))
    };
    let input = Input { unit: values("unit").is_some(), mean: values("mean")?, scale: values("scale")? };
    let kernel = match values("tau") {
        None => None,
        Some(tau) => {
            let similarity = Similarity::Exponential { tau: *tau.first()? };
            Some(Kernel { anchors: values("anchors")?, similarity })
        }
    };
    let head = match values("weight") {
        None => None,
        Some(weight) => Some(Head { weight, bias: values("bias")? }),
    };
    Some(Projection { input, kernel, head })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fit::fusemix::{Start, Unpaired};
    use crate::fit::{PairSet, Problem};
    use crate::latents::{Dense, Latents};
    use crate::space::Inlet;

    #[test]
    fn what_a_training_began_from_is_read_back_to_the_bit_or_not_at_all() {
        let side = |width: usize| -> Arc<dyn Latents> {
            let value = |at: usize| ((at * 7919 + width) % 101) as f32 - 50.0;
            Arc::new(Dense::new((0..40 * width).map(value).collect(), width))
        };
        let sets = [PairSet { towers: [0, 1], latents: [side(6), side(5)], weight: 1.0, items: None }];
        let towers = [("left", 6), ("right", 5)].map(|(name, width)| Inlet { name: name.to_owned(), width });
        let problem = Problem { towers: &towers, fixed: &[false; 2], sets: &sets, stop: &|| false };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("start.safetensors");
        for start in [Start::Cca, Start::KernelCca] {
            let begun = start.begin(&problem, 8).unwrap();
            let forms = Forms { begun, teacher: Some(Unpaired::teacher(&problem).unwrap()) };
            forms.save(&path, &towers.each_ref().map(|tower| tower.name.clone()), "these pairs").unwrap();
            let read = Forms::load(&path, "these pairs").unwrap();
            let [found, expected] = [&read, &forms].map(|forms| forms.begun.as_ref().unwrap());
            assert_eq!(
                (&found.fronts, &found.heads, found.shared),
                (&expected.fronts, &expected.heads, expected.shared)
            );
            assert_eq!(read.teacher, forms.teacher);
            assert!(read.describe().eq(forms.describe()) && read.describe().count() == 2);
            assert!(Forms::load(&path, "other pairs").is_none());
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(Forms::load(&path, "these pairs").is_none());
    }
}
