//! Errors of run folders.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::wording::differences;

/// An error of a run folder.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RunError {
    #[error("{} is a file, and a run is a folder; {}", path.display(), match made {
        true => "name another one with --out",
        false => "name one that `fusemix train RECIPE --out RUN` has made",
    })]
    NoFolder { path: PathBuf, made: bool },
    #[error("{} is a link to a folder that is not there; make that folder, or name another one with --out",
            path.display())]
    Dangling { path: PathBuf },
    #[error("{} already holds a run; name another folder with --out, or add --overwrite", path.display())]
    Exists { path: PathBuf },
    #[error("{} already holds a run, and {} a training that was to replace it and was stopped; use --resume to \
             continue that one, --overwrite to start again, or name another folder with --out",
            path.display(), made.display())]
    ExistsTwice { path: PathBuf, made: PathBuf },
    #[error("{} holds an unfinished training; use --resume to continue it, or --overwrite to start again",
            path.display())]
    Unfinished { path: PathBuf },
    #[error("another process is training into {}; wait until it has finished, or name another folder with --out",
            path.display())]
    InUse { path: PathBuf },
    #[error("{} is in the way: the new run is made there, but it holds something else; move it away, or name another \
             folder with --out", path.display())]
    Taken { path: PathBuf },
    #[error("{} is the folder that you are in, so it cannot be replaced; run this from outside of it, or name another \
             folder with --out", path.display())]
    Current { path: PathBuf },
    #[error("the new run is finished and lies in {}, but cannot take the place of {}: {cause}; move it there, or \
             choose another folder for it", made.display(), path.display())]
    Replace { path: PathBuf, made: PathBuf, cause: io::Error },
    #[error("{} holds {name}, which no training has made and this one would replace; name a new folder with --out",
            path.display())]
    OfUser { path: PathBuf, name: &'static str },
    #[error(
        "{} is not the file that this run was trained with: its rows are others; restore it, or train again",
        file.display()
    )]
    OtherLatents { file: PathBuf },
    #[error("cannot read {}: {cause}; check the folder's permissions", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("{} is not the file that the training wrote: it was changed or damaged; restore it from a copy, or train \
             again", path.display())]
    Changed { path: PathBuf },
    #[error("{} holds a finished run; there is nothing to resume", path.display())]
    Finished { path: PathBuf },
    #[error("{} {}; create one with `fusemix train RECIPE --out {}`, and add --resume to continue an unfinished one",
            path.display(),
            match path.is_dir() {
                true => "holds no finished run: it has no run.json",
                false => "is no run: there is no such folder",
            },
            path.display())]
    NoRun { path: PathBuf },
    #[error("{} is a gallery, not a run; commands take the run first, and the gallery after it: `fusemix search RUN \
             --gallery {} --from TOWER QUERY`", path.display(), path.display())]
    Gallery { path: PathBuf },
    #[error("{} has no {name}, which the training wrote; copy it from where the run was made, or train again",
            path.display())]
    Incomplete { path: PathBuf, name: &'static str },
    #[error("cannot write {}: {cause}; check the folder's permissions and the free space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("cannot read {}: {cause}; the file was modified or truncated, so train again", path.display())]
    Corrupt { path: PathBuf, cause: serde_json::Error },
    #[error(
        "encoder `{encoder}` is not the one that this run was trained with: trained with {}; now {}; restore it in \
         plugins.toml (`fusemix plugins init --run RUN` writes what it was), or train again",
        differences(trained, present)[0],
        differences(trained, present)[1]
    )]
    OtherEncoder { encoder: String, trained: BTreeMap<String, String>, present: BTreeMap<String, String> },
}
