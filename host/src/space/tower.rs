//! A tower: an adapter on latents, and normalisation to length 1.

use crate::device::{Buffer, Device, Slice};
use crate::kernels::{Format, Normalize};
use crate::nn::{Activations, Adapter, AdapterKind, Mode, Parameter, Rows, Scratch, Shape, Source};

/// A tower of a space.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TowerSpec {
    /// Its name.
    pub name: String,
    /// Values per latent.
    pub width: usize,
    /// The kind of its adapter.
    pub adapter: AdapterKind,
    /// The number of blocks of its adapter, overriding the options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<usize>,
}

/// A tower at work on a device.
pub(crate) struct Tower {
    pub(crate) spec: TowerSpec,
    pub(crate) adapter: Adapter,
}

/// Buffers for embeddings of up to some rows at once.
pub(super) struct Room {
    latents: Buffer,
    activations: Activations,
    scratch: Scratch,
    /// `rows x shared`, of length 1, and the inverse of their original length.
    embeddings: Buffer,
    inverse: Buffer,
}

impl Tower {
    pub(crate) fn new(device: &dyn Device, source: &mut dyn Source, spec: TowerSpec, shape: Shape) -> Self {
        Self { spec, adapter: Adapter::new(device, source, shape) }
    }

    pub(crate) fn parameters(&self) -> Vec<&Parameter> {
        self.adapter.parameters()
    }

    /// Normalises the adapter's output for some rows to length 1.
    pub(crate) fn normalize(&self, device: &dyn Device, count: usize, adapted: Slice<'_>, out: [Slice<'_>; 2]) {
        let kernel = Normalize { rows: count, width: self.adapter.shape().shared };
        device.launch(&kernel, &[adapted], &out);
    }

    pub(super) fn room(&self, device: &dyn Device, rows: usize) -> Room {
        let shape = self.adapter.shape();
        Room {
            latents: device.zeros(rows * shape.width),
            activations: Activations::new(device, shape, rows, Format::F32),
            scratch: Scratch::new(device, shape, rows, (false, Format::F32)),
            embeddings: device.zeros(rows * shape.shared),
            inverse: device.zeros(rows),
        }
    }

    /// The embeddings `(count x shared)` of the latents that `fill` writes `(count x width)`.
    pub(super) fn embed<'a>(
        &self,
        device: &dyn Device,
        room: &'a Room,
        count: usize,
        mode: Mode,
        fill: &mut dyn FnMut(&mut [f32]),
    ) -> Slice<'a> {
        let shape = self.adapter.shape();
        let latents = room.latents.part(0, count * shape.width);
        device.fill(latents, fill);
        let rows = Rows { first: 0, count };
        let adapted = self.adapter.forward(device, rows, mode, latents, (&room.activations, &room.scratch));
        let embeddings = room.embeddings.part(0, count * shape.shared);
        self.normalize(device, count, adapted, [embeddings, room.inverse.part(0, count)]);
        embeddings
    }
}
