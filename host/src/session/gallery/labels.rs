//! The ids and metadata that a file gives the items of a gallery.

use serde_json::{Number, Value};
use std::collections::HashMap;
use std::path::PathBuf;

use super::ITEM;
use crate::dataset::{DataError, Dataset};
use crate::gallery::Exhibit;
use crate::session::Error;

/// The names of a file's rows.
pub(super) struct Labels {
    pub(super) file: Dataset,
    pub(super) column: String,
    /// The column of the ids, if it is another.
    pub(super) id: Option<String>,
}

impl Labels {
    fn id(&self, row: usize) -> Result<String, DataError> {
        let name = self.file.text(self.id.as_deref().unwrap_or(&self.column), row)?;
        Ok(match &self.file {
            Dataset::Table(table) if self.id.is_none() => {
                let column = table.column(&self.column)?;
                // Of files in several folders, some may have the same name.
                match column.folder(row).filter(|_| column.file(row).is_file()) {
                    Some(folder) => format!("{}/{name}", folder.display()),
                    None => name,
                }
            }
            Dataset::Table(_) => name,
            // Other files have rows of the same numbers.
            Dataset::Precomputed(file) => {
                format!("{} {name}", file.path().file_name().unwrap_or_default().to_string_lossy())
            }
        })
    }

    /// A row as a gallery of these columns has it; its item is the file at `path`, or its cell.
    pub(super) fn exhibit(&self, row: usize, path: Option<PathBuf>, columns: &[String]) -> Result<Exhibit, DataError> {
        let value = |column: &String| {
            if column != ITEM {
                return self.value(column, row);
            }
            Ok(match &path {
                Some(path) => {
                    let path = path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or(path.clone());
                    path.display().to_string().into()
                }
                None => self.file.name(&self.column, row)?.into(),
            })
        };
        Ok(Exhibit { id: self.id(row)?, metadata: columns.iter().map(value).collect::<Result<_, _>>()? })
    }

    /// A cell of metadata.
    fn value(&self, column: &str, row: usize) -> Result<Value, DataError> {
        self.file.text(column, row).map(value)
    }

    /// Refuses metadata that is no text, ids that are empty, and two that are the same where they have a column of
    /// their own.
    pub(super) fn check(&self, metadata: &[String]) -> Result<(), Error> {
        let rows = self.file.rows(&self.column)?;
        for column in metadata {
            for row in 0..rows {
                self.file.text(column, row)?;
            }
        }
        self.distinct(&vec![true; if self.id.is_some() { rows } else { 0 }]).map(drop)
    }

    /// The rows to add among those that are present, and the number of rows that repeat an item; two items with one id
    /// are an error.
    pub(super) fn distinct(&self, present: &[bool]) -> Result<(Vec<bool>, usize), Error> {
        let mut chosen = vec![false; present.len()];
        let mut repeated = 0;
        // By the beginning of a hash: ids are many.
        let mut first: HashMap<u64, usize> = HashMap::new();
        for row in (0..present.len()).filter(|&row| present[row]) {
            let id = self.id(row)?;
            if id.is_empty() {
                return Err(Error::EmptyId { path: self.file.path().to_owned(), row: row + 1 });
            }
            let hash = blake3::hash(id.as_bytes());
            let hash = u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"));
            let earlier = *first.entry(hash).or_insert(row);
            match (earlier == row, &self.id) {
                (true, _) => chosen[row] = true,
                (false, None) => repeated += 1,
                (false, Some(_)) => {
                    let (path, rows) = (self.file.path().to_owned(), [earlier + 1, row + 1]);
                    return Err(Error::SameId { path, id, rows });
                }
            }
        }
        Ok((chosen, repeated))
    }
}

/// A cell as metadata: a number if it is written as numbers are and a number holds it, null if it is empty or `NaN`, as
/// a missing number is written, else text.
fn value(text: String) -> Value {
    if text.is_empty() || text == "NaN" {
        return Value::Null;
    }
    // `1e5` may be the name of something; what writes numbers gives such a power a sign or a point.
    let is_power = text.contains(['e', 'E']) && !text.contains(['.', '-', '+']);
    let number = text.parse::<Number>().ok().filter(|_| !is_power);
    match number {
        // Of a whole number that 64 bits do not hold digits would be lost, and of a text that looks like one.
        Some(number) if number.is_f64() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
            text.into()
        }
        Some(number) => number.into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_number_holds_is_one() {
        for (text, expected) in [
            ("7", json!(7)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("12345678901234567", json!(12_345_678_901_234_567_i64)),
            ("3.141592653589793", json!(std::f64::consts::PI)),
            ("1.5e-07", json!(1.5e-7)),
            ("1e-07", json!(1e-7)),
            ("1e5", json!("1e5")),
            ("007", json!("007")),
            ("123456789012345678901234", json!("123456789012345678901234")),
            ("NaN", Value::Null),
            ("", Value::Null),
            ("nan", json!("nan")),
            ("inf", json!("inf")),
            ("1e-5x", json!("1e-5x")),
        ] {
            assert_eq!(value(text.to_owned()), expected, "{text}");
        }
    }

    #[test]
    fn items_of_one_name_in_several_folders_have_ids_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        for of in ["train", "test"] {
            let at = |name: &str| folder.path().join(of).join(name);
            std::fs::create_dir(at("")).unwrap();
            std::fs::write(at("captions.csv"), "file,caption\n1.jpg,a dog\n1.jpg,a dog\n").unwrap();
            std::fs::write(at("1.jpg"), of).unwrap();
        }
        let labels = |column: &str| Labels {
            file: Dataset::open(&folder.path().join("{train,test}/captions.csv")).unwrap(),
            column: column.to_owned(),
            id: None,
        };
        let pictures = labels("file");
        assert_eq!(pictures.distinct(&[true; 4]).unwrap(), (vec![true, false, true, false], 2));
        assert_eq!([0, 3].map(|row| pictures.id(row).unwrap()), ["train/1.jpg", "test/1.jpg"]);
        // A text is the same one in any folder.
        let texts = labels("caption");
        assert_eq!(texts.distinct(&[true; 4]).unwrap(), (vec![true, false, false, false], 3));
        assert_eq!(texts.id(3).unwrap(), "a dog");
    }
}
