//! The mask of a loss: pairs of a batch that share an item are no negatives of each other (see `kernels/mask.rs`).

use super::augment::Augment;
use super::draws::Draw;
use super::objective::TargetKind;
use super::resolved::Options;
use super::targets::Items;
use super::tiles::Part;
use crate::device::{Buffer, Device, Slice};
use crate::kernels::{ITEMS, Mask as MaskKernel};

/// The items of a batch of up to some pairs.
pub(super) struct Mask {
    items: Buffer,
}

/// The mask of a prepared batch.
#[derive(Clone, Copy)]
pub(super) struct Masked<'a> {
    mask: &'a Mask,
    pairs: usize,
}

impl Mask {
    /// True if a training needs one, should items repeat: other targets have places for pairs that share an item.
    pub(super) fn is_meant(options: &Options) -> bool {
        options.mask_items && options.targets == TargetKind::Pairs && options.augment != Augment::IMix
    }

    /// Values that it needs for `pairs` pairs.
    pub(super) fn values(options: &Options, pairs: usize) -> usize {
        if Self::is_meant(options) { ITEMS * pairs } else { 0 }
    }

    pub(super) fn new(device: &dyn Device, pairs: usize) -> Self {
        Self { items: device.zeros(ITEMS * pairs) }
    }

    /// Prepares the mask of a draw; none if no item of its set repeats.
    pub(super) fn prepare(&self, device: &dyn Device, draw: &Draw, items: &Items) -> Option<Masked<'_>> {
        if !items.repeat() {
            return None;
        }
        let pairs = draw.rows();
        device.fill(self.items.part(0, ITEMS * pairs), &mut |out| items.lists(draw, out));
        Some(Masked { mask: self, pairs })
    }
}

impl Masked<'_> {
    /// Masks a tile of cosines.
    pub(super) fn apply(&self, device: &dyn Device, part: Part, tile: Slice<'_>) {
        let kernel =
            MaskKernel { rows: (part.row, part.rows), columns: (part.column, part.columns), pairs: self.pairs };
        device.launch(&kernel, &[self.mask.items.part(0, ITEMS * self.pairs)], &[tile]);
    }
}
