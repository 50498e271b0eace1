//! A TOML file of the user's, with errors that name file, line and, for an unknown key, the nearest valid one.

use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::regular;
use crate::wording::suggest;

/// An error in a configuration file, or in reading it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}; {hint}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
        /// The advice to the user.
        hint: &'static str,
    },
    /// An error at a line of the file.
    #[error("{}:{line}: {message}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The error there, and the advice to the user.
        message: String,
    },
}

/// The text of a TOML file, kept for the line numbers.
#[derive(Clone, Debug)]
pub struct TomlFile {
    path: PathBuf,
    text: String,
}

impl TomlFile {
    /// Reads `path`; `hint` is the advice if that fails.
    pub fn read(path: &Path, hint: &'static str) -> Result<Self, ConfigError> {
        let text = regular::read_text(path, regular::BY_HAND).map_err(|cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
            hint,
        })?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// The text of a file that is not on a disk; `path` is what errors call it, and its folder where relative paths
    /// start.
    pub fn of(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that relative paths in the file are relative to.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The file as a `T`. If `T` denies unknown fields, the error names the nearest valid key.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(&self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line_at(span.start));
            self.at_line(line, in_words(&with_nearest_key(error.message())))
        })
    }

    /// An error at the key that `keys` leads to (`["encoder", "minilm", "pooling"]`; an index picks from an array),
    /// or at the last key on the way that exists.
    pub fn error_at(&self, keys: &[&str], message: impl Into<String>) -> ConfigError {
        self.at_line(self.line_of(keys), message.into())
    }

    /// File and line of the key that `keys` leads to, as [`Self::error_at`] has it.
    pub fn place(&self, keys: &[&str]) -> String {
        format!("{}:{}", self.path.display(), self.line_of(keys))
    }

    fn at_line(&self, line: usize, message: String) -> ConfigError {
        ConfigError::At { path: self.path.clone(), line, message }
    }

    fn line_at(&self, byte: usize) -> usize {
        1 + self.text.as_bytes()[..byte].iter().filter(|&&b| b == b'\n').count()
    }

    fn line_of(&self, keys: &[&str]) -> usize {
        let Ok(root) = DeTable::parse(&self.text) else { return 1 };
        let mut byte = 0;
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for &key in keys {
            let table = match value {
                None => Some(root.get_ref()),
                Some(value) => value.get_ref().as_table(),
            };
            let next = match table {
                Some(table) => table.iter().find(|(name, _)| name.get_ref() == key).map(|(name, value)| {
                    byte = name.span().start;
                    value
                }),
                None => value.and_then(|array| array.get_ref().get(key.parse::<usize>().ok()?)).inspect(|element| {
                    byte = element.span().start;
                }),
            };
            let Some(next) = next else { break };
            value = Some(next);
        }
        self.line_at(byte)
    }
}

/// serde's words for types, and the words of TOML.
pub(super) fn in_words(message: &str) -> String {
    let words = [
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected f32", "expected a number"),
        ("expected a string", "expected text, in quotes"),
        ("expected a boolean", "expected true or false"),
        ("floating point `", "number `"),
        ("invalid type: ", "wrong type: "),
        ("invalid value: ", "invalid value for this key: "),
    ];
    words.iter().fold(message.to_owned(), |message, (serde, toml)| message.replace(serde, toml))
}

/// serde's "unknown field `x`, expected one of `y`, `z`" with the nearest field.
pub(super) fn with_nearest_key(message: &str) -> String {
    with_nearest_of(message, &[])
}

/// The same where the keys `beside` are valid too.
pub(super) fn with_nearest_of(message: &str, beside: &[&str]) -> String {
    let message = message.trim_end();
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(wrong) if message.starts_with("unknown field") => {
            format!("unknown key `{wrong}`{}", suggest(wrong, quoted.chain(beside.iter().copied())))
        }
        _ => message.to_owned(),
    }
}

/// The f64 with the fewest digits that reads back as this f32.
pub(super) fn shortest(number: f32) -> f64 {
    number.to_string().parse().expect("a number reads back")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Recipe {
        #[allow(dead_code, reason = "only its name matters")]
        blocks: usize,
    }

    fn file(text: &str) -> TomlFile {
        TomlFile { path: "fusion.toml".into(), text: text.into() }
    }

    #[test]
    fn an_unknown_key_names_file_line_and_nearest_key() {
        let error = file("# a comment\nblokcs = 2\n").parse::<Recipe>().unwrap_err().to_string();
        assert_eq!(error, "fusion.toml:2: unknown key `blokcs`; did you mean `blocks`? (available: blocks)");
    }

    #[test]
    fn an_error_points_at_the_key_it_is_about() {
        let file = file("[[plugin]]\nname = 'a'\n\n[[plugin]]\nname = 'b'\n[encoder.x]\nplugin = 'a'\npoling = 1\n");
        let line = |keys: &[&str]| file.line_of(keys);
        assert_eq!(line(&["encoder", "x", "poling"]), 8);
        assert_eq!(line(&["encoder", "x", "missing"]), 6);
        assert_eq!(line(&["plugin", "1", "name"]), 5);
    }
}
