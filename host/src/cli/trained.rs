//! A run folder at work: what `eval`, `search`, `embed` and `report` begin with.

use anyhow::{Result, bail};
use std::path::Path;

use super::session::Session;
use super::towers::Towers;
use crate::dataset::{DataError, DataFile};
use crate::device::{self, DeviceChoice};
use crate::fusion::Fusion;
use crate::pairs::HeldOut;
use crate::recipe::{PairsEntry, Recipe};
use crate::run::{RunFolder, RunInfo};

/// A finished run.
pub(super) struct Trained {
    pub folder: RunFolder,
    pub info: RunInfo,
    pub recipe: Recipe,
    pub fusion: Fusion,
}

impl Trained {
    /// Opens the run in `path`; its encoders are opened when they are needed.
    pub(super) fn open(path: &Path, device: DeviceChoice) -> Result<Self> {
        let (folder, info) = RunFolder::open(path)?;
        let recipe = Recipe::read(&folder.recipe())?;
        let fusion = Fusion::load(device::open(device, false)?, &folder.adapters())?;
        let of_recipe = recipe.towers.iter().map(|tower| &tower.name);
        if !of_recipe.clone().eq(info.towers.iter().map(|tower| &tower.name))
            || !of_recipe.eq(fusion.towers().map(|tower| &tower.name))
        {
            bail!("{}: the towers are not those of the run; it was changed, so train again", folder.recipe().display());
        }
        Ok(Self { folder, info, recipe, fusion })
    }

    /// Its towers, whose encoders must be those of the run.
    pub(super) fn towers<'a>(&'a self, session: &'a Session) -> Towers<'a> {
        Towers::new(session, &self.recipe, Some(&self.info))
    }

    /// The pairs to evaluate on: the recipe's test files, or `data` for each pair set whose columns it has.
    pub(super) fn held_out(&self, towers: &Towers<'_>, data: Option<&Path>) -> Result<Vec<Tested>> {
        let mut tested = Vec::new();
        for entry in &self.recipe.pairs {
            let Some(path) = data.or(entry.test.as_deref()) else { continue };
            let file = DataFile::open(path)?;
            let columns = entry.ends.each_ref().map(|end| end.column.as_str());
            match file.paired_rows(columns) {
                // Another set may have its columns in this file.
                Err(DataError::Column { .. }) if data.is_some() && self.recipe.pairs.len() > 1 => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => tested.push(Tested { entry: entry.clone(), pairs: held_out(towers, entry, &file)?, file }),
            }
        }
        match (tested.is_empty(), data) {
            (true, Some(data)) => bail!("{} has the columns of none of the recipe's [[pairs]]", data.display()),
            (true, None) => bail!("the recipe names no `test` file; say --data FILE"),
            _ => Ok(tested),
        }
    }
}

/// A pair set with held-out pairs.
pub(super) struct Tested {
    pub entry: PairsEntry,
    pub file: DataFile,
    pub pairs: HeldOut,
}

impl Tested {
    /// The name of the file without its folder.
    pub(super) fn file_name(&self) -> String {
        self.file.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The items of a pair set in `file`.
pub(super) fn held_out(towers: &Towers<'_>, entry: &PairsEntry, file: &DataFile) -> Result<HeldOut> {
    let held_out = HeldOut::new(entry.ends.each_ref().map(|end| end.tower), towers.sides(&entry.ends, file)?);
    let path = file.path().display();
    if held_out.matches.is_empty() {
        bail!("{path}: no pair has a latent on both sides");
    }
    if held_out.dropped > 0 {
        eprintln!("{path}: {} pairs are left out: an item has no latent", held_out.dropped);
    }
    Ok(held_out)
}
