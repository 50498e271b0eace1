//! The plan of a training: the recipe's files, requirements and pairs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::evaluate::held_out;
use super::super::towers::Towers;
use super::super::{Error, Session};
use super::near::warn_of_near;
use super::options::MethodOptions;
use crate::config::{ChosenBy, Method, PairEnd, PairsEntry, Recipe, TowerEntry, TowerSource, UnpairedEntry};
use crate::dataset::{DataError, Dataset, Source};
use crate::eval::HeldOut;
use crate::fit::fusemix::{FEWEST_PAIRS, MOST_BLOCKS, OptionError, Planned, Start, TrainError, TrainOptions, check};
use crate::fit::{ClosedForm, FitError, Hubs, PairSet, Setting};
use crate::latents::{Latents, Stacked};
use crate::pairs::{Paired, Side, digest, pair};
use crate::run::{RunError, Seen, TowerInfo};
use crate::space::AdapterKind;
use crate::wording::count;

/// A recipe with its files opened, so that errors in either show before anything is paid for.
pub(in crate::session) struct Plan<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) options: MethodOptions,
    pub(super) hubs: Hubs,
    pub(super) files: Vec<PairFiles>,
    /// Of each `[[unpaired]]`.
    unpaired: Vec<Arc<Dataset>>,
}

/// The files of a pair set, with the columns that they must have.
pub(super) struct PairFiles {
    train: Arc<Dataset>,
    /// Rows of `train` that are taken.
    pub(super) rows: usize,
    validation: Option<Arc<Dataset>>,
    test: Option<Arc<Dataset>>,
}

impl PairFiles {
    fn open(session: &Session, recipe: &Recipe, index: usize, entry: &PairsEntry) -> Result<Self, Error> {
        let open = |source: &Source, key: &str| {
            let file = session.data(source).map_err(|error| at(recipe, ["pairs", &index.to_string(), key], error))?;
            let rows = file.paired_rows(entry.ends.each_ref().map(|end| end.column.as_str()))?;
            Ok::<_, Error>((file, rows))
        };
        let (train, rows) = open(&entry.train, "train")?;
        let taken = entry.subset.as_ref().map(|subset| subset.pairs);
        let part = match entry.subset.as_ref().map(|subset| &subset.by) {
            Some(ChosenBy::Different(_)) => "diversity",
            _ => "quality",
        };
        let chosen = if let Dataset::Table(table) = &*train { table.short() } else { &[] };
        let part = taken.filter(|taken| *taken > rows).map(|taken| (part, taken, rows));
        for (key, wanted, rows) in chosen.iter().copied().chain(part) {
            let (path, has) = (entry.train.path.display(), count(rows, "row"));
            let line = format!("{path}: `{key}` asks for {wanted}, and there are {has}, which are all taken");
            session.warn_once(line);
        }
        let rows = taken.map_or(rows, |taken| rows.min(taken));
        // What tells which pairs are taken must not be missed after all are encoded.
        if let Some(ChosenBy::Run(run)) = entry.subset.as_ref().map(|subset| &subset.by) {
            let keys = ["pairs", &index.to_string(), "quality_run"];
            let (model, ends) = session.judge(run, recipe, &entry.ends).map_err(|error| match error {
                Error::Run(error @ (RunError::NoRun { .. } | RunError::NoFolder { .. } | RunError::Gallery { .. })) => {
                    recipe.file.error_at(&keys, error.to_string()).into()
                }
                error @ Error::NoTower { .. } => recipe.file.error_at(&keys, error.to_string()).into(),
                error => error,
            })?;
            ends.iter().try_for_each(|end| model.towers().encoders(end.tower).map(drop))?;
        }
        let other = |source: &Option<Source>, key| {
            Ok::<_, Error>(source.as_ref().map(|source| open(source, key)).transpose()?.map(|(file, _)| file))
        };
        let validation = other(&entry.validation, "validation")?;
        // Evaluation must not fail after hours of training for a mistake in the recipe.
        let test = other(&entry.test, "test")?;
        Ok(Self { train, rows, validation, test })
    }
}

/// An error of a file that a recipe names: one that is not there, or lacks the rows, is a mistake in the recipe's line.
fn at(recipe: &Recipe, keys: [&str; 3], error: DataError) -> Error {
    match error {
        DataError::Read { .. } => recipe.file.error_at(&keys, error.to_string()).into(),
        DataError::Choice { key, .. } => {
            let [list, index, file] = keys;
            let places: [&[&str]; 2] = [&[list, index, file, key], &[list, index, key]];
            let place = places.into_iter().find(|place| recipe.file.has(place)).unwrap_or(&keys);
            recipe.file.error_at(place, error.to_string()).into()
        }
        error => error.into(),
    }
}

/// The parts of a training.
pub(super) struct Material {
    pub(super) sets: Vec<PairSet>,
    /// Of each tower, its items without a pair, if it has some.
    pub(super) unpaired: Vec<Option<Arc<dyn Latents>>>,
    pub(super) validation: Vec<HeldOut>,
    /// Pairs that were left out.
    pub(super) dropped: usize,
    pub(super) towers: Vec<TowerInfo>,
    /// Its items and pairs by content.
    pub(super) seen: Seen,
    /// The identity of this training.
    pub(super) identity: BTreeMap<String, String>,
}

impl<'a> Plan<'a> {
    pub(in crate::session) fn new(session: &Session, recipe: &'a Recipe) -> Result<Self, Error> {
        let (options, hubs) = MethodOptions::of(recipe)?;
        let files = recipe.pairs.iter().enumerate();
        let files = files.map(|(index, entry)| PairFiles::open(session, recipe, index, entry));
        let files = files.collect::<Result<_, _>>()?;
        let unpaired = recipe.unpaired.iter().enumerate().map(|(index, UnpairedEntry { train, end })| {
            let file =
                session.data(train).map_err(|error| at(recipe, ["unpaired", &index.to_string(), "train"], error))?;
            file.rows(&end.column)?;
            Ok::<_, Error>(file)
        });
        let plan = Self { recipe, options, hubs, files, unpaired: unpaired.collect::<Result<_, _>>()? };
        plan.check_latents()?;
        Ok(plan)
    }

    /// Checks that the files of precomputed towers, those for an evaluation too, are files of latents of one width.
    fn check_latents(&self) -> Result<(), Error> {
        let mut widths: Vec<Option<usize>> = vec![None; self.recipe.towers.len()];
        let pairs = self.recipe.pairs.iter().zip(&self.files).flat_map(|(entry, files)| {
            let files = [Some(&files.train), files.validation.as_ref(), files.test.as_ref()].into_iter().flatten();
            files.flat_map(|file| entry.ends.iter().map(move |end| (file, end)))
        });
        let unpaired = self.recipe.unpaired.iter().zip(&self.unpaired).map(|(entry, file)| (file, &entry.end));
        for (file, end) in pairs.chain(unpaired) {
            let TowerEntry { name, source, .. } = &self.recipe.towers[end.tower];
            if *source != TowerSource::Precomputed {
                continue;
            }
            let (path, tower) = (file.path().to_owned(), name.clone());
            let Dataset::Precomputed(latents) = &**file else {
                return Err(DataError::Kind { path, tower, precomputed: true }.into());
            };
            let width = latents.width(&end.column)?;
            let other = *widths[end.tower].get_or_insert(width);
            if other != width {
                return Err(DataError::Width { path, tower, width, other }.into());
            }
        }
        Ok(())
    }

    /// Checks the recipe against the requirements of its method, with the most rows that there may be.
    pub(in crate::session) fn check(&self, towers: &Towers<'_>) -> Result<(), Error> {
        match &self.options {
            MethodOptions::Fusemix(options) => self.check_training(options, towers),
            MethodOptions::Nothing => self.check_one_space(towers),
            _ => self.check_closed_form(towers),
        }
    }

    /// Checks that all towers' latents are of one width, as far as encoders tell it.
    fn check_one_space(&self, towers: &Towers<'_>) -> Result<(), Error> {
        let mut known: Option<(&str, usize)> = None;
        for (at, tower) in self.recipe.towers.iter().enumerate() {
            towers.modality(at)?;
            let Some(width) = towers.described_width(at)? else { continue };
            match known {
                Some((first, other)) if other != width => {
                    let (first, second) = (first.to_owned(), tower.name.clone());
                    let error = FitError::Widths { first, second, width: other, other: width };
                    let file = &self.recipe.file;
                    return Err(file.error_at(&["tower", &tower.name, "adapter"], error.to_string()).into());
                }
                _ => known = Some((&tower.name, width)),
            }
        }
        Ok(())
    }

    fn check_closed_form(&self, towers: &Towers<'_>) -> Result<(), Error> {
        let Recipe { file, method, .. } = self.recipe;
        for (index, tower) in self.recipe.towers.iter().enumerate() {
            let key = match (tower.adapter, tower.blocks) {
                (AdapterKind::Identity, _) if *method == Method::Joint => Some("adapter"),
                (AdapterKind::Mlp, None) | (AdapterKind::Identity, _) => None,
                (AdapterKind::Mlp, Some(_)) => Some("blocks"),
                (AdapterKind::Linear | AdapterKind::Glu, _) => Some("adapter"),
            };
            if let Some(key) = key {
                let (name, method) = (&tower.name, method.name());
                let message = format!("tower `{name}`: `method = \"{method}\"` has no `{key}`; remove it");
                return Err(file.error_at(&["tower", name, key], message).into());
            }
            towers.modality(index)?;
        }
        self.warn_of_landmarks();
        for (set, (entry, files)) in self.recipe.pairs.iter().zip(&self.files).enumerate() {
            let [first, second] = entry.ends.each_ref().map(|end| self.recipe.towers[end.tower].name.clone());
            if files.rows < FEWEST_PAIRS {
                return Err(self.located(TrainError::Few { set, first, second, pairs: files.rows }));
            }
        }
        Ok(())
    }

    /// Warns about more landmarks than a tower has training rows.
    fn warn_of_landmarks(&self) {
        let MethodOptions::Set(Setting::ClosedForm(ClosedForm::KernelCca(options))) = &self.options else { return };
        let rows = |tower: usize| {
            let sets = self.recipe.pairs.iter().zip(&self.files);
            let of_tower = sets.filter(|(entry, _)| entry.ends.iter().any(|end| end.tower == tower));
            of_tower.map(|(_, files)| files.rows).sum::<usize>()
        };
        let most = (0..self.recipe.towers.len()).map(rows).max().unwrap_or(0);
        if options.landmarks > most {
            let place = self.recipe.file.place(&["fit", "landmarks"]);
            tracing::warn!(
                "{place}: `landmarks = {}` is more than the {most} training rows, and items are compared with all of \
                 these; lower it, or remove it",
                options.landmarks
            );
        }
    }

    fn check_training(&self, chosen: &TrainOptions, towers: &Towers<'_>) -> Result<(), Error> {
        let recipe = self.recipe;
        let sets = recipe.pairs.iter().zip(&self.files);
        let rows: Vec<(usize, f32)> = sets.clone().map(|(entry, files)| (files.rows, entry.weight)).collect();
        let options = chosen.resolve(&rows).map_err(|error| self.located(error.into()))?;
        let sets: Vec<_> =
            sets.map(|(entry, files)| (entry.ends.each_ref().map(|end| end.tower), files.rows)).collect();
        let unknown =
            recipe.towers.iter().map(|tower| Planned { name: &tower.name, adapter: tower.adapter, width: None });
        check(&unknown.collect::<Vec<_>>(), &sets, options.width).map_err(|error| self.located(error))?;
        if let Some((tower, blocks)) =
            recipe.towers.iter().find_map(|tower| Some((tower, tower.blocks.filter(|blocks| *blocks > MOST_BLOCKS)?)))
        {
            let message = format!("`blocks = {blocks}` of tower `{}`: must be at most {MOST_BLOCKS}", tower.name);
            return Err(recipe.file.error_at(&["tower", &tower.name, "blocks"], message).into());
        }
        if options.start != Start::Random
            && let Some(tower) = recipe.towers.iter().find(|tower| tower.adapter == AdapterKind::Identity)
        {
            let (value, name) = (format!("{:?}", options.start).to_lowercase(), &tower.name);
            let reason = format!("a closed form makes a space of its own, but tower `{name}` is one already");
            return Err(self.located(OptionError { key: "start", value, reason }.into()));
        }
        if options.patience > 0 && recipe.pairs.iter().all(|entry| entry.validation.is_none()) {
            let (value, reason) =
                (options.patience.to_string(), "it needs `validation` pairs, but no [[pairs]] has any".to_owned());
            return Err(self.located(OptionError { key: "patience", value, reason }.into()));
        }
        if self.unpaired.is_empty()
            && let Some((key, value)) = [
                ("unpaired", chosen.unpaired.map(|weight| weight.to_string())),
                ("unpaired_batch", chosen.unpaired_batch.map(|batch| batch.to_string())),
            ]
            .into_iter()
            .find_map(|(key, value)| Some((key, value?)))
        {
            let reason = "it is about items without a pair, but the recipe has no [[unpaired]]".to_owned();
            return Err(self.located(OptionError { key, value, reason }.into()));
        }
        if let Some(batch) = chosen.batch.filter(|&batch| batch > options.batch) {
            let instead = options.batch;
            let warning = format!("`batch = {batch}` draws more pairs than there are; using {instead} instead");
            towers.session().warn_once(warning);
        }
        let mut planned = Vec::new();
        for (index, tower) in recipe.towers.iter().enumerate() {
            towers.modality(index)?;
            let width = towers.described_width(index)?;
            planned.push(Planned { name: &tower.name, adapter: tower.adapter, width });
        }
        check(&planned, &sets, options.width).map_err(|error| self.located(error))
    }

    /// The towers' entries in a run folder, without their items where encoders tell the width of their latents.
    pub(super) fn infos(&self, towers: &Towers<'_>) -> Result<Vec<TowerInfo>, Error> {
        let info = |tower: usize| {
            if !towers.take_described(tower)? {
                let of = |entry: &'a PairsEntry| entry.ends.iter().find(|end| end.tower == tower);
                let first =
                    self.recipe.pairs.iter().zip(&self.files).find_map(|(entry, files)| Some((of(entry)?, files)));
                let (end, files) = first.expect("each tower is in a pair set");
                towers.side(tower, &files.train, &end.column)?;
            }
            towers.info(tower)
        };
        (0..self.recipe.towers.len()).map(info).collect()
    }

    /// Encodes missing items, and pairs them.
    pub(super) fn material(&self, towers: &Towers<'_>) -> Result<Material, Error> {
        let patience = match &self.options {
            MethodOptions::Fusemix(options) => options.patience.is_some_and(|patience| patience > 0),
            _ => false,
        };
        let (mut sets, mut validation, mut dropped) = (Vec::new(), Vec::new(), 0);
        let (mut identity, mut seen) = (BTreeMap::new(), Seen::default());
        for (number, (entry, files)) in (1..).zip(self.recipe.pairs.iter().zip(&self.files)) {
            let paired = towers.taken(entry, &files.train, towers.training_pairs(entry, &files.train)?)?;
            dropped += paired.dropped;
            let items = Some(paired.items());
            identity.insert(format!("pairs {number}"), paired.digest);
            identity.insert(format!("weight of pairs {number}"), entry.weight.to_string());
            let ends = entry.ends.each_ref().map(|end| end.tower);
            seen.add(self.names(&entry.ends), paired.keys);
            sets.push(PairSet { towers: ends, latents: paired.latents.map(Arc::from), weight: entry.weight, items });
            if let Some(file) = &files.validation {
                let pairs = held_out(towers.session(), towers, &entry.ends, file)?;
                if patience {
                    identity.insert(format!("validation of pairs {number}"), pairs.digest.clone());
                }
                validation.push(pairs);
            }
        }
        let mut unpaired: Vec<Vec<Box<dyn Latents>>> = self.recipe.towers.iter().map(|_| Vec::new()).collect();
        let wanted = self.recipe.unpaired.iter().zip(&self.unpaired).filter(|_| self.takes_unpaired());
        for (number, (UnpairedEntry { end, .. }, file)) in (1..).zip(wanted) {
            let Side { keys, latents } = towers.side(end.tower, file, &end.column)?;
            identity.insert(format!("unpaired {number}"), digest(&keys));
            seen.add_items(&self.recipe.towers[end.tower].name, keys.into_iter().flatten());
            unpaired[end.tower].push(latents);
        }
        let stacked = |parts: Vec<_>| (!parts.is_empty()).then(|| Arc::new(Stacked::new(parts)) as Arc<dyn Latents>);
        let unpaired = unpaired.into_iter().map(stacked).collect();
        for (entry, files) in self.recipe.pairs.iter().zip(&self.files) {
            let held_out: Vec<&Dataset> = files.validation.iter().chain(&files.test).map(|file| &**file).collect();
            warn_of_near(towers, &entry.ends, &files.train, &held_out)?;
            for file in held_out {
                let shared = self.shared((&seen, towers), (&entry.ends, &files.train), file)?;
                towers.session().warn_of_overlap(file.path(), &shared);
            }
        }
        let towers = (0..self.recipe.towers.len()).map(|tower| towers.info(tower)).collect::<Result<_, _>>()?;
        Ok(Material { sets, unpaired, validation, dropped, towers, seen, identity })
    }

    /// True if items without a pair take part.
    pub(in crate::session) fn takes_unpaired(&self) -> bool {
        self.options.take_unpaired()
    }

    /// Of each tower, true if its latents are the shared space as they are.
    pub(super) fn fixed(&self) -> Vec<bool> {
        self.recipe.towers.iter().map(|tower| tower.adapter == AdapterKind::Identity).collect()
    }

    pub(super) fn names(&self, ends: &[PairEnd; 2]) -> [&str; 2] {
        ends.each_ref().map(|end| self.recipe.towers[end.tower].name.as_str())
    }

    /// An error at the recipe's line that it is about.
    pub(super) fn located(&self, error: TrainError) -> Error {
        let file = &self.recipe.file;
        match &error {
            TrainError::Option(option) => file.error_at(&["train", option.key], error.to_string()).into(),
            TrainError::Identity { tower, .. } => file.error_at(&["tower", tower, "adapter"], error.to_string()).into(),
            TrainError::Few { set, .. } | TrainError::Nothing { set, .. } => {
                file.error_at(&["pairs", &set.to_string()], error.to_string()).into()
            }
            _ => error.into(),
        }
    }
}

impl Towers<'_> {
    fn training_pairs(&self, entry: &PairsEntry, file: &Dataset) -> Result<Paired, Error> {
        let paired = pair(self.sides(&entry.ends, file)?);
        let (path, kept) = (file.path(), paired.latents[0].len());
        if kept == 0 {
            return Err(Error::NoPair { path: path.to_owned(), training: true });
        }
        if paired.dropped > 0 {
            self.session().say_left_out(path, paired.dropped, kept + paired.dropped);
        }
        Ok(paired)
    }
}
