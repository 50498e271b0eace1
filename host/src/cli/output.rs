//! Files that a command writes, which must not be those that it reads.

use std::path::Path;

use super::exit::Invalid;
use crate::gallery::Gallery;

/// An error if `out` is one of `inputs`, lies in a gallery, or would replace a file of a run.
pub(super) fn check(option: &str, out: &Path, inputs: &[&Path]) -> Result<(), Invalid> {
    let shown = out.display();
    if inputs.iter().any(|input| same_file::is_same_file(input, out).unwrap_or(false)) {
        return Err(Invalid(format!("{option} {shown} would replace what this reads; name another file")));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if Gallery::is_in(folder) || Gallery::is_in(out) {
        return Err(Invalid(format!(
            "{option} {shown} lies in a gallery, whose files are its own; name another place"
        )));
    }
    match out.exists() && folder.join("run.json").exists() {
        true => {
            Err(Invalid(format!("{option} {shown} would replace a file of the run {}; name another", folder.display())))
        }
        false => Ok(()),
    }
}
