//! `fusemix serve-plugin`: a plugin in a process of its own, for another process of this program.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit;
use crate::plugin::{SERVE_PLUGIN, serve};

/// Serves a plugin over standard input and output to a process of this `version`, and ends with it.
pub(super) fn run(version: &str) -> ExitCode {
    if version != crate::VERSION {
        note!("error: this is fusemix {}, which serves no plugins to fusemix {version}", crate::VERSION);
        return ExitCode::from(exit::FAILED);
    }
    #[cfg(unix)]
    let served = own_pipes().and_then(|(input, output)| serve(input, output));
    #[cfg(not(unix))]
    let served = serve(std::io::stdin(), std::io::stdout());
    if let Err(error) = served {
        note!("error: {SERVE_PLUGIN}: {error}");
        return ExitCode::from(exit::FAILED);
    }
    ExitCode::SUCCESS
}

/// The pipes for this program alone: what a plugin prints goes to standard error, and it has no input.
#[cfg(unix)]
fn own_pipes() -> std::io::Result<(std::fs::File, std::fs::File)> {
    use rustix::io::fcntl_dupfd_cloexec;
    let input = fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
    let output = fcntl_dupfd_cloexec(std::io::stdout(), 3)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(std::io::stderr())?;
    Ok((input.into(), output.into()))
}

/// This very program, even if its file is exchanged while it runs.
pub(super) fn program() -> Option<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() { Some(running) } else { std::env::current_exe().ok() }
}
