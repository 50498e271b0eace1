//! A run folder at work: what `eval`, `search`, `embed` and `report` begin with.

use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::session::Session;
use super::towers::Towers;
use crate::dataset::{DataError, DataFile};
use crate::device::{self, DeviceChoice};
use crate::fusion::Fusion;
use crate::pairs::HeldOut;
use crate::recipe::{PairEnd, Recipe};
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

    /// The pairs to evaluate on: of the recipe's test files, or of `data`, each pair set whose columns it has, then every other
    /// two towers whose items stand side by side in one file.
    pub(super) fn held_out(&self, towers: &Towers<'_>, data: Option<&Path>) -> Result<Vec<Tested>> {
        let mut files: BTreeMap<PathBuf, (Rc<DataFile>, Vec<PairEnd>)> = BTreeMap::new();
        let mut tested: Vec<Tested> = Vec::new();
        for entry in &self.recipe.pairs {
            let Some(path) = data.or(entry.test.as_deref()) else { continue };
            if !files.contains_key(path) {
                files.insert(path.to_owned(), (Rc::new(DataFile::open(path)?), Vec::new()));
            }
            let (file, ends) = files.get_mut(path).expect("it was just put there");
            let columns = entry.ends.each_ref().map(|end| end.column.as_str());
            match file.paired_rows(columns) {
                // Another set may have its columns in this file.
                Err(DataError::Column { .. }) if data.is_some() && self.recipe.pairs.len() > 1 => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    ends.extend(entry.ends.iter().filter(|end| !ends.contains(end)).cloned().collect::<Vec<_>>());
                    tested.push(Tested::new(towers, entry.ends.clone(), file)?);
                }
            }
        }
        for (file, ends) in files.values() {
            for (at, first) in ends.iter().enumerate() {
                for second in &ends[at + 1..] {
                    let mut ends = [first.clone(), second.clone()];
                    ends.sort_by_key(|end| end.tower);
                    let known = tested.iter().any(|tested| tested.is_of(&ends, file));
                    let same = first.tower == second.tower;
                    if !same && !known && file.paired_rows(ends.each_ref().map(|end| end.column.as_str())).is_ok() {
                        tested.push(Tested::new(towers, ends, file)?);
                    }
                }
            }
        }
        match (tested.is_empty(), data) {
            (true, Some(data)) => bail!("{} has the columns of none of the recipe's [[pairs]]", data.display()),
            (true, None) => bail!("the recipe names no `test` file; say --data FILE"),
            _ => Ok(tested),
        }
    }
}

/// Two towers with held-out pairs.
pub(super) struct Tested {
    pub ends: [PairEnd; 2],
    pub file: Rc<DataFile>,
    pub pairs: HeldOut,
}

impl Tested {
    fn new(towers: &Towers<'_>, ends: [PairEnd; 2], file: &Rc<DataFile>) -> Result<Self> {
        Ok(Self { pairs: held_out(towers, &ends, file)?, ends, file: file.clone() })
    }

    fn is_of(&self, ends: &[PairEnd; 2], file: &Rc<DataFile>) -> bool {
        let towers = |ends: &[PairEnd; 2]| ends.each_ref().map(|end| end.tower);
        Rc::ptr_eq(&self.file, file) && towers(&self.ends) == towers(ends)
    }

    /// The name of the file without its folder.
    pub(super) fn file_name(&self) -> String {
        self.file.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The items of two towers in `file`.
pub(super) fn held_out(towers: &Towers<'_>, ends: &[PairEnd; 2], file: &DataFile) -> Result<HeldOut> {
    let held_out = HeldOut::new(ends.each_ref().map(|end| end.tower), towers.sides(ends, file)?);
    let path = file.path().display();
    if held_out.matches.is_empty() {
        bail!("{path}: no pair has a latent on both sides");
    }
    if held_out.dropped > 0 {
        eprintln!("{path}: {} pairs are left out: an item has no latent", held_out.dropped);
    }
    Ok(held_out)
}
