//! A source of rows: a file, and which rows of it are meant.

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::roots::Roots;
use super::table::HIDDEN;
use super::wanted::Wanted;
use super::{Dataset, Precomputed, Table, format, holds_latents};
use crate::filter::Filter;

/// A file of rows, and which of them are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The file, a folder of files, or several with `{000..146}` in their name.
    pub path: PathBuf,
    /// The folder that files in cells are relative to, instead of the file's own.
    pub root: Option<PathBuf>,
    /// The rows whose column `split` has this value, or one of several: `train+restval`.
    pub split: Option<String>,
    /// The rows that a [`Filter`](crate::filter::Filter) keeps.
    pub filter: Option<String>,
    /// The first so many of them.
    pub limit: Option<usize>,
    /// So many of them at random, in file order.
    pub sample: Option<usize>,
    /// The seed of `sample`.
    pub seed: u64,
    /// Columns by the names that other files have for them: (name, its name in this file).
    pub renamed: Vec<(String, String)>,
    /// So many of these, after lists of captions have become rows, with the largest numbers in a column.
    pub best: Option<(usize, String)>,
    /// Columns of captions: where one holds lists, or there are several in place of one, each caption has a row.
    pub columns: Vec<Vec<String>>,
    /// Further columns whose cells are needed, beside `columns` and those that other keys name; all if it is none.
    pub others: Option<Vec<String>>,
    /// Columns that are read however many keys the rows have.
    pub named: Vec<String>,
    /// The path that messages name once the file is read, if it is one that its user does not know.
    pub shown: Option<PathBuf>,
}

impl Source {
    /// All rows of a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// The same rows, a row for each caption in these columns; of others, if there are such, only the names are known.
    pub fn with_columns(&self, columns: Vec<Vec<String>>) -> Self {
        Self { others: (!columns.is_empty()).then(Vec::new), columns, ..self.clone() }
    }

    /// The columns that are wanted, as the file calls them.
    fn wanted(&self) -> Wanted {
        let filter = self.filter.as_ref().map(|filter| filter.parse::<Filter>());
        let filtered = match &filter {
            // It is told of where it is used.
            Some(Err(_)) => return Wanted::ALL,
            Some(Ok(filter)) => filter.columns().map(str::to_owned).collect(),
            None => Vec::new(),
        };
        let best = self.best.iter().map(|(_, column)| column.clone());
        let others = self.others.iter().flatten().chain(&self.named);
        let names = self.columns.iter().flatten().chain(others).cloned().chain(filtered).chain(best);
        let own = |name: &String| {
            self.renamed.iter().find(|(other, _)| other == name).map_or_else(|| name.clone(), |(_, own)| own.clone())
        };
        // A column that another one hides is called so, and has in the file the name that the other one got.
        let both = |name: String| name.strip_prefix(HIDDEN).map(str::to_owned).into_iter().chain([own(&name)]);
        let names = names.flat_map(both).chain(self.renamed.iter().map(|(_, own)| own.clone()));
        if self.others.is_some() { Wanted::only(names) } else { Wanted::all_and(names) }
    }

    /// The key of a recipe that chooses among the rows, if one does.
    pub(crate) fn choice(&self) -> Option<&'static str> {
        let keys = [
            ("root", self.root.is_some()),
            ("columns", !self.renamed.is_empty()),
            ("split", self.split.is_some()),
            ("where", self.filter.is_some()),
            ("limit", self.limit.is_some()),
            ("sample", self.sample.is_some()),
            ("quality_by", self.best.is_some()),
        ];
        keys.into_iter().find_map(|(key, is_set)| is_set.then_some(key))
    }

    /// The files that its rows are read from: itself, the shards that it names, or what is read of the folder.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        format::files(&self.path)
    }

    /// Reads the rows into memory, or maps a file of latents.
    pub fn open(&self) -> Result<Dataset, DataError> {
        if !holds_latents(&self.path) {
            return self.table().map(Dataset::Table);
        }
        if let Some(key) = self.choice() {
            let reason = format!("`{key}` is about tables, and this is a file of latents; remove it");
            return Err(DataError::Choice { path: self.path.clone(), key, reason });
        }
        Precomputed::open(&self.path).map(Dataset::Precomputed)
    }

    /// Reads the rows of a table into memory.
    pub fn table(&self) -> Result<Table, DataError> {
        if let Some(root) = self.root.as_ref().filter(|root| !root.is_dir()) {
            let reason = format!("there is no folder {}, which `root` names", root.display());
            return Err(DataError::Choice { path: self.path.clone(), key: "root", reason });
        }
        let mut table = format::read(&self.path, self.root.as_deref(), &self.wanted())?;
        if let Some(root) = &self.root {
            table.roots = Roots::one(root);
        }
        if let Some(shown) = &self.shown {
            table.path.clone_from(shown);
            table.is_stand_in = true;
        }
        table.rename(&self.renamed)?;
        let mut table = table.chosen(self)?;
        for columns in &self.columns {
            table = table.spread(columns)?;
        }
        // Pairs are counted: each caption of an item is one.
        match &self.best {
            Some((most, column)) => table.best(column, *most, &self.columns),
            None => Ok(table),
        }
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::new(path)
    }
}

impl From<&PathBuf> for Source {
    fn from(path: &PathBuf) -> Self {
        Self::new(path)
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::new(path)
    }
}

impl From<&Source> for Source {
    fn from(source: &Source) -> Self {
        source.clone()
    }
}
