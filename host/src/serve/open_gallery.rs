//! A gallery that is served: as of its last commit, and its changes, one after the other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::app::App;
use super::error::Refusal;
use super::galleries::Drawn;
use super::working;
use crate::file_lock::PAUSE;
use crate::gallery::{Gallery, GalleryError, GalleryInfo, Writer};
use crate::session::{Error, Model};

/// The wait before a writer that nobody uses is given up, so that other programs may write.
const IDLE: Duration = Duration::from_millis(500);
/// The longest that a writer is open with changes that come all the time; less than other programs wait.
const HOLD: Duration = Duration::from_secs(1);
/// The time that other programs then have, which ask again after each `PAUSE`.
const GAP: Duration = Duration::from_millis(5 * PAUSE.as_millis() as u64);
/// The wait for another program that writes.
const WAIT: Duration = Duration::from_secs(5);
/// The wait for the changes of others.
const TURN: Duration = Duration::from_secs(10);
/// Changes that may wait for their turn.
const WAITING: usize = 256;

/// A gallery, as of its last commit.
pub(super) struct OpenGallery {
    folder: PathBuf,
    gallery: RwLock<Arc<Gallery>>,
    /// Kept for a while: to open one reads all ids. Who changes the gallery holds the lock.
    writer: Arc<tokio::sync::Mutex<Option<OpenWriter>>>,
    /// A permit for each change that may wait, or is made.
    turns: Semaphore,
    /// The last time when another program was writing, for longer than is waited.
    in_use: Mutex<Option<Instant>>,
    /// The last use of the writer.
    used: Mutex<Instant>,
    /// Held while codes are made.
    coding: tokio::sync::Mutex<()>,
    /// The last map, held while one is made.
    pub(super) drawn: Arc<tokio::sync::Mutex<Option<Drawn>>>,
}

/// A gallery's writer, while which is open no other program writes.
struct OpenWriter {
    writer: Writer,
    /// The gallery that it was opened for.
    of: Arc<Gallery>,
    /// The time when it was opened.
    since: Instant,
}

impl OpenGallery {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            folder: folder.to_owned(),
            gallery: RwLock::new(Arc::new(Gallery::open(folder)?)),
            writer: Arc::default(),
            turns: Semaphore::new(WAITING),
            in_use: Mutex::default(),
            used: Mutex::new(Instant::now()),
            coding: tokio::sync::Mutex::default(),
            drawn: Arc::default(),
        })
    }

    /// The gallery as it could last be opened.
    pub(super) fn last(&self) -> Arc<Gallery> {
        self.gallery.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The gallery as it is now, whoever has changed it.
    pub(super) fn current(&self) -> Result<Arc<Gallery>, Error> {
        let known = self.last();
        if known.is_current()? {
            return Ok(known);
        }
        // One opens it for all that come meanwhile, so that what is found out of it once is there for all.
        let mut known = self.gallery.write().unwrap_or_else(PoisonError::into_inner);
        if !known.is_current()? {
            *known = Arc::new(Gallery::open(&self.folder)?);
        }
        Ok(known.clone())
    }

    /// The refusal of a change while another program writes, for longer than is waited.
    fn refusal_in_use(&self) -> Refusal {
        GalleryError::InUse { path: self.folder.clone() }.into()
    }

    /// Opens the writer of a gallery of a model's embeddings, once other programs have ended theirs.
    fn open_writer(&self, model: &Model) -> Result<OpenWriter, Refusal> {
        let begin = Instant::now();
        let writer = loop {
            match Writer::open(&self.folder) {
                Err(GalleryError::InUse { .. }) if begin.elapsed() < WAIT => thread::sleep(PAUSE),
                Err(GalleryError::InUse { .. }) => {
                    *locked(&self.in_use) = Some(Instant::now());
                    return Err(self.refusal_in_use());
                }
                opened => break opened?,
            }
        };
        model.check_origin(writer.info())?;
        // Nobody builds another in its place from here on but by removing it first.
        let of = self.current()?;
        match of.info() == writer.info() {
            true => Ok(OpenWriter { writer, of, since: Instant::now() }),
            false => Err(rebuilt()),
        }
    }

    /// Makes a change by the writer that is kept, or a new one, which is kept then.
    fn change<T>(
        &self,
        model: &Model,
        kept: &mut Option<OpenWriter>,
        info: Option<&GalleryInfo>,
        change: impl FnOnce(&mut Writer) -> Result<T, GalleryError>,
    ) -> Result<T, Refusal> {
        // What a failed change has left is found out by opening anew.
        let mut open = match kept.take() {
            Some(open) if open.of.is_in_place() && open.since.elapsed() < HOLD => open,
            Some(open) => {
                drop(open);
                thread::sleep(GAP);
                self.open_writer(model)?
            }
            None => self.open_writer(model)?,
        };
        if info.is_some_and(|info| info != open.writer.info()) {
            return Err(rebuilt());
        }
        let changed = change(&mut open.writer)?;
        *kept = Some(open);
        Ok(changed)
    }

    /// What is done some time after a change: the writer is given up if nobody has used it since, and many new items of
    /// a large gallery get codes.
    fn rest(&self, model: &Model) {
        if locked(&self.used).elapsed() >= IDLE
            && let Ok(mut kept) = self.writer.try_lock()
        {
            *kept = None;
        }
        if let Ok(_alone) = self.coding.try_lock()
            && let Err(error) = model.code_gallery_if_large(&self.folder)
            && !matches!(error, Error::Stopped | Error::Gallery(GalleryError::Absent { .. }))
        {
            tracing::warn!("{}: no codes were made for its new items: {error}", self.folder.display());
        }
    }
}

impl App {
    /// Changes a gallery, which must be one of this description if it is said; one change after the other, each synced
    /// to the disk.
    pub(super) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        info: Option<GalleryInfo>,
        change: impl FnOnce(&mut Writer) -> Result<T, GalleryError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let gallery = self.gallery(name)?;
        let came = Instant::now();
        let Ok(_turn) = gallery.turns.try_acquire() else {
            return Err(Refusal::busy(format!(
                "{WAITING} changes of gallery `{name}` wait already; send this again later"
            )));
        };
        // No thread waits for it, and nobody does whose client has gone.
        let Ok(mut kept) = timeout(TURN, gallery.writer.clone().lock_owned()).await else {
            return Err(Refusal::busy(format!("others change gallery `{name}`; send this again later")));
        };
        // Those before have waited for the same program.
        if locked(&gallery.in_use).is_some_and(|last| last > came) {
            return Err(gallery.refusal_in_use());
        }
        let (app, name) = (self.clone(), name.to_owned());
        working(move || {
            // However this ends, and whether or not the client is still there.
            let _use = Use { app: &app, name: &name };
            app.gallery(&name)?.change(&app.model, &mut kept, info.as_ref(), change)
        })
        .await
    }
}

/// A use of a gallery's writer, which is given up some time after its end unless it is used again.
struct Use<'a> {
    app: &'a Arc<App>,
    name: &'a str,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        let (app, name) = (self.app.clone(), self.name.to_owned());
        *locked(&app.galleries[&name].used) = Instant::now();
        Handle::current().spawn(async move {
            sleep(IDLE).await;
            let rest = move || {
                app.galleries[&name].rest(&app.model);
                Ok(())
            };
            let _ = working(rest).await;
        });
    }
}

/// The refusal of a change of a gallery that is no longer the one that the change was made for.
fn rebuilt() -> Refusal {
    Refusal::conflict(
        "another gallery was built in the place of this one meanwhile; look at /info, and send this again",
    )
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
