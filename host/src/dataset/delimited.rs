//! Delimited text with a header: CSV and TSV, whose lines end in `\n`, `\r\n` or `\r`.

use csv::ByteRecord;
use std::collections::HashSet;
use std::path::Path;

use super::dialect::Dialect;
use super::error::DataError;
use super::fields::Field;
use super::records::Records;
use super::table::Table;
use super::text::{Lines, Text, line};
use super::wanted::Wanted;
use super::{audiocaps, headless};
use crate::wording::count;

/// Reads the whole of `path`, which should have this form.
pub(super) fn read(path: &Path, usual: Dialect, wanted: &Wanted) -> Result<Table, DataError> {
    let text = Text::open(path)?;
    let (said, skipped) = Dialect::said(&text);
    let malformed = |at: usize, reason: String| DataError::Malformed {
        path: path.to_owned(),
        line: line(&text, skipped + at),
        reason,
    };
    if let Some((format, names)) = headless::columns(&text) {
        let table = Table::new(path, format, names.map(str::to_owned).to_vec()).of(wanted);
        return rows(table, &mut Records::new(&text, Dialect::TSV), (&text, 0));
    }
    let body = &text[skipped..];
    let dialect = said.map_or_else(|| usual.of(body), Ok).map_err(|reason| malformed(0, reason))?;
    let mut records = Records::new(body, dialect);
    let mut header = ByteRecord::new();
    if records.next(&mut header).map_err(|(at, reason)| malformed(at, reason))?.is_none() {
        return Err(malformed(0, "the file is empty; the first line must name the columns".into()));
    }
    let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    let doubts = doubts(&names, [usual, dialect]);
    let mut table = Table::new(path, if usual == Dialect::TSV { "TSV" } else { "CSV" }, names).of(wanted);
    doubts.into_iter().for_each(|(kind, doubt)| table.notes.warn(kind, doubt));
    // All of the file is this column.
    table.reserve(text.len());
    rows(table, &mut records, (&text, skipped)).map(audiocaps::with_files)
}

/// The table with the rest of the records of a text, behind the bytes that are no rows. One that has another
/// number of cells is a row that cannot be read.
fn rows(mut table: Table, records: &mut Records<'_>, (text, skipped): (&[u8], usize)) -> Result<Table, DataError> {
    let (dialect, mut lines) = (records.dialect(), Lines::of(text));
    let malformed = |path: &Path, at: usize, reason: String| DataError::Malformed {
        path: path.to_owned(),
        line: line(text, skipped + at),
        reason,
    };
    let mut quoted = Quoted::default();
    let mut record = ByteRecord::new();
    loop {
        let next = records.next(&mut record).map_err(|(at, reason)| malformed(&table.path, at, reason))?;
        // The reader passes over empty lines. In a single column they are empty cells; elsewhere they are nothing.
        if table.width() == 1 {
            table.add_empty(records.empty_before);
        }
        let Some(start) = next else { break };
        // Spreadsheets end rows with empty cells.
        let spare = record.iter().skip(table.width());
        if record.len() < table.width() || spare.into_iter().any(|cell| !cell.is_empty()) {
            let reason = format!("{}, but the header has {}", count(record.len(), "field"), table.width());
            table.add_broken(lines.at(skipped + start), reason + &advice(dialect, &record, table.width()));
            continue;
        }
        if !dialect.quotes {
            quoted.look(&record, start);
        }
        match dialect.trims {
            true => table.add(record.iter().map(<[u8]>::trim_ascii)),
            false => table.add(&record),
        }
    }
    if let Some(first) = quoted.first {
        let note = format!(
            "{} in quotes, the first in line {}; a .tsv keeps them as part of the text. If they only enclose it, \
             rename the file to .csv, where quotes are read and tabs are found",
            if quoted.cells == 1 { "1 cell stands".into() } else { format!("{} cells stand", quoted.cells) },
            line(text, skipped + first),
        );
        table.notes.warn("quoted", note);
    }
    table.settled()
}

/// What a reader should know about a header: a delimiter that is not the usual one, and columns that cannot be named.
fn doubts(names: &[String], [usual, dialect]: [Dialect; 2]) -> Vec<(&'static str, String)> {
    let mut doubts = Vec::new();
    if dialect != usual {
        doubts.push(("dialect", format!("cells are separated by {}, not by {}", dialect.name(), usual.name())));
    }
    let (mut seen, mut told) = (HashSet::new(), HashSet::new());
    for name in names.iter().filter(|name| !name.is_empty()) {
        if !seen.insert(name) && told.insert(name) {
            let doubt = format!("two columns are called `{name}`; neither can be used before one is renamed");
            doubts.push(("twice", doubt));
        }
    }
    if names.iter().any(|name| name.contains('\u{fffd}')) {
        doubts.push(("UTF-8", "the header is not UTF-8: save the file as UTF-8".to_owned()));
    }
    if names.iter().any(|name| is_item(name)) {
        let doubt = "the first line seems to be a row and not a header, so that row is not used and columns are called \
                     by its cells; put a line with the columns' names above it";
        doubts.push(("header", doubt.to_owned()));
    }
    match names.iter().filter(|name| name.is_empty()).count() {
        0 => {}
        1 => doubts.push(("unnamed", "a column has no name and is not used".to_owned())),
        unnamed => doubts.push(("unnamed", format!("{unnamed} columns have no name and are not used"))),
    }
    doubts
}

/// True if the name of a column is that of a picture or sound, or an address.
fn is_item(name: &str) -> bool {
    name.contains("://") || Field::of_file(Path::new(name)).modality().is_some()
}

/// Cells in quotes where quotes are ordinary characters.
#[derive(Default)]
struct Quoted {
    cells: usize,
    /// The byte where the first such record begins.
    first: Option<usize>,
}

impl Quoted {
    fn look(&mut self, record: &ByteRecord, start: usize) {
        let cells = record.iter().filter(|cell| cell.len() > 1 && cell.starts_with(b"\"") && cell.ends_with(b"\""));
        let cells = cells.count();
        if cells > 0 {
            self.cells += cells;
            self.first.get_or_insert(start);
        }
    }
}

/// What to try if a record has the wrong number of cells.
fn advice(dialect: Dialect, record: &ByteRecord, width: usize) -> String {
    if !dialect.quotes && record.iter().any(|cell| cell.contains(&b'"')) {
        return "; a .tsv keeps quotes as they are: if they enclose cells, rename the file to .csv, where tabs are found"
            .into();
    }
    let name = dialect.name();
    match dialect.quotes && record.len() > width {
        true => format!("; a cell with {name} in it must stand in quotes"),
        false => String::new(),
    }
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
    fn a_first_line_may_say_what_is_between_cells() {
        for (content, column) in [
            (&b"sep=;\r\ncaption;x\r\na dog, or two;1\r\n"[..], "caption"),
            (b"SEP=~\ncaption~x\na dog, or two~1\n", "caption"),
            (b"sep=,\rcaption,x\r\"a dog, or two\",1\r", "caption"),
            (b"\xef\xbb\xbfsep=;\ncaption\na dog, or two\n", "caption"),
        ] {
            assert_eq!(cells(&read("a.csv", content).unwrap(), column), ["a dog, or two"]);
        }
        let error = read("a.csv", b"sep=;\na;b\n1;2\n3\n").map(drop).unwrap_err();
        assert_eq!(error, "a.csv:4: 1 field, but the header has 2");
        assert!(read("a.csv", b"sep=;").map(drop).unwrap_err().contains("the file is empty"));
    }

    #[test]
    fn mistakes_name_file_line_and_column() {
        let error = |name, content: &[u8]| read(name, content).map(drop).unwrap_err();
        assert_eq!(error("a.tsv", b"a\tb\n1\t2\n3\n"), "a.tsv:3: 1 field, but the header has 2");
        assert!(error("a.tsv", b"").contains("the file is empty"));
        assert!(read("a.TSV", b"a\tb\n1\t2\n").is_ok());
        assert!(error("a.doc", b"{}").contains("no format that is read"));
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
    fn lines_may_end_in_any_of_three_ways() {
        for content in ["text\r\na\r\n\r\nb\r\n", "text\ra\r\rb\r", "text\r\na\r\n\r\nb", "text\na\n\nb\n"] {
            assert_eq!(cells(&read("a.csv", content.as_bytes()).unwrap(), "text"), ["a", "", "b"], "{content:?}");
        }
        let table = read("a.csv", b"id,text\r1,a\r2,\"b\r\nc\"\r\r3,d").unwrap();
        assert_eq!(cells(&table, "text"), ["a", "b\r\nc", "d"]);
        let error = |content: &[u8]| read("a.csv", content).map(drop).unwrap_err();
        assert!(error(b"id,text\r1,a\r\r2\r").starts_with("a.csv:4: 1 field"), "{}", error(b"id,text\r1,a\r\r2\r"));
    }

    #[test]
    fn a_quote_that_nothing_closes_is_an_error_in_its_line() {
        let error = |content: &str| read("a.csv", content.as_bytes()).map(drop).unwrap_err();
        let files = "file,caption\na.png,\"a sign that says STOP\nb.png,a dog\nc.png,a cat\n";
        assert!(
            error(files).starts_with("a.csv:2: a cell begins with a quote that nothing closes"),
            "{}",
            error(files)
        );
        assert!(error("a,b\n1,2\n\"x\ny\",\"z \"\"\nw").starts_with("a.csv:4: "));
        assert!(error("\"a,b\n1,2\n").starts_with("a.csv:1: "));
        // Within a cell, or closed at the very end, it is no mistake.
        let table = read("a.csv", b"a,b\n1,6\" nails\n2,\"\"\"x\"\"\"").unwrap();
        assert_eq!(cells(&table, "b"), ["6\" nails", "\"x\""]);
    }

    #[test]
    fn another_delimiter_is_found_or_refused() {
        for content in ["file;caption\na.png;a, red flower\n", "file\tcaption\na.png\t\"a, red flower\"\n"] {
            let table = read("a.csv", content.as_bytes()).unwrap();
            assert_eq!(cells(&table, "caption"), ["a, red flower"]);
        }
        assert_eq!(cells(&read("a.tsv", b"file,caption\na.png,\"a, b\"\n").unwrap(), "caption"), ["a, b"]);
        assert_eq!(cells(&read("a.csv", b"file|caption\na.png|a\n").unwrap(), "file"), ["a.png"]);
        let refused = read("a.csv", b"a;b\nc\nd;e\n").map(drop).unwrap_err();
        assert!(refused.contains("semicolons but no commas"), "{refused}");
        // A single column holds what its rows have.
        assert_eq!(cells(&read("a.tsv", b"text\na, b; c\n").unwrap(), "text"), ["a, b; c"]);
        let error = read("a.csv", b"text\na, b\n").map(drop).unwrap_err();
        assert!(error.contains("must stand in quotes"), "{error}");
    }

    #[test]
    fn utf_16_is_read_and_what_is_no_text_is_named() {
        let text = "file\tcaption\r\na.png\tein gr\u{fc}ner \u{1f438}\r\n";
        let units = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        let [little, big] = [(units(u16::to_le_bytes), [0xff, 0xfe]), (units(u16::to_be_bytes), [0xfe, 0xff])]
            .map(|(units, mark)| [&mark[..], &units].concat());
        for content in [&little, &big] {
            assert_eq!(cells(&read("a.tsv", content).unwrap(), "caption"), ["ein gr\u{fc}ner \u{1f438}"]);
        }
        let error = |content: &[u8]| read("a.tsv", content).map(drop).unwrap_err();
        assert!(error(&little[2..]).contains("UTF-16 without a byte-order mark"));
        assert!(error(&little[..21]).contains("the file is cut"));
        assert!(error(b"\xff\xfe\0\0a\0\0\0").contains("UTF-32"));
        assert!(error(&[0xff, 0xfe, 0x00, 0xd8, b'a', 0]).contains("byte 3 is not UTF-16"));
    }

    #[test]
    fn a_row_that_cannot_be_read_costs_no_table() {
        let mut lines = vec!["image_name| comment_number| comment".to_owned()];
        lines.extend((0..30).map(|row| format!("{}.jpg| {}| A dog, number {row} .", row / 5, row % 5)));
        lines[20] = "3.jpg| 4   A dog without a bar .".to_owned();
        let table = read("results.csv", lines.join("\n").as_bytes()).unwrap();
        assert_eq!((table.len(), table.names()[2].as_str()), (30, "comment"));
        assert_eq!(cells(&table, "comment")[6], "A dog, number 6 .");
        let broken: Vec<_> = table.broken().iter().collect();
        assert_eq!(broken[0].0, &19);
        assert!(broken[0].1.starts_with("line 21: 2 fields, but the header has 3") && broken.len() == 1, "{broken:?}");
    }

    #[test]
    fn columns_that_are_not_used_do_no_harm() {
        let table = read("a.csv", b"id,caption,id\n1,a dog,2\n").unwrap();
        assert_eq!(cells(&table, "caption"), ["a dog"]);
        let error = table.column("id").err().unwrap().to_string();
        assert!(error.contains("two columns are called `id`"), "{error}");
        let table = read("a.csv", b"file,caption,,\na.png,a dog,,\n").unwrap();
        assert_eq!(cells(&table, "caption"), ["a dog"]);
        assert_eq!(cells(&read("a.csv", b"file,caption\na.png,a dog,,\n").unwrap(), "caption"), ["a dog"]);
        assert!(read("a.csv", b"file,caption\na.png,a dog,x\n").is_err());
        assert_eq!(doubts(&["a", "", "a", ""].map(str::to_owned), [Dialect::CSV; 2]).len(), 2);
    }

    #[test]
    fn cells_in_quotes_are_seen_where_quotes_are_ordinary() {
        let mut quoted = Quoted::default();
        for (start, cells) in [(10, ["a", "b\""]), (20, ["\"a\"", "\"He said \"\"hi\"\"\""]), (40, ["\"", "\"a\""])] {
            quoted.look(&ByteRecord::from(&cells[..]), start);
        }
        assert_eq!((quoted.cells, quoted.first), (3, Some(20)));
    }

    #[test]
    fn a_cell_that_is_not_utf8_survives_as_bytes() {
        let table = read("a.tsv", b"text\n\xff\xfe\nfine\n").unwrap();
        assert_eq!(table.column("text").unwrap().cell(0), b"\xff\xfe");
    }
}
