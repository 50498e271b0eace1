//! What all requests share: the run, its galleries, and the queues before its encoders.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinSet;

use super::error::Refusal;
use super::fetch::Fetcher;
use super::figures::Figures;
use super::given::Given;
use super::item_key::ItemKey;
use super::keys::Keys;
use super::limits::Limits;
use super::memory::{Memory, Share};
use super::metrics::Metrics;
use super::open_gallery::OpenGallery;
use super::origins::Origins;
use super::queue::Queue;
use super::work::Work;
use super::{Serving, weighed};
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
    pub(super) origins: Origins,
    fetcher: Fetcher,
    pub(super) metrics: Metrics,
    /// The run's figures, once somebody has asked for them; held while they are made.
    pub(super) figures: Arc<tokio::sync::Mutex<Option<Figures>>>,
    pub(super) memory: Memory,
}

/// A tower whose encoders are open.
pub(super) struct OpenTower {
    pub(super) name: String,
    /// None if its latents were precomputed.
    pub(super) modality: Option<String>,
    pub(super) queue: Arc<Queue>,
    /// Calls that its encoders take at once: as many threads take from the queue.
    pub(super) calls: usize,
}

/// The items of a request that go through one tower, with their places in the request.
type Part<'a> = (&'a OpenTower, Vec<usize>, Vec<Vec<u8>>);

/// The most threads that take from a tower's queue.
const MOST_CALLS: usize = 32;

impl App {
    /// Opens the galleries and all encoders.
    pub(super) fn open(model: Model, serving: Serving) -> Result<Self, Error> {
        let names: Vec<String> = model.space().towers().map(|tower| tower.name.clone()).collect();
        let open = |name: &String| {
            let (batch, calls) = model.batches(name)?;
            let queue = Arc::new(Queue::new(name, serving.limits.queue, batch));
            let calls = calls.clamp(1, MOST_CALLS);
            Ok(OpenTower { name: name.clone(), modality: model.modality(name)?, queue, calls })
        };
        let towers = names.iter().map(open).collect::<Result<_, Error>>()?;
        let mut galleries = BTreeMap::new();
        for folder in serving.galleries {
            let open = || {
                let gallery = OpenGallery::open(&folder)?;
                model.check_gallery(&*gallery.current()?)?;
                Ok(gallery)
            };
            let gallery = open().map_err(|cause| Error::Served { gallery: folder.clone(), cause: Box::new(cause) })?;
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
            memory: Memory::new(&serving.limits),
            fetcher: Fetcher::new(serving.hosts, serving.limits),
            origins: serving.origins,
            limits: serving.limits,
            metrics: Metrics::default(),
            figures: Arc::default(),
            // What a client names is no file of this machine.
            model: Arc::new(model.without_files()),
        })
    }

    /// The tower that takes an item: the one that is named as TOWER or RUN/TOWER, or the only one of its modality. Errors
    /// say in which key of the request it is named.
    fn tower(&self, (key, name): (&'static str, Option<&str>), item: &Given) -> Result<&OpenTower, Refusal> {
        let towers = || self.towers.iter().map(|tower| tower.name.as_str()).collect::<Vec<_>>().join(", ");
        // What stands in `model` elsewhere has a tower's name in it, and not alone.
        let form = if key == "model" { format!("{}/TOWER", self.name) } else { "TOWER".to_owned() };
        let named = match name.unwrap_or_default() {
            "" => None,
            name if name == self.name => None,
            name => Some(name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name)),
        };
        // A tower may call the modality of its items otherwise than they look.
        let modality = item.modality.as_deref().or(if named.is_some() { None } else { item.looks });
        let takes = |tower: &&OpenTower| match (&tower.modality, modality) {
            (Some(own), Some(wanted)) => own == wanted,
            // Precomputed latents are given as `[values]`, rows or FILE:ROW.
            (None, Some(wanted)) => wanted == "text",
            (_, None) => true,
        };
        if let Some(name) = named {
            let tower = self.towers.iter().find(|tower| tower.name == name).ok_or_else(|| {
                let (what, run) =
                    if key == "model" { ("model", format!("{}, or ", self.name)) } else { ("tower", String::new()) };
                Refusal::absent(format!("no {what} {name:?} here: `{key}` is {run}{form} (towers: {})", towers()))
                    .at(key)
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
                "several towers take items of modality {modality}; name one in `{key}`: {form} (towers: {})",
                towers()
            ))
            .at(key)),
            (Some(_), Some(_), None) => Err(Refusal::invalid(format!(
                "say what the item is: name a tower in `{key}` as {form} (towers: {}), or its modality",
                towers()
            ))
            .at(key)),
        }
    }

    /// The embeddings of items, in order, with all values of the space; an error names its item. The request names their
    /// tower by this key and value, and the items are in a share of the memory.
    pub(super) async fn embed(
        self: &Arc<Self>,
        named: (&'static str, Option<&str>),
        mut items: Vec<Given>,
        key: ItemKey,
        share: Arc<Share>,
    ) -> Result<Vec<Vec<f32>>, Refusal> {
        if items.is_empty() {
            return Err(Refusal::invalid(format!("`{}` has no items", key.name())).at(key.name()));
        }
        if items.len() > self.limits.items {
            let (count, most) = (items.len(), self.limits.items);
            return Err(Refusal::large(format!("{count} items, and a request may have {most}")).at(key.name()));
        }
        let count = items.len();
        let tower =
            |(index, item): (usize, &Given)| self.tower(named, item).map_err(|refusal| refusal.or_at(key.place(index)));
        // Before anything is fetched for them.
        let towers: Vec<&OpenTower> = items.iter().enumerate().map(tower).collect::<Result<_, _>>()?;
        let fetched = self.fetch(&mut items, key, share.units()).await?;
        let shares = Arc::new((share, fetched));
        // What is no text is looked into.
        let weight = items.iter().filter(|item| item.modality.as_deref() != Some("text")).map(|item| item.bytes.len());
        weighed(weight.sum(), || {
            let mut work = Work::default();
            items.iter().enumerate().try_for_each(|(index, item)| {
                let own = item.check(&self.limits).and_then(|own| work.add(own, &self.limits));
                own.map_err(|refusal| refusal.at(key.place(index)))
            })
        })?;
        // By tower, so that each has one call.
        let mut of_towers: BTreeMap<&str, Part<'_>> = BTreeMap::new();
        for (index, (item, tower)) in items.into_iter().zip(towers).enumerate() {
            let (_, places, bytes) = of_towers.entry(&tower.name).or_insert_with(|| (tower, Vec::new(), Vec::new()));
            places.push(index);
            bytes.push(item.bytes);
        }
        let mut waiting = Vec::new();
        for (tower, places, bytes) in of_towers.into_values() {
            self.metrics.items(&tower.name, bytes.len());
            waiting.push((places, tower.queue.put(bytes, Some(shares.clone()))?));
        }
        let mut rows = vec![Vec::new(); count];
        for (places, answer) in waiting {
            let embeddings = answer.await.map_err(|_| Refusal::ending())??;
            for (place, embedding) in places.into_iter().zip(embeddings) {
                rows[place] = embedding.map_err(|reason| Refusal::invalid(reason).at(key.place(place)))?;
            }
        }
        Ok(rows)
    }

    /// Fetches the items that are given by their address, several at once, each with its share of the memory; the
    /// request has so many units of it already.
    async fn fetch(
        self: &Arc<Self>,
        items: &mut [Given],
        key: ItemKey,
        mut held: usize,
    ) -> Result<Vec<Share>, Refusal> {
        let urls = items.iter().enumerate().filter_map(|(index, item)| Some((index, item.url.clone()?)));
        let mut urls: VecDeque<(usize, String)> = urls.collect();
        for (index, url) in &urls {
            self.fetcher.check(url).map_err(|refusal| refusal.at(key.place(*index)))?;
        }
        let (largest, memory) = (self.memory.units(self.limits.fetched), self.memory.most());
        let mut under_way = JoinSet::new();
        let mut shares = Vec::new();
        loop {
            // No more than fit beside what this request holds itself: it would wait for its own end.
            while under_way.len() < self.limits.fetches
                && held + (under_way.len() + 1) * largest <= memory
                && let Some((index, url)) = urls.pop_front()
            {
                let app = self.clone();
                under_way.spawn(async move { (index, app.fetched(url).await) });
            }
            let Some(done) = under_way.join_next().await else { break };
            let (index, fetched) = done.map_err(|error| Refusal::failed(format!("a file was not fetched: {error}")))?;
            let (bytes, share) = fetched.map_err(|refusal| refusal.at(key.place(index)))?;
            items[index].bytes = bytes;
            held += share.units();
            shares.push(share);
        }
        match urls.front() {
            None => Ok(shares),
            Some((index, _)) => {
                let most = self.memory.bytes();
                let message =
                    format!("the files of this request need more than the {most} of memory; send fewer items");
                Err(Refusal::large(message).at(key.place(*index)))
            }
        }
    }

    /// The file at an address that was checked, with its share of the memory.
    async fn fetched(&self, url: String) -> Result<(Vec<u8>, Share), Refusal> {
        let share = self.share(self.limits.fetched).await?;
        let (bytes, mut share) = self.fetcher.fetch(url, share).await?;
        self.shrink(&mut share, bytes.len());
        Ok((bytes, share))
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

fn folder_name(folder: &Path) -> String {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    whole.file_name().map_or_else(|| "gallery".to_owned(), |name| name.to_string_lossy().into_owned())
}
