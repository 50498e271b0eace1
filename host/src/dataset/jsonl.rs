//! JSON Lines: an object a line, whose values are the cells.

use serde_json::Value;
use std::path::Path;

use super::draft::Draft;
use super::error::DataError;
use super::json;
use super::table::Table;
use super::text::Text;
use super::wanted::Wanted;

/// Reads the whole of `path`.
pub(super) fn read(path: &Path, wanted: &Wanted) -> Result<Table, DataError> {
    of(path, &Text::open(path)?, wanted)
}

/// The table of the text in `path`. Empty lines are nothing; a line that is no object is a row that cannot be read.
pub(super) fn of(path: &Path, text: &[u8], wanted: &Wanted) -> Result<Table, DataError> {
    let mut draft = Draft::new(path, "JSONL", wanted);
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Value>(line) {
            Ok(Value::Object(object)) => {
                json::set_all(&mut draft, &object);
                draft.end_row();
            }
            Ok(_) => draft.end_broken_line(number, "this is no object: a line should be {\"name\": value, ...}".into()),
            Err(error) => {
                // The error's own line is always the first.
                let (what, column) = (error.to_string(), error.column());
                let what = what.split(" at line ").next().unwrap_or_default().to_owned();
                draft.end_broken_line(number, format!("not JSON: {what} at byte {column} of the line"));
            }
        }
    }
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cells_and_bad_lines_are_rows_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let good = r#"{"file": "a.png", "n": 7, "texts": ["x", "y"], "meta": {"w": 1.5, "ok": true}, "none": null}"#;
        let mut lines = vec![good; 30];
        lines[3] = "{\"file\": \"b.png\"";
        lines[5] = "";
        lines[6] = "[1, 2]";
        std::fs::write(&path, lines.join("\r\n")).unwrap();
        let table = read(&path, &Wanted::ALL).unwrap();
        let cell = |name: &str, row| table.column(name).unwrap().text(row).unwrap();
        assert_eq!((cell("n", 0), cell("texts", 0), cell("meta.w", 0)), ("7", r#"["x","y"]"#, "1.5"));
        assert_eq!((table.len(), cell("meta.ok", 28), cell("file", 3)), (29, "true", ""));
        let broken: Vec<_> = table.broken().iter().map(|(row, reason)| (*row, reason.as_str())).collect();
        assert_eq!(broken.len(), 2);
        assert!(broken[0].0 == 3 && broken[0].1.starts_with("line 4: not JSON: EOF"), "{broken:?}");
        assert!(broken[1].0 == 5 && broken[1].1.starts_with("line 7: this is no object"), "{broken:?}");
        std::fs::write(&path, "{}\nx\n").unwrap();
        let error = read(&path, &Wanted::ALL).err().unwrap().to_string();
        assert!(error.contains("a.jsonl:2: not JSON"), "{error}");
    }
}
