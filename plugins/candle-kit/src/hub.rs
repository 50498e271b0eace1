//! Models of a Hugging Face hub, through the cache that its Python client shares.

use fusemix_sdk::{Error, Host, tracing};
use hf_hub::{Cache, CacheRepo, Repo};
use serde::Deserialize;
use std::cell::{Cell, OnceCell};
use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use crate::folder::names;

mod blob;
mod client;

use blob::Blob;
use client::{Client, shown};

/// A hub and its cache on this machine.
pub(crate) struct Hub {
    pub(crate) endpoint: String,
    pub(crate) cache: PathBuf,
    pub(crate) token: Option<String>,
    pub(crate) offline: bool,
}

impl Hub {
    /// The hub by the Python client's settings: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME`, `HF_TOKEN` or the token
    /// file,
    /// `HF_HUB_OFFLINE`.
    pub(crate) fn from_env() -> Result<Self, Error> {
        let set = |key| env::var(key).ok().filter(|value: &String| !value.trim().is_empty());
        let home = set("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(set("XDG_CACHE_HOME")?).join("huggingface")))
            .or_else(|| Some(env::home_dir()?.join(".cache/huggingface")))
            .ok_or_else(|| Error::config("no home folder to keep models in; set HF_HOME to a folder"))?;
        let token_file = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = set("HF_TOKEN").or_else(|| fs::read_to_string(token_file).ok());
        let yes = |value: String| ["1", "on", "yes", "true"].contains(&value.trim().to_lowercase().as_str());
        Ok(Self {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            cache: set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: set("HF_HUB_OFFLINE").is_some_and(yes),
        })
    }

    /// Model `id` at `revision`. A branch whose commit is cached stays at that commit: all files are of one commit,
    /// and the hub is asked only for what is missing.
    pub(crate) fn snapshot(&self, id: &str, revision: &str, host: &Host) -> Result<Snapshot, Error> {
        let at = |revision: &str| Repo::with_revision(id.into(), hf_hub::RepoType::Model, revision.into());
        let cache = Cache::new(self.cache.clone());
        let named = cache.repo(at(revision));
        let label = format!("{id} (revision {revision}) of {}", shown(self.endpoint.trim_end_matches('/')));
        let client = (!self.offline).then(|| Client::new(&self.endpoint, self.token.clone(), host));

        let reference = self.cache.join(at(revision).folder_name()).join("refs").join(revision);
        let cached = match fs::read_to_string(reference) {
            Ok(commit) => Some(commit.trim().to_owned()),
            Err(_) => Some(revision.to_owned()).filter(|commit| named.pointer_path(commit).is_dir()),
        };
        let commit = match (cached, &client) {
            (Some(commit), _) => commit,
            (None, Some(client)) => {
                let commit = Listing::get(client, id, revision).map_err(|error| refused(&label, error))?.sha;
                let kept = named.create_ref(&commit);
                kept.map_err(|error| Error::config(format!("{}: {error}", self.cache.display())))?;
                commit
            }
            (None, None) => {
                let cache = self.cache.display();
                let message = format!("{label}: HF_HUB_OFFLINE is set, but none of its files are in {cache}");
                return Err(Error::config(message).key("model"));
            }
        };
        tracing::debug!("{label} is commit {commit}");
        let (id, cached) = (id.to_owned(), cache.repo(at(&commit)));
        Ok(Snapshot { id, label, commit, cached, client, listing: OnceCell::new(), host: host.clone() })
    }
}

/// One commit of a model.
pub(crate) struct Snapshot {
    id: String,
    label: String,
    commit: String,
    cached: CacheRepo,
    /// None offline.
    client: Option<Client>,
    /// The names of the commit's files, or the reason why the hub does not list them; asked at most once.
    listing: OnceCell<Result<Vec<String>, String>>,
    host: Host,
}

/// A file of a commit.
pub(crate) enum Found {
    File(PathBuf),
    /// The commit has none of that name.
    Absent,
    /// It is not cached, and it is unknown whether the commit has it.
    Untold(Error),
}

impl Snapshot {
    /// The file called `name`, from the cache or the hub. Cached files work even if the hub does not answer.
    pub(crate) fn get(&self, name: &str) -> Result<Found, Error> {
        let snapshot = self.cached.pointer_path(&self.commit);
        let path = snapshot.join(name);
        // As the Python client notes that a commit lacks a file, so that nobody asks again.
        let repository = snapshot.ancestors().nth(2).unwrap_or(&snapshot);
        let absent = repository.join(".no_exist").join(&self.commit).join(name);
        if path.exists() {
            return Ok(Found::File(path));
        }
        if absent.exists() {
            return Ok(Found::Absent);
        }
        let Some(client) = &self.client else { return Ok(Found::Untold(self.untold(name, "HF_HUB_OFFLINE is set"))) };
        match self.listing(client) {
            Ok(files) if files.iter().any(|file| file == name) => self.download(client, name).map(Found::File),
            Ok(_) => {
                // A note that cannot be written costs a question next time.
                let _ = absent.parent().map(fs::create_dir_all).map(|_| fs::write(&absent, ""));
                Ok(Found::Absent)
            }
            Err(error) => Ok(Found::Untold(self.untold(name, &format!("the hub does not answer: {error}")))),
        }
    }

    /// The id and the commit.
    pub(crate) fn identity(&self) -> (&str, &str) {
        (&self.id, &self.commit)
    }

    /// The names of the commit's files; only of cached ones, if the hub does not list them.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        match self.client.as_ref().map(|client| self.listing(client)) {
            Some(Ok(names)) => Ok(names.clone()),
            _ => names(&self.cached.pointer_path(&self.commit)),
        }
    }

    fn untold(&self, name: &str, because: &str) -> Error {
        Error::config(format!(
            "{}: {name} is not cached, and the cache does not say whether it exists ({because}); open the encoder \
             once with access to the hub, or set `model` to a folder with all of the model's files",
            self.label
        ))
        .key("model")
    }

    fn listing(&self, client: &Client) -> &Result<Vec<String>, String> {
        self.listing.get_or_init(|| {
            let Listing { siblings, .. } = Listing::get(client, &self.id, &self.commit)?;
            Ok(siblings.into_iter().map(|file| file.rfilename).collect())
        })
    }

    fn download(&self, client: &Client, name: &str) -> Result<PathBuf, Error> {
        const MB: u64 = 1_000_000;
        let last = Cell::new(0);
        let progress = |done: u64, size: Option<u64>| {
            if done / MB != last.replace(done / MB) {
                let all = size.map_or(String::new(), |size| format!(" of {}", size / MB));
                self.host.status(&format!("downloading {name}: {}{all} MB", done / MB));
            }
        };
        let path = format!("{}/resolve/{}/{}", self.id, self.commit, escaped(name));
        let blob = Blob { client, cache: &self.cached, commit: &self.commit, name, path, progress: &progress };
        let path = blob.fetch().map_err(|error| refused(&self.label, format!("{name}: {error}")));
        self.host.status("");
        path
    }
}

/// A name in a URL.
fn escaped(name: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    name.bytes().map(|byte| if safe(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// What a hub says of a model's revision.
#[derive(Deserialize)]
struct Listing {
    /// The commit.
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Listing {
    fn get(client: &Client, id: &str, revision: &str) -> Result<Self, String> {
        let text = client.text(&format!("api/models/{id}/revision/{}", revision.replace('/', "%2F")))?;
        serde_json::from_str(&text).map_err(|error| format!("its list of files is none: {error}"))
    }
}

fn refused(label: &str, error: String) -> Error {
    Error::config(format!(
        "{label}: {error}; check the id, the revision and the network, set HF_TOKEN if the model is private or gated, \
         or download its files elsewhere and set `model` to their folder"
    ))
    .key("model")
}
