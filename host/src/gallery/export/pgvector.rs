//! SQL for `psql`: a table with a pgvector column, filled by COPY. What is there under the same id is replaced.

use serde_json::Value;
use std::fmt::Write;

use super::columns::{Kind, kinds, text};
use super::out::{Open, Out};
use super::{Batch, ExportError};
use crate::gallery::{Exhibit, Gallery};

/// The most values of a `vector`.
const WIDEST: usize = 16_000;
/// The table that COPY fills, before its rows go into the user's.
const INCOMING: &str = "fusemix_incoming";

pub(super) struct Sink {
    out: Open,
    /// What comes behind the rows.
    end: String,
    columns: Vec<String>,
    width: usize,
}

impl Sink {
    pub(super) fn begin(
        gallery: &Gallery,
        rows: &[usize],
        out: &Out,
        table: &str,
        vector: &str,
    ) -> Result<Self, ExportError> {
        let info = gallery.info();
        super::free(&info.columns, vector)?;
        let width = info.width;
        if width > WIDEST {
            return Err(ExportError::TooWide { width, most: WIDEST, what: "pgvector" });
        }
        let mut out = Open::create(out)?;
        let kinds = kinds(gallery, rows)?;
        let table = table.split('.').map(quoted).collect::<Vec<_>>().join(".");
        let (begin, end) = statements(&table, &info.columns, &kinds, vector, width);
        out.write(begin.as_bytes())?;
        Ok(Self { out, end, columns: info.columns.clone(), width })
    }
}

/// What comes before the rows, and behind them.
fn statements(table: &str, columns: &[String], kinds: &[Kind], vector: &str, width: usize) -> (String, String) {
    let kind = |kind: &Kind| match kind {
        Kind::Truth => "boolean",
        Kind::Integer => "bigint",
        Kind::Number => "double precision",
        Kind::Text | Kind::Null => "text",
    };
    let metadata = columns.iter().zip(kinds).map(|(name, of)| format!("{} {}", quoted(name), kind(of)));
    let id = "\"id\" text PRIMARY KEY".to_owned();
    let values = format!("{} vector({width}) NOT NULL", quoted(vector));
    let fields = [id].into_iter().chain(metadata).chain([values]).collect::<Vec<_>>().join(",\n    ");
    let names = || columns.iter().map(String::as_str).chain([vector]).map(quoted);
    let all = ["\"id\"".to_owned()].into_iter().chain(names()).collect::<Vec<_>>().join(", ");
    let replaced = names().map(|name| format!("{name} = EXCLUDED.{name}")).collect::<Vec<_>>().join(", ");
    let begin = format!(
        "\\set ON_ERROR_STOP on\n\
         SET client_encoding = 'UTF8';\n\
         BEGIN;\n\
         CREATE EXTENSION IF NOT EXISTS vector;\n\
         CREATE TABLE IF NOT EXISTS {table} (\n    {fields}\n);\n\
         CREATE TEMPORARY TABLE {INCOMING} (LIKE {table}) ON COMMIT DROP;\n\
         COPY {INCOMING} ({all}) FROM STDIN;\n"
    );
    let end = format!(
        "\\.\n\
         INSERT INTO {table} ({all}) SELECT {all} FROM {INCOMING}\n    ON CONFLICT (\"id\") DO UPDATE SET {replaced};\n\
         COMMIT;\n"
    );
    (begin, end)
}

/// A name as SQL quotes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Appends a text as COPY takes it.
fn escape(text: &str, line: &mut String) {
    for character in text.chars() {
        match character {
            '\\' => line.push_str("\\\\"),
            '\t' => line.push_str("\\t"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            other => line.push(other),
        }
    }
}

impl Sink {
    fn line(&self, exhibit: &Exhibit, vector: &[f32], line: &mut String) -> Result<(), ExportError> {
        let id = Value::from(exhibit.id.as_str());
        let names = ["id"].into_iter().chain(self.columns.iter().map(String::as_str));
        for (value, column) in [&id].into_iter().chain(&exhibit.metadata).zip(names) {
            match text(value) {
                None => line.push_str("\\N"),
                Some(text) if text.contains('\0') => {
                    return Err(ExportError::Nul { id: exhibit.id.clone(), column: column.to_owned() });
                }
                Some(text) => escape(&text, line),
            }
            line.push('\t');
        }
        for (at, value) in vector.iter().enumerate() {
            line.push(if at == 0 { '[' } else { ',' });
            write!(line, "{value}").expect("memory takes all that is written");
        }
        line.push_str("]\n");
        Ok(())
    }
}

impl super::Sink for Sink {
    fn take(&mut self, batch: Batch) -> Result<usize, ExportError> {
        let mut lines = String::new();
        for (exhibit, vector) in batch.exhibits.iter().zip(batch.vectors.chunks_exact(self.width)) {
            self.line(exhibit, vector, &mut lines)?;
        }
        self.out.write(lines.as_bytes())?;
        Ok(0)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        self.out.write(self.end.as_bytes())?;
        self.out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_names_are_escaped() {
        let mut line = String::new();
        escape("a\tb\\N\r\nü", &mut line);
        assert_eq!(line, "a\\tb\\\\N\\r\\nü");
        assert_eq!(quoted("a \"b\""), "\"a \"\"b\"\"\"");
    }
}
