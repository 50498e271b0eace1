//! `choice.json`: what a method was chosen from and what was chosen, so that a fit that is resumed need not choose
//! again.

use serde::{Deserialize, Serialize};
use std::fs;

use super::json;
use super::options::{MethodOptions, resolved};
use super::plan::{Material, Plan};
use super::toml;
use crate::config::{Recipe, TomlFile};
use crate::fit::Setting;
use crate::fit::auto::{Budget, Choice, Trial};
use crate::run::RunFolder;
use crate::session::Error;
use crate::whole_file;

/// The content of the file.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    chosen: String,
    trials: Vec<Trial>,
    reason: String,
    pairs: usize,
    #[serde(default)]
    held_out: usize,
    #[serde(default)]
    taken: usize,
    #[serde(default)]
    available: usize,
    #[serde(default)]
    chance: f64,
    /// The seed of the choice.
    pub(super) seed: u64,
    /// The digest of all else that it depends on.
    of: String,
    /// The recipe with the chosen method.
    recipe: String,
}

/// The digest of all that a choice depends on beside its seed: pairs, encoders, and options.
pub(super) fn digest(plan: &Plan<'_>, material: &Material, budget: Budget) -> String {
    let all = json(&(&material.identity, &material.towers, plan.fixed(), plan.hubs, budget));
    blake3::hash(all.as_bytes()).to_hex()[..32].to_owned()
}

impl Kept {
    /// The choice in a folder; none if there is none.
    pub(super) fn read(folder: &RunFolder) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.choice()).ok()?).ok()
    }

    /// True if it was made from these pairs, encoders and options.
    pub(super) fn is_of(&self, digest: &str) -> bool {
        self.of == digest
    }

    /// The choice; none if the file was changed.
    pub(super) fn choice(self, folder: &RunFolder) -> Option<Choice> {
        let Self { chosen, trials, reason, pairs, held_out, taken, available, chance, recipe, .. } = self;
        let recipe = Recipe::parse(TomlFile::of(&folder.choice(), recipe)).ok()?;
        let setting = match MethodOptions::of(&recipe).ok()?.0 {
            MethodOptions::Fusemix(options) => Setting::Fusemix(options),
            MethodOptions::Set(setting) => setting,
            MethodOptions::Joint(_) | MethodOptions::Auto(_) | MethodOptions::Nothing => return None,
        };
        Some(Choice { setting, chosen, trials, reason, pairs, held_out, taken, available, chance })
    }

    /// Leaves a choice in a folder.
    pub(super) fn leave(
        choice: &Choice,
        (seed, of): (u64, String),
        plan: &Plan<'_>,
        folder: &RunFolder,
    ) -> Result<(), Error> {
        let (method, options) = resolved(&choice.setting);
        let recipe = toml(plan, method, &options);
        let Choice { chosen, trials, reason, pairs, held_out, taken, available, chance, .. } = choice.clone();
        let kept = Self { chosen, trials, reason, pairs, held_out, taken, available, chance, seed, of, recipe };
        let path = folder.choice();
        let json = serde_json::to_vec_pretty(&kept).expect("numbers and names are JSON");
        whole_file::write(&path, &json).map_err(|cause| Error::Write { path, cause })
    }
}
