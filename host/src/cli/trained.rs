//! A run folder at work: what `eval`, `search`, `embed` and `report` begin with.

use anyhow::{Result, bail};
use std::path::Path;

use super::session::Session;
use super::towers::Towers;
use crate::dataset::DataFile;
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
        let fusion = Fusion::load(device::open(device)?, &folder.adapters())?;
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
            let columns = entry.ends.iter().try_for_each(|end| file.rows(&end.column).map(drop));
            match columns {
                // Another set may have its columns in this file.
                Err(error) if data.is_none() || self.recipe.pairs.len() == 1 => return Err(error.into()),
                Err(_) => continue,
                Ok(()) => tested.push(Tested { entry: entry.clone(), pairs: held_out(towers, entry, &file)?, file }),
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

/// The items of a pair set in `file`.
pub(super) fn held_out(towers: &Towers<'_>, entry: &PairsEntry, file: &DataFile) -> Result<HeldOut> {
    let ends = &entry.ends;
    let sides =
        [towers.side(ends[0].tower, file, &ends[0].column)?, towers.side(ends[1].tower, file, &ends[1].column)?];
    Ok(HeldOut::new([ends[0].tower, ends[1].tower], sides))
}
