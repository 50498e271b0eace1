//! The location of a model's files: a folder, next to a weights file, or a hub.

use fusemix_sdk::{Description, Error, Host, Options};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::folder::names;
use crate::hub::{Found, Hub, Snapshot};

/// A model's files, by the names that they have in its repository.
#[derive(Clone)]
pub struct Source {
    name: String,
    place: Place,
    /// The folder inside the place that names are in, with a slash behind it; mostly empty.
    inside: String,
}

#[derive(Clone)]
enum Place {
    /// `weights` when the user named one file of the folder.
    Local {
        folder: PathBuf,
        weights: Option<PathBuf>,
    },
    Hub(Rc<Snapshot>),
}

/// A model of a hub at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The hub id.
    pub model: String,
    /// The commit.
    pub revision: String,
}

impl Pinned {
    /// Adds the model to a description, if its place is known.
    pub fn describe(pinned: Option<&Self>, description: Description) -> Description {
        let Some(Self { model, revision }) = pinned else { return description };
        description.pinned("model", model).pinned("revision", revision)
    }

    /// The model of a folder in a hub's cache, `.../models--ORG--NAME/snapshots/COMMIT`.
    fn of_cached(folder: &Path) -> Option<Self> {
        let folder = folder.canonicalize().ok()?;
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let revision = name(&folder)?;
        let snapshots = folder.parent().filter(|path| path.ends_with("snapshots"))?;
        let model = name(snapshots.parent()?)?.strip_prefix("models--")?.replace("--", "/");
        let is_commit = revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_commit && is_hub_id(&model)).then_some(Self { model, revision })
    }
}

impl Source {
    /// Reads `model` and `revision`. An existing path takes precedence over a hub id; `host` is told about downloads.
    pub fn locate(options: &Options, host: &Host) -> Result<Self, Error> {
        Self::locate_with(options, host, Hub::from_env)
    }

    fn locate_with(options: &Options, host: &Host, hub: impl FnOnce() -> Result<Hub, Error>) -> Result<Self, Error> {
        let name: String = options.need("model")?;
        let revision: Option<String> = options.get("revision")?;
        let path = options.resolve(&name);
        let place = match &revision {
            Some(_) if path.exists() => {
                let message = format!("`revision` is for hub ids, but `model` is {}; remove one", path.display());
                return Err(Error::config(message).key("revision"));
            }
            None if path.is_dir() => Place::Local { folder: path, weights: None },
            None if path.is_file() => {
                let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
                Place::Local { folder, weights: Some(path) }
            }
            _ if is_hub_id(&name) => {
                let revision = revision.as_deref().unwrap_or("main");
                let missing = |error: Error| {
                    Error::config(format!("{} (there is no folder {} either)", error.message, path.display()))
                        .key("model")
                };
                Place::Hub(Rc::new(hub()?.snapshot(&name, revision, host).map_err(missing)?))
            }
            _ => {
                let message = format!(
                    "`model = \"{name}\"`: {} does not exist, and this is not a hub id (org/name)",
                    path.display()
                );
                return Err(Error::config(message).key("model"));
            }
        };
        Ok(Self { name, place, inside: String::new() })
    }

    /// The files of a folder inside the model's: `path` has slashes, and "" is the model's own folder.
    pub fn within(&self, path: &str) -> Self {
        let path = path.trim_matches('/');
        let inside = if path.is_empty() { self.inside.clone() } else { format!("{}{path}/", self.inside) };
        Self { inside, ..self.clone() }
    }

    /// The folder around a local model's, and the name of the model's in it: a part of a model is named by its whole.
    pub fn around(&self) -> Option<(Self, String)> {
        let Place::Local { folder, weights } = &self.place else { return None };
        let folder = folder.canonicalize().ok().filter(|_| self.inside.is_empty())?;
        let name = folder.file_name()?.to_str()?.to_owned();
        let place = Place::Local { folder: folder.parent()?.to_path_buf(), weights: weights.clone() };
        Some((Self { name: self.name.clone(), place, inside: String::new() }, name))
    }

    /// The model as the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `model` and `revision` that get the same files anywhere: of a hub, also if the user named the folder that
    /// its Python client keeps them in. None of other folders.
    pub fn pinned(&self) -> Option<Pinned> {
        match &self.place {
            Place::Hub(snapshot) => {
                let (model, revision) = snapshot.identity();
                Some(Pinned { model: model.to_owned(), revision: revision.to_owned() })
            }
            Place::Local { folder, weights: None } => Pinned::of_cached(folder),
            Place::Local { weights: Some(_), .. } => None,
        }
    }

    /// The file called `name`, fetched if need be.
    pub fn file(&self, name: &str) -> Result<PathBuf, Error> {
        self.optional(name)?.ok_or_else(|| {
            Error::config(format!("`model = \"{}\"`: there is no {name} in {}", self.name, self.whereabouts()))
                .key("model")
        })
    }

    /// The file called `name`, if the model has it. If a model is cached in part and its hub is out of reach, the
    /// answer may be unknown, which is an error: the file may affect the latents.
    pub fn optional(&self, name: &str) -> Result<Option<PathBuf>, Error> {
        match self.find(name)? {
            Found::File(path) => Ok(Some(path)),
            Found::Absent => Ok(None),
            Found::Untold(error) => Err(error),
        }
    }

    /// True if it is known whether the model has the file called `name`.
    pub fn knows(&self, name: &str) -> Result<bool, Error> {
        Ok(!matches!(self.find(name)?, Found::Untold(_)))
    }

    fn find(&self, name: &str) -> Result<Found, Error> {
        // Names come out of the model's own files, too.
        let whole = format!("{}{name}", self.inside);
        if !Path::new(&whole).components().all(|part| matches!(part, Component::Normal(_))) {
            let model = &self.name;
            return Err(Error::config(format!(
                "`model = \"{model}\"`: it refers to a file outside its folder: {whole}"
            ))
            .key("model"));
        }
        match &self.place {
            Place::Local { folder, .. } => {
                let path = folder.join(whole);
                Ok(if path.is_file() { Found::File(path) } else { Found::Absent })
            }
            Place::Hub(snapshot) => snapshot.get(&whole),
        }
    }

    /// The file that the user named, or the first of `names` that the model has.
    fn weights(&self, names: &[&str]) -> Result<PathBuf, Error> {
        if let Place::Local { weights: Some(file), .. } = &self.place {
            return Ok(file.clone());
        }
        let mut untold = None;
        for name in names {
            match self.find(name)? {
                Found::File(path) => return Ok(path),
                Found::Absent => {}
                Found::Untold(error) => untold = untold.or(Some(error)),
            }
        }
        let (name, names) = (&self.name, names.join(", "));
        let none = || {
            Error::config(format!("`model = \"{name}\"`: none of {names} is in {}", self.whereabouts())).key("model")
        };
        Err(untold.unwrap_or_else(none))
    }

    /// The state dict of a model without a config.json, under any name: the file that the user named, or the only one.
    pub fn state_dict(&self) -> Result<PathBuf, Error> {
        if let Place::Local { weights: Some(file), .. } = &self.place {
            return Ok(file.clone());
        }
        const ENDINGS: [&str; 4] = ["pt", "pth", "bin", "ckpt"];
        let ends = |name: &String| name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending));
        let mut names: Vec<String> = self.names()?.into_iter().filter(ends).collect();
        names.sort();
        let (model, whereabouts) = (&self.name, self.whereabouts());
        match &names[..] {
            [name] => self.file(name),
            [] => Err(Error::config(format!(
                "`model = \"{model}\"`: there is neither a config.json nor a state dict (.pt, .pth, .bin, .ckpt) in \
                 {whereabouts}"
            ))
            .key("model")),
            several => Err(Error::config(format!(
                "`model = \"{model}\"`: there is no config.json in {whereabouts}, and more than one state dict: {}; \
                 set `model` to the path of one (download it first if it is on a hub)",
                several.join(", ")
            ))
            .key("model")),
        }
    }

    /// The names of the model's files.
    fn names(&self) -> Result<Vec<String>, Error> {
        match &self.place {
            Place::Local { folder, .. } => names(folder),
            Place::Hub(snapshot) => snapshot.names(),
        }
    }

    /// The files with the weights, as [`crate::checkpoint::load`] takes them: one, or the shards that an index names.
    pub fn checkpoint(&self) -> Result<Vec<PathBuf>, Error> {
        const INDEX: &str = ".index.json";
        let file = self.weights(&[
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
        ])?;
        if !file.to_string_lossy().ends_with(INDEX) {
            return Ok(vec![file]);
        }
        let index = read_json(&file)?;
        let shards: Option<BTreeSet<&str>> =
            index["weight_map"].as_object().and_then(|map| map.values().map(Value::as_str).collect());
        let unread = || Error::config(format!("{}: `weight_map` names no files", file.display()));
        shards.ok_or_else(unread)?.into_iter().map(|shard| self.file(shard)).collect()
    }

    /// The model's preprocessing settings and the name of their file: `preprocessor_config.json`, or the `part` of
    /// `processor_config.json` that transformers 5 writes instead.
    pub fn preprocessor(&self, part: &str) -> Result<Option<(&'static str, Value)>, Error> {
        const ALONE: &str = "preprocessor_config.json";
        const TOGETHER: &str = "processor_config.json";
        if let Some(json) = self.json(ALONE)? {
            return Ok(Some((ALONE, json)));
        }
        let json = self.json(TOGETHER)?.and_then(|mut json| json.get_mut(part).map(Value::take));
        Ok(json.map(|json| (TOGETHER, json)))
    }

    /// The JSON of the file called `name`, if the model has it.
    pub fn json(&self, name: &str) -> Result<Option<Value>, Error> {
        self.optional(name)?.map(|path| read_json(&path)).transpose()
    }

    fn whereabouts(&self) -> String {
        match &self.place {
            Place::Local { folder, .. } => folder.join(self.inside.trim_end_matches('/')).display().to_string(),
            Place::Hub(snapshot) if self.inside.is_empty() => snapshot.to_string(),
            Place::Hub(snapshot) => format!("{} of {snapshot}", self.inside.trim_end_matches('/')),
        }
    }
}

fn read_json(path: &Path) -> Result<Value, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::config(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| Error::config(format!("{}: {error}", path.display())))
}

/// True if `name` has the form `org/name`.
fn is_hub_id(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('.')
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    name.split_once('/').is_some_and(|(org, model)| word(org) && word(model))
}

#[cfg(test)]
mod mirrors;
#[cfg(test)]
mod tests;
