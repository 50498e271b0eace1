//! A map from names to the newest record of each, in 5 bytes per slot and about 8 to 15 bytes per name: the names
//! themselves stay on disk.

use super::CacheError;
use super::records::{self, Records};

/// A slot without a record.
const FREE: u32 = 0;

/// The newest records of a file, by their first 32 bytes, which are hashes.
#[derive(Debug)]
pub(super) struct Names {
    /// Record numbers, from 1, in a power of two of slots, some of them free.
    places: Vec<u32>,
    /// A byte of each record's name, so that only 1 in 256 other names is read in vain.
    tags: Vec<u8>,
    /// Occupied slots.
    used: usize,
    /// Records that were added.
    learnt: u64,
}

impl Names {
    /// The most records that it can distinguish.
    pub(super) const MOST: u64 = u32::MAX as u64;

    /// A map with room for `names` names.
    fn new(names: u64) -> Self {
        let places = (names.max(1 << 6) as usize * 4 / 3).next_power_of_two();
        Self { places: vec![FREE; places], tags: vec![0; places], used: 0, learnt: 0 }
    }

    /// Adds the records that are new since `names`, or all of them if there are no names yet or no room for more;
    /// `restart` is called before the latter. `counts` gets a record and the newest record before it of the same name,
    /// and is true if the new one replaces it.
    pub(super) fn learn<const N: usize>(
        names: &mut Option<Self>,
        records: &Records<N>,
        mut counts: impl FnMut(&[u8; N], Option<&[u8; N]>) -> bool,
        restart: impl FnOnce(),
    ) -> Result<(), CacheError> {
        let count = records.count()?.min(Self::MOST);
        let mut learning = match names.take() {
            Some(names) if names.has_room_for(count.saturating_sub(names.learnt)) => names,
            _ => {
                restart();
                Self::new(count + count / 8)
            }
        };
        let first = learning.learnt;
        let end = records.scan(first, count, |number, record| learning.put(records, number, record, &mut counts))?;
        learning.learnt = end;
        *names = Some(learning);
        Ok(())
    }

    /// Records that were added.
    pub(super) fn learnt(&self) -> u64 {
        self.learnt
    }

    /// The newest record with this name.
    pub(super) fn find<const N: usize>(
        &self,
        records: &Records<N>,
        name: &[u8; 32],
    ) -> Result<Option<[u8; N]>, CacheError> {
        Ok(self.place(records, name)?.1)
    }

    fn put<const N: usize>(
        &mut self,
        records: &Records<N>,
        number: u64,
        record: &[u8; N],
        counts: &mut impl FnMut(&[u8; N], Option<&[u8; N]>) -> bool,
    ) -> Result<(), CacheError> {
        let name = records::name(record);
        let (place, earlier) = self.place(records, name)?;
        if counts(record, earlier.as_ref()) {
            self.used += usize::from(self.places[place] == FREE);
            self.places[place] = number as u32 + 1;
            self.tags[place] = tag(name);
        }
        Ok(())
    }

    /// The slot of a name, and the record there.
    fn place<const N: usize>(
        &self,
        records: &Records<N>,
        name: &[u8; 32],
    ) -> Result<(usize, Option<[u8; N]>), CacheError> {
        let mask = self.places.len() - 1;
        let mut place = records::number(name, 0) as usize & mask;
        while self.places[place] != FREE {
            if self.tags[place] == tag(name)
                && let Some(record) = records.get(u64::from(self.places[place]) - 1)?
                && records::name(&record) == name
            {
                return Ok((place, Some(record)));
            }
            place = (place + 1) & mask;
        }
        Ok((place, None))
    }

    fn has_room_for(&self, names: u64) -> bool {
        (self.used as u64 + names) * 4 <= self.places.len() as u64 * 3
    }
}

/// A byte of the name that does not determine its slot.
fn tag(name: &[u8; 32]) -> u8 {
    name[31]
}
