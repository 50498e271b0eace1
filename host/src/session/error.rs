//! Errors of use-cases.

use std::io;
use std::path::PathBuf;

use crate::array_file::ArrayFileError;
use crate::cache::CacheError;
use crate::config::ConfigError;
use crate::dataset::DataError;
use crate::device::DeviceError;
use crate::encode::EncodeError;
use crate::fit::FitError;
use crate::fit::fusemix::TrainError;
use crate::gallery::{ExportError, GalleryError};
use crate::plugin::{EncoderError, LoadError};
use crate::run::RunError;
use crate::space::SpaceError;

/// The reason why a use-case failed or stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Plugin(#[from] LoadError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Fit(#[from] FitError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("training failed: {0}; use `--resume` to continue from the last checkpoint")]
    Resumable(TrainError),
    #[error(
        "{}: the latents of tower `{tower}` have values of about {size:.0e}, too far from 1 to train on; multiply all \
         of the tower's latents by about {:.0e}, then train again with --overwrite",
        match cause {
            TrainError::Diverged { step, loss } => format!("the loss of step {step} is {loss}"),
            _ => "the gradients are not finite".to_owned(),
        },
        1.0 / size
    )]
    Size { tower: String, size: f64, cause: TrainError },
    #[error("gallery {}: {cause}", gallery.display())]
    Served { gallery: PathBuf, cause: Box<Self> },
    #[error(transparent)]
    Gallery(#[from] GalleryError),
    #[error("{}: its vectors have {width} values, but tower `{tower}` takes latents of {wanted}; only vectors that are \
             such latents can be mapped: embed the items anew, without --map", gallery.display())]
    MapWidth { gallery: PathBuf, width: usize, tower: String, wanted: usize },
    #[error("{}: a gallery's vectors have length 1, and tower `{tower}` was fitted on latents of other lengths; fit its run \
             with `standard = \"length\"` in [fit], or embed the items anew, without --map", gallery.display())]
    MapLength { gallery: PathBuf, tower: String },
    #[error("{}: its vectors are of tower `{tower}` of {run}, whose adapter has changed what its encoder gave; only those \
             of a tower with `adapter = \"identity\"` are latents: embed the items anew, without --map", gallery.display())]
    MapAdapted { gallery: PathBuf, tower: String, run: String },
    #[error("{} has no item that is a text, or a file here; build another gallery from its own file", gallery.display())]
    NothingToMigrate { gallery: PathBuf },
    #[error("{}: it has items such as `{item}`, but tower `{tower}` takes {}", gallery.display(), match takes_files {
        true => "files: what lies in archives or tables cannot be read from a gallery; build one anew from these",
        false => "texts; name the tower of such items",
    })]
    OtherItems { gallery: PathBuf, item: String, tower: String, takes_files: bool },
    #[error(transparent)]
    Export(ExportError),
    #[error("{}: a file of latents has no column `{column}`; its rows are identified by number", path.display())]
    NoColumn { path: PathBuf, column: String },
    #[error("the metadata column `{column}` would hide the item's own `{column}`; rename the column in the table")]
    Reserved { column: String },
    #[error("{}: row {row} has an empty id; give each row one, or name another column with --id", path.display())]
    EmptyId { path: PathBuf, row: usize },
    #[error("{}: rows {} and {} have the same id `{id}`; give each its own, or leave one out",
            path.display(), rows[0], rows[1])]
    SameId { path: PathBuf, id: String, rows: [usize; 2] },
    #[error(transparent)]
    Array(#[from] ArrayFileError),
    #[error(
        "{}: `diversity` among {rows} pairs needs {needed} of memory, and {free} are free; choose fewer, or of fewer pairs \
         with `sample`", path.display()
    )]
    Choice { path: PathBuf, rows: usize, needed: crate::bytes::Bytes, free: crate::bytes::Bytes },
    #[error("stopped; run this again")]
    Stopped,
    #[error("stopped before the fit was done; run this again to fit anew")]
    StoppedFit,
    #[error("stopped; the choice of the method is kept: add --resume to go on with it")]
    StoppedChosen,
    #[error(
        "stopped at --max-cost, by the encoder's price and its measure of the next items; everything encoded so far is \
         kept, so raise it and run this again to continue"
    )]
    Budget,
    #[error(
        "--max-cost needs a price: set the price of the encoder in [encoder.{encoder}] of plugins.toml, if its plugin \
         has a key for it"
    )]
    NoPrice { encoder: String },
    #[error("no item in column `{column}` of {} has a latent", path.display())]
    NoLatent { path: PathBuf, column: String },
    #[error("{}: {}", path.display(), match training {
        true => "no pair is left to train on: in each, an item has no latent",
        false => "no pair has a latent on both sides",
    })]
    NoPair { path: PathBuf, training: bool },
    #[error(
        "{} does not have the columns of any of the recipe's [[pairs]]; `fusemix eval` and `compare` take its own \
         names with --column TOWER=COL",
        path.display()
    )]
    OtherColumns { path: PathBuf },
    #[error(
        "{}: no column `{column}`, from which tower `{tower}` takes its items (columns: {columns}); `fusemix eval` and \
         `compare` take this file's own name with --column {tower}=COL",
        path.display()
    )]
    OtherColumn { path: PathBuf, column: String, tower: String, columns: String },
    #[error("there are no runs to compare; name at least one")]
    NoRuns,
    #[error("{} and {} are the same run, so they do not differ; name each run once", first.display(), other.display())]
    SameRuns { first: PathBuf, other: PathBuf },
    #[error("runs {} and {} cannot be compared: {reason}", first.display(), other.display())]
    OtherPairs { first: PathBuf, other: PathBuf, reason: String },
    #[error("{} has no column `{column}`, from which the run {} takes the items of tower `{tower}`; pass a file with \
             it with --data, name its columns with --column, or compare runs of the same columns", path.display(), run.display())]
    NoItems { path: PathBuf, column: String, run: PathBuf, tower: String },
    #[error("{}: no tower compares items with more than {anchors} training items in closed form, so there is nothing \
             to make smaller", run.display())]
    NothingToCompress { run: PathBuf, anchors: usize },
    #[error("{} holds an unfinished training, and this recipe has `method = \"{method}\"`: resume it with its own \
             recipe, or replace it with --overwrite", path.display())]
    OtherMethod { path: PathBuf, method: &'static str },
    #[error("{} holds a run; name another folder for the sweep with --out", path.display())]
    SweepIntoRun { path: PathBuf },
    #[error("{} is the run itself; give another folder with --out", path.display())]
    SameRun { path: PathBuf },
    #[error("{}: --folds {folds} needs at least {folds} items of each tower, and one has {items}", path.display())]
    Folds { path: PathBuf, items: usize, folds: usize },
    #[error("{} is a folder with other things in it, such as {name}, and no run; name a new folder with --out",
            path.display())]
    NoPlace { path: PathBuf, name: String },
    #[error("{labels}: a classification needs at least two classes, and it names {classes}")]
    FewClasses { labels: String, classes: usize },
    #[error("{labels}: `{class}` is there twice; each class needs a name of its own")]
    SameClass { labels: String, class: String },
    #[error(
        "{labels} has names of classes, and the tower of the classes takes files: name a table with the columns \
         `label` and `file`, or another tower with --to"
    )]
    NamedClasses { labels: String },
    #[error(
        "{}: row {row} is of class `{class}`, which {labels} does not have{others}{suggestion}; add what is missing, \
         or leave such rows out with --without-unlisted",
        path.display()
    )]
    NoClass { path: PathBuf, row: usize, class: String, suggestion: String, labels: String, others: Box<str> },
    #[error(
        "{}: no column says which class an item is of, so nothing tells which are mistaken for one another; name one \
         with --truth",
        path.display()
    )]
    NoTruth { path: PathBuf },
    #[error("nothing that stands for class `{class}` has a latent: {reason}")]
    EmptyClass { class: String, reason: String },
    #[error(
        "{}: no column of items or of captions was recognised, so nothing can be compared; name it with --column or \
         --captions",
        path.display()
    )]
    NothingToCompare { path: PathBuf },
    #[error("which tower? Name it with {option}; there are: {towers}")]
    WhichTower { option: &'static str, towers: String },
    #[error("the recipe names no `test` file; pass --data FILE")]
    NoTest,
    #[error(
        "{}: a probe needs at least {fewest} pairs of different items that can be read, and there are {pairs}{}; \
         name a larger file, or raise `limit` or `sample` in [[pairs]]",
        path.display(),
        if *unreadable > 0 { format!(", beside {unreadable} that cannot be read") } else { String::new() }
    )]
    FewProbed { path: PathBuf, pairs: usize, fewest: usize, unreadable: usize },
    #[error("the sweep names no `test` file to judge by; add one to [[pairs]], or write on = \"validation\" above it")]
    NoTestInSweep,
    #[error("the sweep is judged on validation pairs, but no [[pairs]] has `validation`; add it")]
    NoValidation,
    #[error(
        "{}, which the run names as its test file, is not there: the run comes from another machine, or the file was \
         moved; name the pairs with --data FILE",
        path.display()
    )]
    TestElsewhere { path: PathBuf },
    #[error("{}: the towers are not those of the run; the file was modified, so train again", path.display())]
    OtherTowers { path: PathBuf },
    #[error("{}: no tower is called `{tower}`{suggestion}", run.display())]
    NoTower { run: PathBuf, tower: String, suggestion: String },
    #[error("a query has {got} values, but the space has {width}; embed it with a tower of the same run")]
    QueryWidth { got: usize, width: usize },
    #[error("query {query} has no latent: {reason}")]
    Query { query: String, reason: String },
    #[error(
        "there are no samples for modality `{modality}`; give some of your own: `fusemix plugins check {encoder} \
             --data FILE --column COL`"
    )]
    NoSamples { encoder: String, modality: String },
    #[error("{}: column `{column}` has fewer than two different items that can be read; give it at least two",
            path.display())]
    FewSamples { path: PathBuf, column: String },
    #[error("cannot write {}: {cause}; check the folder and the free space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("cannot read {}: {cause}; the file was modified or truncated", path.display())]
    Read { path: PathBuf, cause: io::Error },
}

impl From<ExportError> for Error {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Gallery(error) => Self::Gallery(error),
            error => Self::Export(error),
        }
    }
}
