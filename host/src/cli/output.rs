//! Files that a command writes, which must not be those that it reads.

use std::path::Path;

use super::exit::Invalid;

/// An error if `out` is one of `inputs`, or lies in a run.
pub(super) fn check(option: &str, out: &Path, inputs: &[&Path]) -> Result<(), Invalid> {
    let shown = out.display();
    if inputs.iter().any(|input| same_file::is_same_file(input, out).unwrap_or(false)) {
        return Err(Invalid(format!("{option} {shown} would replace what this reads; name another file")));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match out.exists() && folder.join("run.json").exists() {
        true => {
            Err(Invalid(format!("{option} {shown} would replace a file of the run {}; name another", folder.display())))
        }
        false => Ok(()),
    }
}
