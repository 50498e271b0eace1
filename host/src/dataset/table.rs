//! A pair file with a header: TSV (tabs, no quotes) or CSV (commas, RFC 4180 quotes).

use csv::{ByteRecord, ReaderBuilder};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::DataError;
use crate::toml_file::suggest;

/// A table in memory, column by column.
pub struct Table {
    path: PathBuf,
    names: Vec<String>,
    columns: Vec<Cells>,
}

/// The cells of a column, end to end.
#[derive(Default)]
struct Cells {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Cells {
    fn add_empty(&mut self, cells: u64) {
        self.ends.extend(std::iter::repeat_n(self.bytes.len(), cells as usize));
    }
}

/// Leaves the file at its start.
fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    file.rewind()?;
    Ok(last == *b"\n")
}

/// One column of a [`Table`].
#[derive(Clone, Copy)]
pub struct Column<'a> {
    table: &'a Table,
    name: &'a str,
    cells: &'a Cells,
}

impl Table {
    /// Reads the whole of `path`; the ending tells the format.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let tabs = match ending.as_deref() {
            Some("tsv") => true,
            Some("csv") => false,
            _ => return Err(DataError::Format { path: path.to_owned() }),
        };
        let read = |cause| DataError::Read { path: path.to_owned(), cause };
        let mut file = File::open(path).map_err(read)?;
        let ends_in_newline = ends_in_newline(&mut file).map_err(read)?;
        let size = file.metadata().map_err(read)?.len() as usize;
        let delimiter = if tabs { b'\t' } else { b',' };
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(!tabs)
            .flexible(true)
            .has_headers(false)
            .from_reader(file);
        let malformed = |line: u64, reason: String| DataError::Malformed { path: path.to_owned(), line, reason };
        let mut record = ByteRecord::new();
        let next = |reader: &mut csv::Reader<_>, record: &mut ByteRecord| {
            reader.read_byte_record(record).map_err(|error| malformed(reader.position().line(), error.to_string()))
        };
        if !next(&mut reader, &mut record)? {
            return Err(malformed(1, "the file is empty; the first line must name the columns".into()));
        }
        let name = |(index, bytes): (usize, &[u8])| {
            let bytes = if index == 0 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
            String::from_utf8_lossy(bytes).trim().to_owned()
        };
        let names: Vec<String> = record.iter().enumerate().map(name).collect();
        if let Some((_, name)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(malformed(1, format!("two columns are called `{name}`; rename one")));
        }
        let mut columns: Vec<Cells> = names.iter().map(|_| Cells::default()).collect();
        if let [column] = &mut columns[..] {
            // All of the file is this column.
            column.bytes.reserve(size);
        }
        let mut line = reader.position().line();
        while next(&mut reader, &mut record)? {
            if let [column] = &mut columns[..] {
                // The reader passes over empty lines. In a single column they are empty cells; elsewhere they are nothing.
                let own = record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
                let ended = u64::from(ends_in_newline || !reader.is_done());
                column.add_empty((reader.position().line() - line).saturating_sub(own + ended));
                line = reader.position().line();
            }
            if record.len() != columns.len() {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(malformed(line, format!("{} fields, but the header has {}", record.len(), columns.len())));
            }
            for (column, cell) in columns.iter_mut().zip(record.iter()) {
                column.bytes.extend_from_slice(cell);
                column.ends.push(column.bytes.len());
            }
        }
        if let [column] = &mut columns[..] {
            column.add_empty(reader.position().line() - line);
        }
        Ok(Self { path: path.to_owned(), names, columns })
    }

    /// A table with one row, for an item that comes from no file.
    pub fn of_one(path: &Path, name: &str, cell: &[u8]) -> Self {
        let cells = Cells { bytes: cell.to_vec(), ends: vec![cell.len()] };
        Self { path: path.to_owned(), names: vec![name.to_owned()], columns: vec![cells] }
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The column called `name`.
    pub fn column(&self, name: &str) -> Result<Column<'_>, DataError> {
        let index = self.names.iter().position(|other| other == name).ok_or_else(|| DataError::Column {
            path: self.path.clone(),
            name: name.to_owned(),
            suggestion: suggest(name, self.names.iter().map(String::as_str)),
        })?;
        Ok(Column { table: self, name: &self.names[index], cells: &self.columns[index] })
    }

    /// The column for items of a modality when none is named: one of the usual names, or the only one.
    pub fn usual_column(&self, modality: &str) -> Result<Column<'_>, DataError> {
        let usual: &[&str] = match modality {
            "text" => &["text", "caption"],
            modality => &[modality, "file", "path"],
        };
        let name = usual.iter().find(|name| self.names.iter().any(|other| other == *name));
        let only = self.names.first().filter(|_| self.names.len() == 1).map(String::as_str);
        match name.copied().or(only) {
            Some(name) => self.column(name),
            None => Err(DataError::Unsaid {
                path: self.path.clone(),
                modality: modality.to_owned(),
                columns: self.names.join(", "),
            }),
        }
    }
}

impl<'a> Column<'a> {
    /// Its name in the header.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Rows below the header.
    pub fn len(&self) -> usize {
        self.cells.ends.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of row `index`, from 0.
    pub fn cell(&self, index: usize) -> &'a [u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.cells.ends[before]);
        &self.cells.bytes[start..self.cells.ends[index]]
    }

    /// The file that the cell of row `index` names, relative to the table.
    pub fn file(&self, index: usize) -> PathBuf {
        let name = String::from_utf8_lossy(self.cell(index));
        self.table.path.parent().unwrap_or(Path::new("")).join(&*name)
    }

    /// The table's file.
    pub fn source(&self) -> &'a Path {
        &self.table.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &[u8]) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Table::read(&path).map_err(|error| error.to_string().rsplit('/').next().unwrap().to_owned())
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
        assert_eq!(error("a.tsv", b"a\tb\n1\t2\n3\n"), "a.tsv:3: 1 fields, but the header has 2");
        assert!(error("a.tsv", b"").contains("the file is empty"));
        assert_eq!(error("a.tsv", b"a\tb\ta\n"), "a.tsv:1: two columns are called `a`; rename one");
        assert!(read("a.TSV", b"a\tb\n1\t2\n").is_ok());
        assert!(error("a.json", b"{}").contains("must end in .tsv, .csv or .safetensors"));
        let table = read("a.tsv", b"file\tcaption\n").unwrap();
        let error = table.column("captoin").err().unwrap().to_string();
        assert!(error.contains("no column `captoin`; did you mean `caption`? (there are: file, caption)"), "{error}");
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
