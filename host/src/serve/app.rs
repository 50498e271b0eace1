//! What all requests share: the run, its galleries, and the queues before its encoders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

use super::error::Refusal;
use super::figures::Figures;
use super::given::Given;
use super::keys::Keys;
use super::layout::Layout;
use super::limits::Limits;
use super::metrics::Metrics;
use super::page::Page;
use super::queue::Queue;
use super::{Serving, body};
use crate::gallery::{Gallery, Writer};
use crate::session::{Error, Model};

/// What all requests share.
pub(super) struct App {
    pub(super) model: Arc<Model>,
    pub(super) name: String,
    /// In the run's order.
    pub(super) towers: Vec<OpenTower>,
    pub(super) galleries: BTreeMap<String, OpenGallery>,
    pub(super) keys: Keys,
    pub(super) limits: Limits,
    pub(super) page: Page,
    pub(super) metrics: Metrics,
    /// The run's figures, once somebody has asked for them.
    pub(super) figures: OnceLock<Figures>,
    /// The memory of bodies, in units of 1 KiB.
    pub(super) memory: Arc<Semaphore>,
}

/// A tower whose encoders are open.
pub(super) struct OpenTower {
    pub(super) name: String,
    /// None if its latents were precomputed.
    pub(super) modality: Option<String>,
    pub(super) queue: Arc<Queue>,
}

/// A gallery, as of its last commit.
pub(super) struct OpenGallery {
    pub(super) folder: PathBuf,
    gallery: RwLock<Arc<Gallery>>,
    /// Kept for a while: to open one reads all ids.
    pub(super) writer: Mutex<Option<Writer>>,
    /// The last use of the writer.
    used: Mutex<Instant>,
    /// The map of the gallery as it was then.
    layout: Mutex<Option<(Arc<Gallery>, Arc<Layout>)>>,
}

impl App {
    /// Opens the galleries and all encoders.
    pub(super) fn open(model: Model, serving: Serving) -> Result<Self, Error> {
        let names: Vec<String> = model.space().towers().map(|tower| tower.name.clone()).collect();
        let open = |name: &String| {
            let queue = Queue::new(name, serving.limits.queue, model.together(name)?);
            Ok(OpenTower { name: name.clone(), modality: model.modality(name)?, queue: Arc::new(queue) })
        };
        let towers = names.iter().map(open).collect::<Result<_, Error>>()?;
        let mut galleries = BTreeMap::new();
        for folder in serving.galleries {
            let gallery = OpenGallery::open(&folder)?;
            model.check_gallery(&*gallery.current()?)?;
            let name = folder_name(&folder);
            // Two folders of one name are told apart by a number.
            let free = (2..).map(|number| format!("{name}-{number}"));
            let name = std::iter::once(name.clone()).chain(free).find(|name| !galleries.contains_key(name));
            galleries.extend(name.map(|name| (name, gallery)));
        }
        Ok(Self {
            name: model.name(),
            towers,
            galleries,
            keys: serving.keys,
            memory: Arc::new(Semaphore::new(serving.limits.memory / body::UNIT)),
            limits: serving.limits,
            page: Page,
            metrics: Metrics::default(),
            figures: OnceLock::new(),
            model: Arc::new(model),
        })
    }

    /// The tower that takes items of a modality: the one that `model` names as RUN/TOWER, or the only one.
    pub(super) fn tower(&self, model: Option<&str>, modality: Option<&str>) -> Result<&OpenTower, Refusal> {
        let towers = || self.towers.iter().map(|tower| tower.name.as_str()).collect::<Vec<_>>().join(", ");
        let named = match model.unwrap_or_default() {
            "" => None,
            name if name == self.name => None,
            name => Some(name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name)),
        };
        let takes = |tower: &&OpenTower| match (&tower.modality, modality) {
            (Some(own), Some(wanted)) => own == wanted,
            // Precomputed latents are given as `[values]`, rows or FILE:ROW.
            (None, Some(wanted)) => wanted == "text",
            (_, None) => true,
        };
        if let Some(name) = named {
            let tower = self.towers.iter().find(|tower| tower.name == name).ok_or_else(|| {
                let (run, towers) = (&self.name, towers());
                Refusal::absent(format!("no model {name:?} here: `model` is {run}, or {run}/TOWER (towers: {towers})"))
                    .at("model")
            })?;
            return match takes(&tower) {
                true => Ok(tower),
                false => Err(Refusal::invalid(format!(
                    "tower `{name}` takes items of modality {}, not {}",
                    tower.modality.as_deref().unwrap_or("text"),
                    modality.unwrap_or_default()
                ))),
            };
        }
        let mut fit = self.towers.iter().filter(takes);
        match (fit.next(), fit.next(), modality) {
            (Some(tower), None, _) => Ok(tower),
            (None, ..) => Err(Refusal::invalid(format!(
                "no tower of this run takes items of modality {}; its towers: {}",
                modality.unwrap_or("?"),
                towers()
            ))),
            (Some(_), Some(_), Some(modality)) => Err(Refusal::invalid(format!(
                "several towers take items of modality {modality}; name one in `model`: {}/TOWER (towers: {})",
                self.name,
                towers()
            ))
            .at("model")),
            (Some(_), Some(_), None) => Err(Refusal::invalid(format!(
                "say what the item is: name a tower in `model` as {}/TOWER (towers: {}), or its modality",
                self.name,
                towers()
            ))
            .at("model")),
        }
    }

    /// The embeddings of items, in order, with all values of the space; an error names its item by `key[index]`.
    pub(super) async fn embed(
        &self,
        model: Option<&str>,
        items: Vec<Given>,
        key: &str,
    ) -> Result<Vec<Vec<f32>>, Refusal> {
        if items.is_empty() {
            return Err(Refusal::invalid(format!("`{key}` has no items")).at(key));
        }
        if items.len() > self.limits.items {
            let (count, most) = (items.len(), self.limits.items);
            return Err(Refusal::large(format!("{count} items, and a request may have {most}")).at(key));
        }
        // By tower, so that each has one call.
        let mut of_towers: BTreeMap<&str, (&OpenTower, Vec<usize>, Vec<Vec<u8>>)> = BTreeMap::new();
        let count = items.len();
        let name = |index: usize| if count == 1 { key.to_owned() } else { format!("{key}[{index}]") };
        for (index, item) in items.into_iter().enumerate() {
            item.check(&self.limits).map_err(|refusal| refusal.at(name(index)))?;
            let tower = self.tower(model, item.modality.as_deref()).map_err(|refusal| refusal.or_at(name(index)))?;
            let (_, places, bytes) =
                of_towers.entry(&tower.name).or_insert_with(|| (tower, Vec::new(), Vec::new()));
            places.push(index);
            bytes.push(item.bytes);
        }
        let mut waiting = Vec::new();
        for (tower, places, bytes) in of_towers.into_values() {
            self.metrics.items(&tower.name, bytes.len());
            waiting.push((places, tower.queue.put(bytes)?));
        }
        let mut rows = vec![Vec::new(); count];
        for (places, answer) in waiting {
            let embeddings = answer.await.map_err(|_| Refusal::ending())??;
            for (place, embedding) in places.into_iter().zip(embeddings) {
                rows[place] = embedding.map_err(|reason| Refusal::invalid(reason).at(name(place)))?;
            }
        }
        Ok(rows)
    }

    /// A gallery by its name.
    pub(super) fn gallery(&self, name: &str) -> Result<&OpenGallery, Refusal> {
        self.galleries.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.galleries.keys().map(String::as_str).collect();
            let names = if names.is_empty() { "none; start with --gallery DIR".to_owned() } else { names.join(", ") };
            Refusal::absent(format!("no gallery {name:?} here (galleries: {names})"))
        })
    }
}

impl OpenGallery {
    fn open(folder: &Path) -> Result<Self, Error> {
        let gallery = RwLock::new(Arc::new(Gallery::open(folder)?));
        let used = Mutex::new(Instant::now());
        Ok(Self { folder: folder.to_owned(), gallery, writer: Mutex::default(), used, layout: Mutex::default() })
    }

    /// Notes that the writer was used.
    pub(super) fn used(&self) {
        *locked(&self.used) = Instant::now();
    }

    /// Drops the writer if nobody has used it for so long.
    pub(super) fn give_up(&self, idle: Duration) {
        if locked(&self.used).elapsed() >= idle
            && let Ok(mut writer) = self.writer.try_lock()
        {
            *writer = None;
        }
    }

    /// The map of a gallery of a space with so many shared values, which is made once.
    pub(super) fn layout(&self, gallery: &Arc<Gallery>, shared: usize) -> Result<Arc<Layout>, Error> {
        // Held while it is made, so that others wait for it.
        let mut known = locked(&self.layout);
        if let Some((of, layout)) = &*known
            && Arc::ptr_eq(of, gallery)
        {
            return Ok(layout.clone());
        }
        let layout = Arc::new(Layout::new(gallery, shared)?);
        *known = Some((gallery.clone(), layout.clone()));
        Ok(layout)
    }

    /// The gallery as it is now, whoever has changed it.
    pub(super) fn current(&self) -> Result<Arc<Gallery>, Error> {
        let known = self.gallery.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_current()? {
            return Ok(known);
        }
        let now = Arc::new(Gallery::open(&self.folder)?);
        *self.gallery.write().unwrap_or_else(PoisonError::into_inner) = now.clone();
        Ok(now)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folder_name(folder: &Path) -> String {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    whole.file_name().map_or_else(|| "gallery".to_owned(), |name| name.to_string_lossy().into_owned())
}
