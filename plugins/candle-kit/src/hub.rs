//! Models of a Hugging Face hub, through the cache that its Python client shares.

use fusemix_sdk::{Error, Host, tracing};
use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo};
use std::cell::OnceCell;
use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use crate::folder::names;

const RETRIES: usize = 3;

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
        let label = format!("{id} (revision {revision}) of {}", self.shown());
        let api = if self.offline { None } else { Some(self.api(&cache)?) };

        let reference = self.cache.join(at(revision).folder_name()).join("refs").join(revision);
        let cached = match fs::read_to_string(reference) {
            Ok(commit) => Some(commit.trim().to_owned()),
            Err(_) => Some(revision.to_owned()).filter(|commit| named.pointer_path(commit).is_dir()),
        };
        let commit = match (cached, &api) {
            (Some(commit), _) => commit,
            (None, Some(api)) => {
                let commit = api.repo(at(revision)).info().map_err(|error| refused(&label, error))?.sha;
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
        let (cached, api) = (cache.repo(at(&commit)), api.map(|api| api.repo(at(&commit))));
        Ok(Snapshot { label, commit, cached, api, listing: OnceCell::new(), host: host.clone() })
    }

    fn api(&self, cache: &Cache) -> Result<hf_hub::api::sync::Api, Error> {
        ApiBuilder::from_cache(cache.clone())
            .with_endpoint(self.endpoint.trim_end_matches('/').to_owned())
            .with_token(self.token.clone())
            .with_retries(RETRIES)
            .build()
            .map_err(|error| Error::new(format!("cannot create a client for {}: {error}", self.shown())))
    }

    /// The endpoint without a user's name and password.
    fn shown(&self) -> String {
        let (scheme, rest) = self.endpoint.split_once("://").unwrap_or(("", &self.endpoint));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = host.rsplit('@').next().unwrap_or(host);
        if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") }
    }
}

/// One commit of a model.
pub(crate) struct Snapshot {
    label: String,
    commit: String,
    cached: CacheRepo,
    /// None offline.
    api: Option<ApiRepo>,
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
        let Some(api) = &self.api else { return Ok(Found::Untold(self.untold(name, "HF_HUB_OFFLINE is set"))) };
        match self.listing.get_or_init(|| list(api)) {
            Ok(files) if files.iter().any(|file| file == name) => self.download(api, name).map(Found::File),
            Ok(_) => {
                // A note that cannot be written costs a question next time.
                let _ = absent.parent().map(fs::create_dir_all).map(|_| fs::write(&absent, ""));
                Ok(Found::Absent)
            }
            Err(error) => Ok(Found::Untold(self.untold(name, &format!("the hub does not answer: {error}")))),
        }
    }

    /// The names of the commit's files; only of cached ones, if the hub does not list them.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        match self.api.as_ref().map(|api| self.listing.get_or_init(|| list(api))) {
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

    fn download(&self, api: &ApiRepo, name: &str) -> Result<PathBuf, Error> {
        let bar = Bar { host: &self.host, name, done: 0, size: 0 };
        let path = api.download_with_progress(name, bar).map_err(|error| refused(&self.label, error));
        self.host.status("");
        path
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

fn list(api: &ApiRepo) -> Result<Vec<String>, String> {
    let info = api.info().map_err(|error| error.to_string())?;
    Ok(info.siblings.into_iter().map(|file| file.rfilename).collect())
}

fn refused(label: &str, error: ApiError) -> Error {
    Error::config(format!(
        "{label}: {error}; check the id, the revision and the network, set HF_TOKEN if the model is private or gated, \
         or download its files elsewhere and set `model` to their folder"
    ))
    .key("model")
}

/// Reports the progress of a download to the host.
struct Bar<'a> {
    host: &'a Host,
    name: &'a str,
    done: usize,
    size: usize,
}

impl Progress for Bar<'_> {
    fn init(&mut self, size: usize, _name: &str) {
        (self.done, self.size) = (0, size);
    }

    fn update(&mut self, bytes: usize) {
        const MB: usize = 1_000_000;
        let before = self.done / MB;
        self.done += bytes;
        if self.done / MB != before {
            let line = format!("downloading {}: {} of {} MB", self.name, self.done / MB, self.size / MB);
            self.host.status(&line);
        }
    }

    fn finish(&mut self) {}
}
