//! Towers and tensors as a file of adapters has them, read back.

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{AdapterKind, Head, Inlet, Input, Kernel, Map, Network, Part, Projection, Similarity, TowerSpec, sound};
use crate::device::Device;
use crate::nn::{Shape, Source};

/// A tower in the metadata.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredTower {
    pub(super) name: String,
    pub(super) width: usize,
    pub(super) adapter: StoredKind,
    pub(super) inner: usize,
    pub(super) blocks: usize,
    pub(super) shared: usize,
    #[serde(default = "yes")]
    pub(super) bias: bool,
    /// The map of its latents to what it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) front: Option<Box<StoredTower>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredKind {
    Projection,
    #[serde(untagged)]
    Trained(AdapterKind),
}

fn yes() -> bool {
    true
}

/// Values from a file, and the first error in its tensors.
pub(super) struct Stored<'a> {
    tensors: SafeTensors<'a>,
    tower: String,
    /// The part of a joint space that is read, as in names of tensors: "2.", or nothing.
    part: String,
    pub(super) wrong: Option<String>,
}

impl Source for Stored<'_> {
    fn begin(&mut self, tower: &str) {
        self.tower = tower.to_owned();
    }

    fn uniform(&mut self, name: &str, shape: &[usize], _: usize) -> Vec<f32> {
        let name = self.full(name);
        match self.tensors.tensor(&name) {
            Ok(tensor) if tensor.dtype() == Dtype::F32 && tensor.shape() == shape => {
                let values: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
                if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                    let reason = || format!("tensor `{name}` holds {} at position {at}; train again", values[at]);
                    self.wrong.get_or_insert_with(reason);
                }
                values
            }
            other => {
                let found = other.map_or("is missing".into(), |t| format!("is {:?} {:?}", t.dtype(), t.shape()));
                self.wrong.get_or_insert(format!("tensor `{name}` {found}; it must be F32 {shape:?}"));
                // Its size may be anything, and nothing is made of it.
                vec![0.0]
            }
        }
    }

    fn constant(&mut self, name: &str, shape: &[usize], _: f32) -> Vec<f32> {
        self.uniform(name, shape, 0)
    }
}

impl<'a> Stored<'a> {
    pub(super) fn new(tensors: SafeTensors<'a>) -> Self {
        Self { tensors, tower: String::new(), part: String::new(), wrong: None }
    }

    /// The name of a tensor in the file.
    fn full(&self, name: &str) -> String {
        let part = &self.part;
        if self.tower.is_empty() { format!("{part}{name}") } else { format!("{}.{part}{name}", self.tower) }
    }

    /// A tensor of a tower; `shape` has 0 where any size is right.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> (Vec<f32>, Vec<usize>) {
        let found = self.tensors.tensor(&self.full(name)).map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
        let fits = found.len() == shape.len() && found.iter().zip(shape).all(|(is, must)| *must == 0 || is == must);
        let shape = if fits { found } else { shape.to_vec() };
        (self.uniform(name, &shape, 0), shape)
    }

    /// A tensor of one value.
    fn scalar(&mut self, name: &str) -> f32 {
        self.tensor(name, &[1]).0[0]
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(&self.full(name)).is_ok()
    }

    fn projection(&mut self, tower: &StoredTower) -> Projection {
        let &StoredTower { ref name, width, inner, shared, .. } = tower;
        self.begin(name);
        let unit = self.has("unit");
        let input = Input { unit, mean: self.tensor("mean", &[width]).0, scale: self.tensor("scale", &[width]).0 };
        let kernel = (inner > 0).then(|| {
            let anchors = self.tensor("anchors", &[inner, width]).0;
            Kernel { anchors, similarity: self.similarity(inner) }
        });
        let inputs = if inner > 0 { inner } else { width };
        let head = (self.has("head.weight") || shared != inputs).then(|| {
            let (weight, bias) =
                (self.tensor("head.weight", &[shared, inputs]).0, self.tensor("head.bias", &[shared]).0);
            Head { weight, bias }
        });
        Projection { input, kernel, head }
    }

    fn similarity(&mut self, anchors: usize) -> Similarity {
        let (key, similarity) = if self.has("power") {
            let (power, top) = (self.scalar("power"), self.scalar("top"));
            let least = if (1.0..=anchors as f32).contains(&top) { power } else { 0.0 };
            (if power > 0.0 { "top" } else { "power" }, (least, Similarity::Cosine { power, top: top as usize }))
        } else {
            let tau = self.scalar("tau");
            ("tau", (tau, Similarity::Exponential { tau }))
        };
        let (least, similarity) = similarity;
        if least <= 0.0 {
            let name = self.full(key);
            self.wrong.get_or_insert(format!("tensor `{name}` has a value that no fit gives"));
        }
        similarity
    }

    /// The map of these towers.
    pub(super) fn map(&mut self, device: &Arc<dyn Device>, towers: Vec<StoredTower>) -> Result<Map, String> {
        let shared = towers.first().map_or(0, |tower| tower.shared);
        let values = self.tensors.iter().map(|(_, tensor)| tensor.data().len() / size_of::<f32>()).sum();
        sound::check(&towers, values, self.tensors.len())?;
        if towers.iter().all(|tower| tower.adapter == StoredKind::Projection) {
            return Ok(Map::Projections(towers.iter().map(|tower| self.projection(tower)).collect()));
        }
        let part = self.part.clone();
        self.part += "front.";
        let fronts: Vec<Projection> =
            towers.iter().filter_map(|tower| tower.front.as_deref()).map(|front| self.projection(front)).collect();
        self.part = part;
        let fit = |tower: &StoredTower| tower.front.as_ref().is_none_or(|front| front.shared == tower.width);
        if !fronts.is_empty() && (fronts.len() < towers.len() || !towers.iter().all(fit)) {
            return Err("`towers`: a front is missing, or its width is not that of its tower".to_owned());
        }
        let towers = towers.into_iter().map(shape).collect::<Option<Vec<_>>>();
        let towers = towers.ok_or_else(|| "it has trained towers and others".to_owned())?;
        Ok(Map::Network(Arc::new(Network::new(device.clone(), towers, shared, 1.0, self).behind(fronts))))
    }

    /// The map of towers with several parts each.
    pub(super) fn joint(&mut self, device: &Arc<dyn Device>, parts: Vec<Vec<StoredTower>>) -> Result<Map, String> {
        if parts.is_empty() {
            return Err("`parts`: there are none".to_owned());
        }
        let inlets = |towers: &[StoredTower]| towers.iter().map(inlet).collect::<Vec<_>>();
        if parts.windows(2).any(|two| inlets(&two[0]) != inlets(&two[1])) {
            return Err("`parts`: all must have the same towers".to_owned());
        }
        let name = parts.first().and_then(|towers| towers.first()).map_or("", |tower| &tower.name);
        self.begin(name);
        let (weights, _) = self.tensor("weights", &[parts.len()]);
        let mut joint = Vec::with_capacity(parts.len());
        for (number, (weight, towers)) in weights.into_iter().zip(parts).enumerate() {
            self.part = format!("{number}.");
            joint.push(Part { weight, map: self.map(device, towers)? });
        }
        self.part.clear();
        Ok(Map::Joint(joint))
    }
}

pub(super) fn inlet(tower: &StoredTower) -> Inlet {
    Inlet { name: tower.name.clone(), width: tower.front.as_ref().map_or(tower.width, |front| front.width) }
}

/// The shape of a trained tower; none of another.
fn shape(tower: StoredTower) -> Option<(Shape, TowerSpec)> {
    let StoredTower { name, width, adapter, inner, blocks, shared, bias, .. } = tower;
    let StoredKind::Trained(adapter) = adapter else { return None };
    let shape = Shape { kind: adapter, width, inner, blocks, shared, bias };
    Some((shape, TowerSpec { name, width, adapter, blocks: Some(blocks) }))
}
