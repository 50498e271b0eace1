//! What is wrong with a run folder.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::wording::differences;

/// A fault of a run folder.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RunError {
    #[error("{} already holds a run; name another folder with --out, or add --overwrite", path.display())]
    Exists { path: PathBuf },
    #[error("{} holds an unfinished training; --resume goes on with it, --overwrite begins anew", path.display())]
    Unfinished { path: PathBuf },
    #[error("{} holds a finished run; there is nothing to resume", path.display())]
    Finished { path: PathBuf },
    #[error("{} holds no finished run ({cause}); `fusemix train RECIPE --out {}` makes one, and with --resume \
             goes on with an unfinished one", path.display(), path.display())]
    NoRun { path: PathBuf, cause: io::Error },
    #[error("cannot write {}: {cause}; check the folder's permissions and the space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("{} does not read: {cause}; it was changed or cut short, so train again", path.display())]
    Corrupt { path: PathBuf, cause: serde_json::Error },
    #[error(
        "encoder `{encoder}` is not the one that this run was trained with: trained with {}; now {}; configure that one \
         again in plugins.toml, or train anew",
        differences(trained, present)[0],
        differences(trained, present)[1]
    )]
    OtherEncoder { encoder: String, trained: BTreeMap<String, String>, present: BTreeMap<String, String> },
}
