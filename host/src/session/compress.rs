//! A smaller form of a run, and what it costs in recall.

use serde::Serialize;
use std::fs;
use std::path::Path;

use super::model::{Model, digest};
use super::{Error, Existing};
use crate::dataset::Source;
use crate::eval::{Interval, Sample};
use crate::fit::compressed;
use crate::run::RunFolder;
use crate::space::Space;

/// A run before and after it was made smaller.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compression {
    /// The mean of R@1, R@5 and R@10 over all directions, in percent.
    pub before: Interval,
    /// That of the smaller form.
    pub after: Interval,
    /// The difference, by query.
    pub apart: Interval,
    /// Bytes of the file of adapters before, and after.
    pub bytes: [u64; 2],
}

impl Model {
    /// Leaves a form of the run in `out` whose towers compare items with at most `anchors` training items, and measures
    /// it on the recipe's test files or on `data`.
    pub fn compress(
        &self,
        anchors: usize,
        out: &Path,
        existing: Existing,
        data: Option<&Path>,
    ) -> Result<Compression, Error> {
        if let (Ok(run), Ok(there)) = (fs::canonicalize(self.folder.path()), fs::canonicalize(out))
            && run == there
        {
            return Err(Error::SameRun { path: out.to_owned() });
        }
        let space = compressed(&self.space, anchors)?
            .ok_or_else(|| Error::NothingToCompress { run: self.folder.path().to_owned(), anchors })?;
        // What is wrong with the folder shows before items are paid for.
        if let Some(name) = RunFolder::foreign(out) {
            return Err(Error::NoPlace { path: out.to_owned(), name });
        }
        let folder = RunFolder::create(out, existing == Existing::Overwrite)?;
        let tested = self.held_out(data.map(Source::from).as_ref())?;
        let judged = |space: &Space| {
            let pairs = tested.iter().map(|tested| &tested.pairs);
            Sample::of(pairs, space, &self.session.stop)?.ok_or(Error::Stopped)
        };
        let (before, after) = (judged(&self.space)?, judged(&space)?);
        let copy = |from: &Path, to: &Path| {
            fs::copy(from, to).map(drop).map_err(|cause| Error::Write { path: to.to_owned(), cause })
        };
        let (from, to) = (self.folder.recipe(), folder.recipe());
        let recipe = fs::read_to_string(&from).map_err(|cause| Error::Read { path: from, cause })?;
        fs::write(&to, with_anchors(&recipe, anchors)).map_err(|cause| Error::Write { path: to, cause })?;
        if self.info.seen.is_some() {
            copy(&self.folder.seen(), &folder.seen())?;
        }
        let path = folder.adapters();
        space.save(&path)?;
        let size = |path: &Path| {
            fs::metadata(path).map(|file| file.len()).map_err(|cause| Error::Read { path: path.to_owned(), cause })
        };
        let bytes = [size(&self.folder.adapters())?, size(&path)?];
        let adapters = Some(digest(&path).map_err(|cause| Error::Read { path, cause })?);
        let info = crate::run::RunInfo { adapters, anchors: Some(anchors), ..self.info.clone() };
        folder.finish(&info)?;
        let apart = after.less(&before).interval();
        Ok(Compression { before: before.interval(), after: after.interval(), apart, bytes })
    }
}

/// The first words of the line about anchors in the recipe of a smaller run.
const SMALLER: &str = "# `fusemix compress --anchors ";

/// The recipe of a run, and the anchors that it was made smaller to: what is trained with it is the whole run.
fn with_anchors(recipe: &str, anchors: usize) -> String {
    let recipe = recipe.strip_prefix(SMALLER).and_then(|rest| rest.split_once('\n')).map_or(recipe, |(_, rest)| rest);
    format!("{SMALLER}{anchors}` made this run smaller, which training with this recipe does not.\n{recipe}")
}
