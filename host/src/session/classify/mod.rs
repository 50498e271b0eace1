//! Classification of items into classes that nothing was trained on: each class is embedded, and an item belongs to the
//! nearest (zero-shot, as Radford et al., ICML 2021, section 3.1).

mod classes;

use rayon::prelude::*;

use super::{Error, Event};
use crate::dataset::{DataError, Dataset, Item, Source};
use crate::eval::{Accuracy, Nearest, TOP};
use crate::pairs::Side;
use crate::session::forecast::{ColumnForecast, ItemsForecast};
use crate::session::model::Model;
use crate::session::towers::row_number;
use crate::space::unit;
use crate::wording::count;

pub use classes::Templates;
use classes::{Class, Truth, classes, true_classes, truth};

/// What is to be classified, and into what.
#[derive(Clone, Debug)]
pub struct ClassifyOptions {
    /// The items.
    pub data: Source,
    /// The tower of the items; the only one that is not of texts, if not given.
    pub from: Option<String>,
    /// The column with the items, if not the usual one.
    pub column: Option<String>,
    /// The tower of the classes; the only one of texts, if not given.
    pub to: Option<String>,
    /// A list of classes, a table with items of each, or the column of `data` with each item's class.
    pub labels: String,
    /// The column of `data` with each item's class, if not the usual one.
    pub truth: Option<String>,
    /// True to leave out items of classes that `labels` does not have, and count them.
    pub leaves_out: bool,
    /// The sentences around the classes' names.
    pub templates: Templates,
    /// True if it is for nothing where the items' classes are not known.
    pub needs_truth: bool,
}

/// Classified items.
#[derive(Clone, Debug)]
pub struct Classified {
    /// The names of the classes.
    pub classes: Vec<String>,
    /// The tower of the items, and that of the classes.
    pub towers: [String; 2],
    /// The items that have a latent.
    pub items: Vec<ClassifiedItem>,
    /// Items without a latent.
    pub failed: usize,
    /// The column that their classes are from, if they are known.
    pub truth: Option<String>,
    /// Items that do not count, because they are of classes that are not among those.
    pub unlisted: usize,
    /// How well they were classified, if their classes are known.
    pub accuracy: Option<Accuracy>,
}

/// A classified item.
#[derive(Clone, Debug)]
pub struct ClassifiedItem {
    /// Its row, from 1.
    pub row: usize,
    /// Its cell.
    pub name: String,
    /// The class that it has in the data.
    pub truth: Option<usize>,
    /// What the data call its class, if that is none of the classes.
    pub unlisted: Option<String>,
    /// The nearest classes, and their scores.
    pub nearest: Nearest,
}

/// Texts of classes that are embedded together.
const TOGETHER: usize = 8192;

/// Everything that is settled before anything is encoded.
struct Setup {
    from: usize,
    to: usize,
    file: Dataset,
    column: String,
    classes: Vec<Class>,
    truth: Option<Truth>,
}

impl Model {
    /// The classes of items, and how well they fit those that the data name.
    pub fn classify(&self, options: &ClassifyOptions) -> Result<Classified, Error> {
        let Setup { from, to, file, column, classes, truth } = self.setup(options)?;
        let prototypes = self.prototypes(to, &classes)?;
        let Side { keys, latents } = self.towers().side(from, &file, &column)?;
        let mut nearest: Vec<Nearest> = Vec::with_capacity(latents.len());
        let (width, total) = (self.space.width(), latents.len());
        self.space.embed_chunks(from, &*latents, &mut |chunk| {
            nearest.par_extend(chunk.par_chunks(width).map(|embedding| {
                let query = self.space.query(embedding, to);
                crate::eval::nearest(&query, &prototypes, TOP[TOP.len() - 1])
            }));
            self.session.see(Event::Evaluating { what: "classifying", unit: "items", done: nearest.len(), total });
            if self.session.should_stop() { Err(Error::Stopped) } else { Ok(()) }
        })?;
        self.session.see(Event::Ended);
        let failed = keys.iter().filter(|key| key.is_none()).count();
        let rows = keys.iter().enumerate().filter(|(_, key)| key.is_some()).map(|(row, _)| row);
        let item = |(row, nearest): (usize, Nearest)| {
            let number = row_number(&file, row);
            let column_of_truth = truth.as_ref().map(|truth| truth.column.as_str());
            let truth = truth.as_ref().and_then(|truth| truth.of[row]);
            let other = column_of_truth.filter(|_| truth.is_none()).map(|column| file.text(column, row)).transpose()?;
            let unlisted = other.filter(|other| !other.trim().is_empty());
            Ok(ClassifiedItem { row: number, name: file.name(&column, row)?, truth, unlisted, nearest })
        };
        let items: Vec<ClassifiedItem> = rows.zip(nearest).map(item).collect::<Result<_, Error>>()?;
        let known = || items.iter().filter_map(|item| Some((&item.nearest, item.truth?)));
        let accuracy = known().next().is_some().then(|| Accuracy::of(known(), classes.len()));
        let towers = [from, to].map(|tower| self.recipe.towers[tower].name.clone());
        Ok(Classified {
            classes: classes.into_iter().map(|class| class.name).collect(),
            towers,
            items,
            failed,
            unlisted: truth.as_ref().map_or(0, |truth| truth.unlisted),
            truth: truth.map(|truth| truth.column),
            accuracy,
        })
    }

    /// What [`Model::classify`] would send: the items, and the number of the classes' texts or files with their cost.
    pub fn forecast_classification(
        &self,
        options: &ClassifyOptions,
    ) -> Result<(Vec<ColumnForecast>, ItemsForecast), Error> {
        let Setup { from, to, column, classes, .. } = self.setup(options)?;
        let of_items = self.forecast_column(&self.recipe.towers[from].name, &options.data, Some(&column))?;
        let queries: Vec<Item<'_>> = classes.iter().flat_map(|class| class.queries()).collect();
        Ok((of_items, self.forecast_items(&self.recipe.towers[to].name, &queries)?))
    }

    fn setup(&self, options: &ClassifyOptions) -> Result<Setup, Error> {
        let [from, to] = self.directed(options)?;
        let named = [Some(options.labels.as_str()), options.truth.as_deref()].into_iter().flatten();
        let beside = named.chain(classes::USUAL).map(str::to_owned).collect();
        let (file, column) = self.items_beside(from, &options.data, options.column.as_deref(), Some(beside))?;
        let Dataset::Table(table) = &file else {
            let (path, tower) = (file.path().to_owned(), self.recipe.towers[from].name.clone());
            if self.towers().modality(from)?.is_some() {
                return Err(DataError::Kind { path, tower, precomputed: false }.into());
            }
            let reason = format!(
                "the rows of tower `{tower}` are latents without items, so nothing tells their classes; classify the items \
                 of a tower with an encoder, or with `precomputed = \"FILE\"`, whose rows a table names"
            );
            return Err(DataError::Format { path, reason }.into());
        };
        let modality = self.towers().modality(to)?.unwrap_or_default();
        let holds_files = self.towers().holds_files(to)? == Some(true);
        let classes = classes(&options.labels, table, (&modality, holds_files), &options.templates)?;
        let truth = truth(table, options.truth.as_deref(), &options.labels)?;
        let truth = match truth {
            None => None,
            Some((column, is_guess)) => match true_classes(column, &classes, &options.labels, options.leaves_out) {
                Ok(truth) => Some(truth),
                // It may be about something else.
                Err(error @ Error::NoClass { .. }) if is_guess && !options.needs_truth => {
                    tracing::warn!(
                        "column `{}` is not taken for the items' classes: {error}; --truth names the column that is",
                        column.name()
                    );
                    None
                }
                Err(error) => return Err(error),
            },
        };
        // A page is of what is known of some.
        if options.needs_truth && truth.as_ref().is_none_or(|truth| truth.of.iter().all(Option::is_none)) {
            return Err(Error::NoTruth { path: file.path().to_owned() });
        }
        Ok(Setup { from, to, file, column, classes, truth })
    }

    /// The towers of the items and of the classes.
    fn directed(&self, options: &ClassifyOptions) -> Result<[usize; 2], Error> {
        let given = |name: &Option<String>| name.as_deref().map(|name| self.tower(name)).transpose();
        let (from, to) = (given(&options.from)?, given(&options.to)?);
        if let (Some(from), Some(to)) = (from, to) {
            return Ok([from, to]);
        }
        let of_text = |tower: usize| Ok::<_, Error>(self.towers().modality(tower)?.as_deref() == Some("text"));
        let mut texts = Vec::new();
        for tower in 0..self.recipe.towers.len() {
            texts.push(of_text(tower)?);
        }
        let only = |wanted: bool, but: Option<usize>| {
            let mut fit = (0..texts.len()).filter(|tower| texts[*tower] == wanted && Some(*tower) != but);
            let (first, second) = (fit.next(), fit.next());
            first.filter(|_| second.is_none())
        };
        let other = |tower: Option<usize>| tower.filter(|_| texts.len() == 2).map(|tower| 1 - tower);
        let to = to.or_else(|| only(true, from)).or_else(|| other(from));
        let from = from.or_else(|| only(false, to)).or_else(|| other(to));
        match (from, to) {
            (Some(from), Some(to)) => Ok([from, to]),
            (from, _) => Err(Error::WhichTower {
                option: if from.is_none() { "--from" } else { "--to" },
                towers: self.recipe.towers.iter().map(|tower| tower.name.as_str()).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// An embedding `(classes x width)` for each class: the mean of its items', of length 1.
    fn prototypes(&self, tower: usize, classes: &[Class]) -> Result<Vec<f32>, Error> {
        let (name, width, shared) = (&self.recipe.towers[tower].name, self.space.width(), self.space.shared());
        let queries: Vec<Item<'_>> = classes.iter().flat_map(|class| class.queries()).collect();
        let mut embeddings = Vec::with_capacity(queries.len());
        for queries in queries.chunks(TOGETHER) {
            embeddings.extend(self.embed(name, queries, true)?);
        }
        let (mut embeddings, mut failed) = (embeddings.into_iter(), Vec::new());
        let mut prototypes = vec![0.0; classes.len() * width];
        for (class, prototype) in classes.iter().zip(prototypes.chunks_exact_mut(width)) {
            let mut found = 0;
            for (item, embedding) in class.items.iter().zip(&mut embeddings) {
                match embedding {
                    Ok(embedding) => {
                        found += 1;
                        prototype.iter_mut().zip(embedding).for_each(|(sum, value)| *sum += value);
                    }
                    Err(reason) => failed.push((item.query().name(), reason)),
                }
            }
            if found == 0 {
                let reason = failed.pop().map_or_else(|| "it has no items".to_owned(), |(_, reason)| reason);
                return Err(Error::EmptyClass { class: class.name.clone(), reason });
            }
            let (direction, others) = prototype.split_at_mut(shared);
            unit(direction);
            others.iter_mut().for_each(|value| *value /= found as f32);
        }
        if let Some((item, reason)) = failed.first() {
            let failed = count(failed.len(), "item");
            tracing::warn!("{failed} of classes without a latent, the first is {item}: {reason}");
        }
        Ok(prototypes)
    }
}
