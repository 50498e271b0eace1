//! A gallery in the forms of other software.

use std::path::Path;

use crate::gallery::{Exporting, Filter, Gallery, Shipped, Target};
use crate::session::{Error, Event, Session};

impl Session {
    /// Exports the items of a gallery that a filter keeps. A file appears once it is complete; what a server has taken
    /// stays there if this ends early, and is not sent again.
    pub fn export_gallery(&self, gallery: &Path, filter: Option<&Filter>, target: &Target) -> Result<Shipped, Error> {
        let gallery = Gallery::open(gallery)?;
        let mut exporting = Exporting::begin(&gallery, filter, target, &self.stop)?;
        let total = exporting.total();
        let outcome = loop {
            if self.should_stop() {
                break Err(Error::Stopped);
            }
            match exporting.step() {
                Ok(Some(done)) => self.see(Event::Exporting { done, total }),
                Ok(None) => break exporting.finish().map_err(Error::from),
                Err(_) if self.should_stop() => break Err(Error::Stopped),
                Err(error) => break Err(error.into()),
            }
        };
        self.see(Event::Ended);
        outcome
    }
}
