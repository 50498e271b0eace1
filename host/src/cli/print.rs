//! Printing: lines for people, in which foreign control characters do nothing, and JSON for programs.

use serde_json::Value;
use std::borrow::Cow;
use std::fmt::{Arguments, Write as _};
use std::fs::File;
use std::io::{ErrorKind, Write as _, stderr, stdout};
use std::sync::OnceLock;

use super::exit;

/// Prints a line to standard output.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::print::line(format_args!($($words)*)) };
}

/// Prints a line to standard error, if it is open.
macro_rules! note {
    ($($words:tt)*) => { $crate::cli::print::note(format_args!($($words)*)) };
}

/// Prints a line. A closed pipe, as after `head`, ends the program quietly.
pub(super) fn line(line: Arguments<'_>) {
    print(&harmless(&line.to_string()));
}

/// Prints an object.
pub(super) fn json(value: &Value) {
    print(&format!("{value:#}"));
}

/// Prints a line to standard error, which may be closed.
pub(super) fn note(line: Arguments<'_>) {
    let _ = writeln!(stderr(), "{}", harmless(&line.to_string()));
}

fn print(text: &str) {
    let line = format!("{text}\n");
    let written = match OWN.get() {
        Some(mut own) => own.write_all(line.as_bytes()),
        None => stdout().write_all(line.as_bytes()),
    };
    if let Err(error) = written {
        let quiet = error.kind() == ErrorKind::BrokenPipe;
        if !quiet {
            note!("error: cannot write to standard output: {error}");
        }
        exit::now(if quiet { 0 } else { exit::FAILED });
    }
}

/// The standard output of the program alone.
static OWN: OnceLock<File> = OnceLock::new();

/// Keeps standard output for the program alone: what plugins print goes to standard error, and into no JSON.
pub(super) fn own_output() {
    #[cfg(unix)]
    if let Ok(own) = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 3)
        && rustix::stdio::dup2_stdout(std::io::stderr()).is_ok()
    {
        let _ = OWN.set(own.into());
    }
}

/// The standard output of the program alone, for what is no line.
pub(super) fn output() -> std::io::Result<File> {
    #[cfg(unix)]
    use std::os::fd::AsFd as _;
    #[cfg(windows)]
    use std::os::windows::io::AsHandle as _;
    match OWN.get() {
        Some(own) => own.try_clone(),
        #[cfg(unix)]
        None => Ok(stdout().as_fd().try_clone_to_owned()?.into()),
        #[cfg(windows)]
        None => Ok(stdout().as_handle().try_clone_to_owned()?.into()),
    }
}

/// `text` with escapes for control characters, which could change a terminal or reverse what is read; line breaks and
/// tabs stay.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| {
        let is_direction = matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        (c.is_control() && c != '\n' && c != '\t') || is_direction
    };
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_harmful(c) {
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_do_nothing() {
        assert_eq!(harmless("a caf\u{e9}\t\u{5d0}\nb"), "a caf\u{e9}\t\u{5d0}\nb");
        assert_eq!(harmless("\u{1b}[2Ja\rb\u{9b}c\u{202e}d"), "\\u{1b}[2Ja\\u{d}b\\u{9b}c\\u{202e}d");
    }
}
