//! A finished run, opened for evaluation, search, embedding and the report.

use fusemix_sdk::Description;
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::towers::Towers;
use super::{Error, Session};
use crate::cache::Key;
use crate::config::{PairEnd, Recipe};
use crate::dataset::{DataError, Dataset, Source, together};
use crate::device::{self, DeviceChoice};
use crate::run::{RunError, RunFolder, RunInfo};
use crate::space::Space;
use crate::wording::suggest;

/// A finished run. Its encoders are opened when needed.
pub struct Model {
    pub(super) session: Session,
    pub(super) folder: RunFolder,
    pub(super) info: RunInfo,
    pub(super) recipe: Recipe,
    pub(super) space: Space,
    digest: OnceLock<String>,
    /// Items that are not judged on, because another run that is judged beside it has no latents of them.
    pub(super) passed_over: Arc<HashSet<Key>>,
    /// True if a query of a tower without an encoder may name a row of any file.
    pub(super) names_files: bool,
}

impl Session {
    /// Opens the run in `path`, to compute on `device`.
    pub fn model(&self, path: &Path, device: DeviceChoice) -> Result<Model, Error> {
        let (folder, info) = RunFolder::open(path)?;
        folder.check_whole()?;
        let recipe = Recipe::read(&folder.recipe())?;
        if let Some(written) = &info.adapters
            && *written != digest_of(&folder)?
        {
            return Err(RunError::Changed { path: folder.adapters() }.into());
        }
        let space = Space::load(device::open(device, false)?, &folder.adapters())?;
        let of_recipe = recipe.towers.iter().map(|tower| &tower.name);
        if !of_recipe.clone().eq(info.towers.iter().map(|tower| &tower.name))
            || !of_recipe.eq(space.towers().map(|tower| &tower.name))
        {
            return Err(Error::OtherTowers { path: folder.recipe() });
        }
        let digest = info.adapters.clone().map_or_else(OnceLock::new, OnceLock::from);
        let (session, passed_over) = (self.clone(), Arc::default());
        Ok(Model { session, folder, info, recipe, space, digest, passed_over, names_files: true })
    }
}

/// The digest of the file at `path`: 32 hexadecimal digits.
pub(super) fn digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(path)?;
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

fn digest_of(folder: &RunFolder) -> Result<String, Error> {
    let path = folder.adapters();
    digest(&path).map_err(|cause| Error::Read { path, cause })
}

impl Model {
    /// It without some items where it is judged.
    pub(super) fn passing_over(self, items: &Arc<HashSet<Key>>) -> Self {
        Self { passed_over: items.clone(), ..self }
    }

    /// It for queries of somebody who must not open files of this machine: one of a tower without an encoder is a list
    /// of values, or a row of the tower's own file.
    pub fn without_files(self) -> Self {
        Self { names_files: false, ..self }
    }

    /// It with other columns for the items of some towers, as a file has them that is not the recipe's: several of one
    /// tower are captions of the same item.
    pub fn with_columns(mut self, columns: &[(String, Vec<String>)]) -> Result<Self, Error> {
        for (tower, columns) in columns {
            let tower = self.tower(tower)?;
            for end in self.recipe.pairs.iter_mut().flat_map(|entry| &mut entry.ends) {
                if end.tower == tower {
                    (end.column, end.columns) = (together(columns), columns.clone());
                }
            }
        }
        Ok(self)
    }

    /// The error of a file that lacks the column of a tower's items, if it is one.
    pub(super) fn lacking(&self, source: &Source, ends: &[PairEnd; 2], error: DataError) -> Error {
        let DataError::Column { path, name, .. } = &error else { return error.into() };
        let end = ends.iter().find(|end| end.column == *name || end.columns.contains(name));
        let file = source.with_columns(Vec::new()).open();
        let (Ok(Dataset::Table(table)), Some(end)) = (file, end) else { return error.into() };
        Error::OtherColumn {
            path: path.clone(),
            column: name.clone(),
            tower: self.recipe.towers[end.tower].name.clone(),
            columns: table.names().join(", "),
        }
    }

    /// The provenance of the run.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// The recipe as resolved.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The towers and the embedding of latents.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The index of the tower called `name`.
    pub(super) fn tower(&self, name: &str) -> Result<usize, Error> {
        let towers = || self.recipe.towers.iter().map(|tower| tower.name.as_str());
        towers().position(|tower| tower == name).ok_or_else(|| Error::NoTower {
            run: self.folder.path().to_owned(),
            tower: name.to_owned(),
            suggestion: suggest(name, towers()),
        })
    }

    /// The name of a tower's modality; none if its latents were precomputed.
    pub fn modality(&self, tower: &str) -> Result<Option<String>, Error> {
        self.towers().modality(self.tower(tower)?)
    }

    /// Items that the encoders of a tower take in a call, and the calls that they take at once.
    pub fn batches(&self, tower: &str) -> Result<(usize, usize), Error> {
        let encoders = self.towers().encoders(self.tower(tower)?)?;
        let least =
            |of: fn(&Description) -> usize| encoders.iter().map(|encoder| of(&encoder.description).max(1)).min();
        let batch = least(|description| description.batch).unwrap_or(usize::MAX);
        Ok((batch, least(|description| description.concurrency).unwrap_or(1)))
    }

    /// True if an encoder of a tower has a price.
    pub fn has_price(&self) -> Result<bool, Error> {
        let towers = self.towers();
        let has =
            |tower| Ok::<_, Error>(towers.encoders(tower)?.iter().any(|encoder| encoder.description.price.is_some()));
        (0..self.recipe.towers.len()).try_fold(false, |any, tower| Ok(any || has(tower)?))
    }

    /// The name of the run: that of its folder.
    pub fn name(&self) -> String {
        let folder = std::path::absolute(self.folder.path()).unwrap_or_else(|_| self.folder.path().to_owned());
        folder.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// The identity of this space: the digest of its file.
    pub(super) fn digest(&self) -> Result<&str, Error> {
        if let Some(digest) = self.digest.get() {
            return Ok(digest);
        }
        let digest = digest_of(&self.folder)?;
        Ok(self.digest.get_or_init(|| digest))
    }

    /// Its towers, whose encoders must be those of the run.
    pub(super) fn towers(&self) -> Towers<'_> {
        Towers::new(&self.session, &self.recipe, Some(&self.info))
    }

    /// The rows of a file with a tower's items, and their column: the named one, the recipe's, or the default for the
    /// modality. Where the cells are lists of captions, each has a row. No other columns are kept but those of `others`
    /// where the items' is named.
    pub(super) fn items_beside(
        &self,
        tower: usize,
        source: &Source,
        named: Option<&str>,
        others: Option<Vec<String>>,
    ) -> Result<(Dataset, String), Error> {
        let ends = self.recipe.pairs.iter().flat_map(|pairs| &pairs.ends);
        let several = ends.filter(|end| end.tower == tower && end.columns.len() > 1 && named.is_none());
        let several = several.map(|end| end.columns.clone()).take(1).collect();
        let others = named.zip(others).map(|(named, others)| [vec![named.to_owned()], others].concat());
        let file = Source { others, ..source.with_columns(several) }.open()?;
        let column = self.column(tower, &file, named)?;
        Ok((file.spread(&column)?, column))
    }

    /// The column with a tower's items: the named one, the recipe's, or the default for the modality.
    pub(super) fn column(&self, tower: usize, file: &Dataset, named: Option<&str>) -> Result<String, Error> {
        let ends = self.recipe.pairs.iter().flat_map(|pairs| &pairs.ends).filter(|end| end.tower == tower);
        let recipes = ends.map(|end| end.column.as_str()).find(|column| file.rows(column).is_ok());
        match (named.or(recipes), file) {
            (Some(name), file) => {
                file.rows(name)?;
                Ok(name.to_owned())
            }
            (None, Dataset::Table(table)) => {
                let modality = self.towers().modality(tower)?.unwrap_or_default();
                Ok(table.usual_column(&modality)?.name().to_owned())
            }
            (None, Dataset::Precomputed(file)) => {
                let name = &self.recipe.towers[tower].name;
                file.rows(name)?;
                Ok(name.clone())
            }
        }
    }
}
