//! Rows looked at on all cores, near each other at any time: an archive is read once, from its start to its end.

use rayon::prelude::*;

/// The rows of a core that are looked at together.
const BLOCK: usize = 2;

/// What `of` says of each row; the rows should rise.
pub(crate) fn in_order<T: Send>(rows: &[usize], of: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut said = Vec::with_capacity(rows.len());
    for block in rows.chunks(BLOCK * rayon::current_num_threads()) {
        said.par_extend(block.par_iter().map(|&row| of(row)));
    }
    said
}
