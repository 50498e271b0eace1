//! Pairs to hold out that are trained on.

use super::plan::Plan;
use crate::config::PairEnd;
use crate::dataset::Dataset;
use crate::run::{Overlap, Seen};
use crate::session::Error;
use crate::session::towers::{Towers, row_number};
use crate::wording::short_path;

impl Plan<'_> {
    /// The part of a file's pairs that was trained on, with the first rows on both sides.
    pub(super) fn shared(
        &self,
        (seen, towers): (&Seen, &Towers<'_>),
        (ends, train): (&[PairEnd; 2], &Dataset),
        file: &Dataset,
    ) -> Result<Overlap, Error> {
        let names = self.names(ends);
        let (rows, pairs) = towers.keys(ends, file)?;
        let mut shared = seen.shared(names, &pairs);
        if let Some(at) = seen.first(names, pairs.iter()) {
            shared.row = Some(row_number(file, rows[at]));
            let ((first, second), (of_train, trained)) = (pairs[at], towers.keys(ends, train)?);
            let same = trained.iter().position(|pair| *pair == pairs[at]);
            let row = same.or_else(|| trained.iter().position(|pair| pair.0 == first || pair.1 == second));
            shared.trained = row.map(|row| (short_path(train.path()), row_number(train, of_train[row])));
        }
        Ok(shared)
    }
}
