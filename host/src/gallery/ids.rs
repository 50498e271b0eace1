//! A hash table from ids to rows, in 8 bytes per slot: the ids themselves stay on disk.

use std::hash::{BuildHasher, RandomState};

/// A table from ids to rows that stores only 32 bits of each id's hash; the caller compares the id of the row.
#[derive(Debug, Default)]
pub(super) struct Ids {
    hasher: RandomState,
    /// A power of two of slots, or none; a row is in the first free one from its hash's slot on.
    slots: Vec<Slot>,
    /// Slots that are not [`FREE`].
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    row: u32,
}

/// The most rows that a table can hold.
pub(super) const MOST: usize = GONE as usize;
/// A removed row: later rows may lie beyond it.
const GONE: u32 = u32::MAX - 1;
/// A slot that never held a row.
const FREE: u32 = u32::MAX;

impl Ids {
    /// The row of an id; `is` is true for a row that has it.
    pub(super) fn find<E>(&self, id: &str, is: impl Fn(usize) -> Result<bool, E>) -> Result<Option<usize>, E> {
        let hash = self.hash(id);
        for slot in self.from(hash).take_while(|&slot| self.slots[slot].row != FREE) {
            let Slot { hash: other, row } = self.slots[slot];
            if row != GONE && other == hash && is(row as usize)? {
                return Ok(Some(row as usize));
            }
        }
        Ok(None)
    }

    /// Inserts a row whose id has none.
    pub(super) fn insert(&mut self, id: &str, row: usize) {
        // A quarter stays free.
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let hash = self.hash(id);
        self.put(Slot { hash, row: row as u32 });
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, id: &str, row: usize) {
        let slot = self.from(self.hash(id)).find(|&slot| self.slots[slot].row == row as u32);
        self.slots[slot.expect("the row is in it")].row = GONE;
    }

    fn hash(&self, id: &str) -> u32 {
        self.hasher.hash_one(id) as u32
    }

    /// The slots in probing order.
    fn from(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len().wrapping_sub(1);
        (0..self.slots.len()).map(move |step| (hash as usize + step) & mask)
    }

    fn put(&mut self, slot: Slot) {
        let free = self.from(slot.hash).find(|&slot| self.slots[slot].row == FREE);
        self.slots[free.expect("a quarter is free")] = slot;
        self.used += 1;
    }

    /// Rebuilds the table without removed rows, with room for twice the rows.
    fn grow(&mut self) {
        let left: Vec<Slot> = self.slots.iter().copied().filter(|slot| slot.row < GONE).collect();
        let size = ((left.len() + 1) * 2).next_power_of_two().max(16);
        self.slots = vec![Slot { hash: 0, row: FREE }; size];
        self.used = 0;
        left.into_iter().for_each(|slot| self.put(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn rows_are_found_by_their_ids_alone() {
        let (mut ids, mut oracle, mut names) = (Ids::default(), HashMap::new(), Vec::new());
        for row in 0..20_000_usize {
            // Every id comes several times, and some are removed and not put back.
            let name = (row * 7919 % 5003).to_string();
            let is = |row: usize| Ok::<_, ()>(names[row] == name);
            let before = ids.find(&name, is).unwrap();
            assert_eq!(before, oracle.get(&name).copied());
            before.iter().for_each(|&row| ids.remove(&name, row));
            oracle.remove(&name);
            if row % 3 != 0 {
                ids.insert(&name, row);
                oracle.insert(name.clone(), row);
            }
            names.push(name);
        }
        assert!(ids.slots.len() < 4 * 5003 * 2);
        assert_eq!(ids.find("another", |row| Ok::<_, ()>(names[row] == "another")), Ok(None));
    }
}
