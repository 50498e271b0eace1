//! A pair set at work: the feeds of its sides, and what its steps draw from beside its pairs.

use std::sync::Arc;

use super::draws::{Deck, Draw};
use super::feed::{Feed, Feeds};
use super::objective::Captions;
use super::resolved::Options;
use super::sizes::Size;
use super::start::Begun;
use super::targets::Items;
use super::unpaired::{Pool, Unpaired};
use crate::device::{Device, DeviceError, Slice};
use crate::fit::PairSet;
use crate::nn::Rows;

/// The set.
pub(super) struct TrainedSet {
    pub(super) towers: [usize; 2],
    pub(super) size: Size,
    pairs: PairSet,
    /// As the adapters take them.
    sides: [Arc<Feed>; 2],
    /// As the encoders gave them, where these are others, and are needed.
    latents: Option<[Arc<Feed>; 2]>,
    items: Items,
    /// The pairs of each item, where an epoch takes one of them.
    groups: Option<Vec<Vec<usize>>>,
    pools: Option<[Pool; 2]>,
}

impl TrainedSet {
    /// The set of some pairs, which adapters that go on from a closed form see as others.
    pub(super) fn new(
        feeds: &mut Feeds<'_>,
        options: &Options,
        (pairs, seen): (PairSet, Option<&PairSet>),
        size: Size,
    ) -> Result<Self, DeviceError> {
        let [x, y] = &seen.unwrap_or(&pairs).latents;
        let sides = [feeds.feed(x)?, feeds.feed(y)?];
        let latents = match seen.filter(|_| options.needs_centred()) {
            None => None,
            Some(_) => Some([feeds.feed(&pairs.latents[0])?, feeds.feed(&pairs.latents[1])?]),
        };
        let items = Items::of(options, &pairs);
        let groups = (options.captions == Captions::One).then(|| pairs.groups());
        Ok(Self { towers: pairs.towers, size, pairs, sides, latents, items, groups, pools: None })
    }

    /// Adds items without a pair, if there are some of its towers.
    pub(super) fn add_pools(
        &mut self,
        feeds: &mut Feeds<'_>,
        unpaired: &Unpaired,
        begun: Option<&Begun>,
    ) -> Result<(), DeviceError> {
        if self.size.unpaired.is_some() {
            let [first, second] = self.towers;
            let mut pool = |side: usize, tower: usize| unpaired.pool(feeds, (tower, &self.pairs.latents[side]), begun);
            self.pools = Some([pool(0, first)?, pool(1, second)?]);
        }
        Ok(())
    }

    /// Values of either side that are resident on the device.
    #[cfg(test)]
    pub(super) fn resident(&self) -> [usize; 2] {
        self.sides.each_ref().map(|side| side.resident())
    }

    /// What its draws are made from.
    pub(super) fn deck(&self) -> Deck<'_> {
        Deck { size: self.size, groups: self.groups.as_deref() }
    }

    pub(super) fn items(&self) -> &Items {
        &self.items
    }

    pub(super) fn pools(&self) -> Option<&[Pool; 2]> {
        self.pools.as_ref()
    }

    /// Starts reading the rows of a later step while the device works.
    pub(super) fn read_ahead(&self, draw: &Draw) {
        self.sides.iter().chain(self.latents.iter().flatten()).for_each(|side| side.read_ahead(draw));
        if let (Some(pools), Some(items)) = (&self.pools, &draw.unpaired) {
            pools.iter().zip(items.iter()).for_each(|(pool, items)| pool.read_ahead(items));
        }
    }

    /// Writes what the adapter takes of some rows of a draw's batch on one side.
    pub(super) fn write(&self, device: &dyn Device, draw: &Draw, side: usize, rows: Rows, out: Slice<'_>) {
        match (&self.pools, &draw.unpaired) {
            (Some(pools), Some(items)) if rows.first >= draw.rows() => {
                let first = rows.first - draw.batches()[side].first_unpaired();
                pools[side].write(device, &items[side], Rows { first, ..rows }, out);
            }
            _ => self.sides[side].write(device, (draw, side), rows, out),
        }
    }

    /// Writes the latents of some pairs of a draw's batch on one side, mixed or changed, but not as a closed form
    /// brings them on.
    pub(super) fn write_latents(&self, device: &dyn Device, draw: &Draw, side: usize, rows: Rows, out: Slice<'_>) {
        self.latents.as_ref().unwrap_or(&self.sides)[side].write(device, (draw, side), rows, out);
    }
}
