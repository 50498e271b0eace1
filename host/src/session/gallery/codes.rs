//! Codes of a gallery, by which it is searched where exact search takes long.

use std::path::Path;

use crate::gallery::{CodesInfo, Gallery, GalleryError};
use crate::session::{Error, Event, Session};

/// Items from which codes are made without being asked for.
const LARGE: usize = 100_000;
/// The share of items without a code from which all are coded anew.
const SHARE: usize = 10;

impl Session {
    /// Makes the codes of a gallery anew: searches go by them from then on.
    pub fn index_gallery(&self, gallery: &Path) -> Result<CodesInfo, Error> {
        self.code(&Gallery::open(gallery)?)
    }

    fn code(&self, gallery: &Gallery) -> Result<CodesInfo, Error> {
        gallery.check_counted()?;
        self.see(Event::Coding { rows: gallery.rows_in_all() });
        let outcome = gallery.make_codes(&self.stop);
        self.see(Event::Ended);
        outcome?.ok_or(Error::Stopped)
    }

    /// Makes the codes of a large gallery that has none, or has many items without one.
    pub(super) fn code_if_large(&self, gallery: &Path) -> Result<(), Error> {
        loop {
            let gallery = Gallery::open(gallery)?;
            let coded = gallery.codes().map_or(0, |codes| codes.rows);
            if gallery.len() < LARGE || gallery.rows_in_all().saturating_sub(coded) * SHARE <= gallery.len() {
                return Ok(());
            }
            match self.code(&gallery) {
                // Another makes them now, or has built another gallery there.
                Err(Error::Gallery(GalleryError::InUse { .. } | GalleryError::Rebuilt { .. })) => return Ok(()),
                // More items may have come meanwhile.
                coded => drop(coded?),
            }
        }
    }
}
