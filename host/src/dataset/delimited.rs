//! Delimited text with a header: the common part of TSV and CSV.

use csv::{ByteRecord, Position, Reader, ReaderBuilder};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::error::DataError;
use super::table::Table;
use crate::regular;
use crate::wording::count;

/// The two differences between the formats.
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// True if quotes are those of RFC 4180, false if they are ordinary characters.
    pub(super) quotes: bool,
}

/// The largest table, which is held in memory.
const LARGEST: u64 = 64 << 30;

/// Reads the whole of `path`.
pub(super) fn read(path: &Path, dialect: &Dialect) -> Result<Table, DataError> {
    let failed = |cause| DataError::Read { path: path.to_owned(), cause };
    let mut file = regular::open(path, LARGEST).map_err(failed)?;
    let ends_in_newline = ends_in_newline(&mut file).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len() as usize;
    let mut reader = ReaderBuilder::new()
        .delimiter(dialect.delimiter)
        .quoting(dialect.quotes)
        .flexible(true)
        .has_headers(false)
        .from_reader(file);
    let malformed = |line: u64, reason: String| DataError::Malformed { path: path.to_owned(), line, reason };
    let mut record = ByteRecord::new();
    let next = |reader: &mut Reader<File>, record: &mut ByteRecord| {
        reader.read_byte_record(record).map_err(|error| malformed(reader.position().line(), error.to_string()))
    };
    if !next(&mut reader, &mut record)? {
        return Err(malformed(1, "the file is empty; the first line must name the columns".into()));
    }
    let names = names(&record);
    let mut seen = HashSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(malformed(1, format!("two columns are called `{name}`; rename one")));
    }
    let mut table = Table::new(path, names);
    // All of the file is this column.
    table.reserve(size);
    let mut line = reader.position().line();
    while next(&mut reader, &mut record)? {
        if table.width() == 1 {
            // The reader passes over empty lines. In a single column they are empty cells; elsewhere they are nothing.
            let own = record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
            let ended = u64::from(ends_in_newline || !reader.is_done());
            table.add_empty((reader.position().line() - line).saturating_sub(own + ended));
            line = reader.position().line();
        }
        if record.len() != table.width() {
            let line = record.position().map_or(0, Position::line);
            return Err(malformed(
                line,
                format!("{}, but the header has {}", count(record.len(), "field"), table.width()),
            ));
        }
        table.add(&record);
    }
    if table.width() == 1 {
        table.add_empty(reader.position().line() - line);
    }
    Ok(table)
}

fn names(header: &ByteRecord) -> Vec<String> {
    let name = |(index, bytes): (usize, &[u8])| {
        let bytes = if index == 0 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
        String::from_utf8_lossy(bytes).trim().to_owned()
    };
    header.iter().enumerate().map(name).collect()
}

/// Rewinds the file to its start.
fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    file.rewind()?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::read_table;

    fn read(name: &str, content: &[u8]) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_table(&path).map_err(|error| error.to_string().rsplit('/').next().unwrap().to_owned())
    }

    fn cells(table: &Table, column: &str) -> Vec<String> {
        let column = table.column(column).unwrap();
        (0..column.len()).map(|row| String::from_utf8_lossy(column.cell(row)).into_owned()).collect()
    }

    #[test]
    fn tsv_takes_quotes_as_they_are_and_csv_as_rfc_4180_has_them() {
        let table = read("a.tsv", b"\xef\xbb\xbffile\tcaption\r\na.png\t\"A\" and \"b\r\nb.png\ta, b\r\n").unwrap();
        assert_eq!(cells(&table, "file"), ["a.png", "b.png"]);
        assert_eq!(cells(&table, "caption"), ["\"A\" and \"b", "a, b"]);
        let table = read("a.csv", b"file,caption\na.png,\"a, \"\"b\"\"\nand c\"\n").unwrap();
        assert_eq!(cells(&table, "caption"), ["a, \"b\"\nand c"]);
    }

    #[test]
    fn mistakes_name_file_line_and_column() {
        let error = |name, content: &[u8]| read(name, content).map(drop).unwrap_err();
        assert_eq!(error("a.tsv", b"a\tb\n1\t2\n3\n"), "a.tsv:3: 1 field, but the header has 2");
        assert!(error("a.tsv", b"").contains("the file is empty"));
        assert_eq!(error("a.tsv", b"a\tb\ta\n"), "a.tsv:1: two columns are called `a`; rename one");
        assert!(read("a.TSV", b"a\tb\n1\t2\n").is_ok());
        assert!(error("a.json", b"{}").contains("must end in .tsv, .csv or .safetensors"));
        let table = read("a.tsv", b"file\tcaption\n").unwrap();
        let error = table.column("captoin").err().unwrap().to_string();
        assert!(error.contains("no column `captoin`; did you mean `caption`? (available: file, caption)"), "{error}");
        assert_eq!(table.usual_column("text").unwrap().len(), 0);
        assert!(table.usual_column("image").is_ok());
    }

    #[test]
    fn an_empty_line_is_an_empty_cell_of_a_single_column() {
        assert_eq!(cells(&read("a.tsv", b"text\n\na\n\n\nb\n\n").unwrap(), "text"), ["", "a", "", "", "b", ""]);
        assert_eq!(cells(&read("a.csv", b"text\r\na\r\n\r\n\"b\nc\"\r\nd").unwrap(), "text"), ["a", "", "b\nc", "d"]);
        assert_eq!(cells(&read("a.tsv", b"text\tid\na\t1\n\nb\t2\n\n").unwrap(), "text"), ["a", "b"]);
        assert_eq!(cells(&read("a.tsv", b"text\n").unwrap(), "text"), [""; 0]);
    }

    #[test]
    fn a_cell_that_is_not_utf8_survives_as_bytes() {
        let table = read("a.tsv", b"text\n\xff\xfe\nfine\n").unwrap();
        assert_eq!(table.column("text").unwrap().cell(0), b"\xff\xfe");
    }
}
