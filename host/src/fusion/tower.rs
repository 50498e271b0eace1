//! A tower: latents, an adapter or none, and length 1.

use super::adapter::{Drop, Mlp, Passed, Shape};
use super::parameter::{Parameter, Source};
use super::{AdapterKind, TowerSpec};
use crate::device::{Buffer, Device};
use crate::kernels::{Normalize, NormalizeBackward};

pub(super) struct Tower {
    pub(super) spec: TowerSpec,
    shared: usize,
    adapter: Option<Mlp>,
}

/// What a forward pass leaves behind, and where its input and its gradient go.
pub(super) struct Pass {
    rows: usize,
    /// `rows x width`
    pub(super) latents: Buffer,
    adapter: Option<(Passed, Buffer)>,
    /// `rows x shared`, of length 1
    pub(super) embeddings: Buffer,
    inverse: Buffer,
    /// To the embeddings.
    pub(super) gradient: Option<Buffer>,
}

impl Tower {
    pub(super) fn new(device: &dyn Device, source: &mut dyn Source, spec: TowerSpec, shape: Shape) -> Self {
        let shared = shape.shared;
        let adapter = (spec.adapter == AdapterKind::Mlp).then(|| Mlp::new(device, source, shape));
        Self { spec, shared, adapter }
    }

    pub(super) fn shape(&self) -> Option<Shape> {
        self.adapter.as_ref().map(Mlp::shape)
    }

    pub(super) fn parameters(&self) -> Vec<&Parameter> {
        self.adapter.as_ref().map(Mlp::parameters).unwrap_or_default()
    }

    /// Room for passes over `rows` rows.
    pub(super) fn pass(&self, device: &dyn Device, rows: usize, training: bool) -> Pass {
        let room = |shape| (Passed::new(device, shape, rows, training), device.zeros(rows * self.shared));
        Pass {
            rows,
            latents: device.zeros(rows * self.spec.width),
            adapter: self.shape().map(room),
            embeddings: device.zeros(rows * self.shared),
            inverse: device.zeros(rows),
            gradient: training.then(|| device.zeros(rows * self.shared)),
        }
    }

    /// From the pass's latents to its embeddings.
    pub(super) fn forward(&self, device: &dyn Device, pass: &Pass, drop: Drop) {
        let mut out = &pass.latents;
        if let (Some(adapter), Some((passed, adapted))) = (&self.adapter, &pass.adapter) {
            adapter.forward(device, &pass.latents, drop, passed, adapted);
            out = adapted;
        }
        let normalize = Normalize { rows: pass.rows, width: self.shared };
        device.launch(&normalize, &[out], &[&pass.embeddings, &pass.inverse]);
    }

    /// From the pass's gradient, which is consumed, to those of the parameters.
    pub(super) fn backward(&self, device: &dyn Device, pass: &Pass, drop: Drop) {
        let (Some(adapter), Some((passed, _)), Some(gradient)) = (&self.adapter, &pass.adapter, &pass.gradient) else {
            return;
        };
        let normalize = NormalizeBackward { rows: pass.rows, width: self.shared };
        device.launch(&normalize, &[&pass.embeddings, &pass.inverse], &[gradient]);
        adapter.backward(device, &pass.latents, drop, passed, gradient);
    }
}
