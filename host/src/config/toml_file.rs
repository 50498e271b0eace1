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

impl ConfigError {
    /// It with more at the end of its message.
    pub(super) fn with(self, more: &str) -> Self {
        match self {
            Self::At { path, line, message } => Self::At { path, line, message: message + more },
            read => read,
        }
    }
}

/// The text of a TOML file, kept for the line numbers.
#[derive(Clone, Debug)]
pub struct TomlFile {
    path: PathBuf,
    text: String,
    /// The text that this one was made of, which the user has: lines are its own.
    source: Option<String>,
    /// The keys of a table whose own keys are looked at before those of the document.
    first: Vec<String>,
}

impl TomlFile {
    /// Reads `path`; `hint` is the advice if that fails.
    pub fn read(path: &Path, hint: &'static str) -> Result<Self, ConfigError> {
        let text = regular::read_text(path, regular::BY_HAND).map_err(|cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
            hint,
        })?;
        Ok(Self { path: path.to_owned(), text, source: None, first: Vec::new() })
    }

    /// The text of a file that is not on a disk; `path` is what errors call it, and its folder where relative paths
    /// start.
    pub fn of(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text, source: None, first: Vec::new() }
    }

    /// A text that was made of a file by changing values: errors are at the lines of that file.
    pub(super) fn made_of(file: &Self, text: String) -> Self {
        let source = Some(file.source.as_ref().unwrap_or(&file.text).clone());
        Self { path: file.path.clone(), text, source, first: file.first.clone() }
    }

    /// The file where the keys of one of its tables stand for those of the document, as in a variant of a sweep.
    pub(super) fn with_first(&self, table: &[&str]) -> Self {
        Self { first: table.iter().map(|key| (*key).to_owned()).collect(), ..self.clone() }
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
            let start = error.span().map_or(0, |span| span.start);
            if error.message() == "duplicate key" {
                return self.at_line(self.line_at(start), self.twice(start));
            }
            let message = in_words(&with_nearest_key(error.message()));
            // Some messages tell of a value, and not whose it is.
            let of = self.keys_at(start).filter(|keys| !keys.iter().any(|key| message.contains(&format!("`{key}`"))));
            let message = match of.as_deref() {
                Some([table @ .., key]) if !table.is_empty() => format!("`{key}` of [{}]: {message}", table.join(".")),
                Some([key]) => format!("`{key}`: {message}"),
                _ => message,
            };
            let line = match (&self.source, self.keys_at(start)) {
                (None, _) => self.line_at(start),
                (Some(_), keys) => {
                    let keys = keys.unwrap_or_default();
                    self.line_of(&keys.iter().map(String::as_str).collect::<Vec<_>>())
                }
            };
            self.at_line(line, message)
        })
    }

    /// The words for a key that is there a second time, at a byte.
    fn twice(&self, byte: usize) -> String {
        let start = self.text[..byte].rfind('\n').map_or(0, |end| end + 1);
        let line = self.text[start..].lines().next().unwrap_or_default().trim();
        match line.starts_with('[') {
            true => format!("{line} is here a second time; make one of the two, or give one another name"),
            false => {
                let key = line.split('=').next().unwrap_or_default().trim();
                format!("`{key}` is set a second time in this table; remove one of the two")
            }
        }
    }

    /// An error if one of `names`, of which there may be several, is written as a table. `file` is what it is called.
    pub(super) fn check_lists(&self, file: &str, names: &[&str]) -> Result<(), ConfigError> {
        let document: toml::Table = self.parse()?;
        let single = names.iter().find(|name| document.get(**name).is_some_and(toml::Value::is_table));
        single.map_or(Ok(()), |name| {
            let message = format!("{file} may have several {name}: write [[{name}]], with two brackets");
            Err(self.error_at(&[name], message))
        })
    }

    /// The keys that lead to the value at a byte; none if there is none, or the file is no TOML.
    fn keys_at(&self, byte: usize) -> Option<Vec<String>> {
        /// The keys from the value on, backwards: a table's span is that of its header alone.
        fn back(table: &DeTable<'_>, byte: usize) -> Option<Vec<String>> {
            table.iter().find_map(|(key, value)| {
                let inside = || value.span().contains(&byte).then(Vec::new);
                let mut keys = match value.get_ref().as_table() {
                    _ if key.span().contains(&byte) => Vec::new(),
                    Some(table) => back(table, byte).or_else(inside)?,
                    None => inside()?,
                };
                keys.push(key.get_ref().to_string());
                Some(keys)
            })
        }
        let mut keys = back(DeTable::parse(&self.text).ok()?.get_ref(), byte)?;
        keys.reverse();
        Some(keys)
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

    /// True if `keys` lead to a value.
    pub(crate) fn has(&self, keys: &[&str]) -> bool {
        let Ok(root) = self.text.parse::<toml::Table>() else { return false };
        let step = |value: Option<toml::Value>, key: &&str| match value? {
            toml::Value::Table(mut table) => table.remove(*key),
            toml::Value::Array(list) => list.into_iter().nth(key.parse().ok()?),
            _ => None,
        };
        keys.iter().fold(Some(toml::Value::Table(root)), step).is_some()
    }

    fn at_line(&self, line: usize, message: String) -> ConfigError {
        ConfigError::At { path: self.path.clone(), line, message }
    }

    fn line_at(&self, byte: usize) -> usize {
        line(&self.text, byte)
    }

    fn line_of(&self, keys: &[&str]) -> usize {
        let text = self.source.as_ref().unwrap_or(&self.text);
        let Ok(root) = DeTable::parse(text) else { return 1 };
        let (depth, byte) = found(root.get_ref(), keys);
        let own: Vec<&str> = self.first.iter().map(String::as_str).chain(keys.iter().copied()).collect();
        let (own_depth, own_byte) = found(root.get_ref(), &own);
        let own_depth = own_depth.saturating_sub(self.first.len());
        line(text, if own_depth > 0 && own_depth >= depth { own_byte } else { byte })
    }
}

/// How many of `keys` lead on in a document, and the byte where the last of those is.
fn found(root: &DeTable<'_>, keys: &[&str]) -> (usize, usize) {
    let (mut byte, mut depth) = (0, 0);
    let mut value: Option<&Spanned<DeValue<'_>>> = None;
    for &key in keys {
        let table = match value {
            None => Some(root),
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
        depth += 1;
    }
    (depth, byte)
}

/// The line of a byte of a text, from 1.
fn line(text: &str, byte: usize) -> usize {
    1 + text.as_bytes()[..byte].iter().filter(|&&b| b == b'\n').count()
}

/// serde's words for types, and the words of TOML.
pub(super) fn in_words(message: &str) -> String {
    let words = [
        ("invalid type: ", "wrong type: "),
        ("expected path string", "expected a path, in quotes"),
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected f32", "expected a number"),
        ("expected a string", "expected text, in quotes"),
        ("string values must be quoted, expected literal string", "text must stand in quotes: key = \"text\""),
        ("expected a sequence", "expected a list: [...]"),
        ("expected a map", "expected a table: { key = value }"),
        ("wrong type: map", "wrong type: a table"),
        ("wrong type: sequence", "wrong type: a list"),
        ("expected a boolean", "expected true or false"),
        ("floating point `", "number `"),
        ("invalid value: ", "invalid value for this key: "),
    ];
    let message = words.iter().fold(message.to_owned(), |message, (serde, toml)| message.replace(serde, toml));
    match message.starts_with("wrong type: string") && message.contains("number") {
        true => message + "; numbers stand without quotes",
        false => message,
    }
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
        Some(wrong) if message.starts_with("unknown variant") => {
            format!("unknown value \"{wrong}\"{}", suggest(wrong, quoted))
        }
        _ => message.to_owned(),
    }
}

/// A path as a recipe of another folder names it.
pub(super) fn absolute(path: &Path) -> toml::Value {
    std::path::absolute(path).unwrap_or(path.to_owned()).display().to_string().into()
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
        TomlFile::of(Path::new("fusion.toml"), text.into())
    }

    #[test]
    fn an_unknown_key_names_file_line_and_nearest_key() {
        let error = file("# a comment\nblokcs = 2\n").parse::<Recipe>().unwrap_err().to_string();
        assert_eq!(error, "fusion.toml:2: unknown key `blokcs`; did you mean `blocks`? (available: blocks)");
    }

    #[test]
    fn an_error_of_a_value_names_its_key() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code, reason = "only the types matter")]
        struct Whole {
            train: Options,
        }
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code, reason = "only the types matter")]
        struct Options {
            lr: f32,
            precision: crate::kernels::Precision,
        }
        let error = |text: &str| file(text).parse::<Whole>().unwrap_err().to_string();
        let text = error("[train]\nprecision = \"f32\"\nlr = \"1e-3\"\n");
        let wanted = "wrong type: string \"1e-3\", expected a number; numbers stand without quotes";
        assert_eq!(text, format!("fusion.toml:3: `lr` of [train]: {wanted}"));
        let value = error("[train]\nlr = 1\nprecision = \"fp16\"\n");
        assert!(value.contains("3: `precision` of [train]: unknown value \"fp16\"; did you mean `bf16`?"), "{value}");
        assert!(error("train = 1").contains("`train`: wrong type"), "{}", error("train = 1"));
        assert!(error("[train]\nlr = a\n").contains("text must stand in quotes"), "{}", error("[train]\nlr = a\n"));
    }

    #[test]
    fn what_is_there_twice_is_named() {
        let error = |text: &str| file(text).parse::<toml::Table>().unwrap_err().to_string();
        let table = error("[encoder.a]\nplugin = 'b'\n[encoder.a]\nplugin = 'b'\n");
        assert!(table.starts_with("fusion.toml:3: [encoder.a] is here a second time"), "{table}");
        let key = error("[encoder.a]\nplugin = 'b'\n plugin = 'b'\n");
        assert!(key.starts_with("fusion.toml:3: `plugin` is set a second time in this table"), "{key}");
        let inline = error("encoder = 1\n[encoder]\na = 1\n");
        assert!(inline.contains("[encoder]"), "{inline}");
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
