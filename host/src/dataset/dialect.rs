//! What stands between the cells of a delimited text, and around them: by its ending, and by what is in it.

use csv::{ByteRecord, ReaderBuilder};

/// The form of a delimited text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// True if quotes are those of RFC 4180, false if they are ordinary characters.
    pub(super) quotes: bool,
    /// True if the spaces around a cell are none of it.
    pub(super) trims: bool,
}

/// Rows that must agree with the header before another delimiter than the usual one is believed.
const ROWS: usize = 20;

/// All delimiters, with their names.
const DELIMITERS: [(u8, &str); 4] = [(b',', "commas"), (b'\t', "tabs"), (b';', "semicolons"), (b'|', "bars")];

/// The cells of each of the first lines if they are separated by several spaces: two or more, and in all the same.
fn spaced(text: &[u8]) -> Option<usize> {
    let lines = text.split(|byte| b"\r\n".contains(byte)).filter(|line| !line.is_empty());
    let mut cells = lines.take(ROWS).map(|line| {
        let line = String::from_utf8_lossy(line);
        line.trim().split("  ").filter(|cell| !cell.trim().is_empty()).count()
    });
    let header = cells.next().filter(|count| *count > 1)?;
    let mut rows = cells.peekable();
    (rows.peek().is_some() && rows.all(|count| count == header)).then_some(header)
}

impl Dialect {
    /// Commas, and quotes around cells.
    pub(super) const CSV: Self = Self { delimiter: b',', quotes: true, trims: false };
    /// Tabs, and quotes that are ordinary characters.
    pub(super) const TSV: Self = Self { delimiter: b'\t', quotes: false, trims: false };

    /// What a first line such as `sep=;` says, as Excel understands and some programs write it, and its bytes; none and
    /// 0 without one.
    pub(super) fn said(text: &[u8]) -> (Option<Self>, usize) {
        let end = text.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(text.len());
        match text[..end] {
            [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] => {
                let breaks = if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
                (Some(Self { delimiter, quotes: true, trims: false }), text.len().min(end + breaks))
            }
            _ => (None, 0),
        }
    }

    /// That of `text` in a file that should have `self`, or the reason why it cannot be told.
    pub(super) fn of(self, text: &[u8]) -> Result<Self, String> {
        let others = DELIMITERS.iter().filter(|(delimiter, _)| *delimiter != self.delimiter);
        // As Flickr30k has them: `name| number| comment`, with quotes that enclose nothing.
        let is_spaced =
            text.split(|byte| *byte == b'\n').next().is_some_and(|line| line.windows(2).any(|two| two == b"| "));
        let mut others = others.map(|&(delimiter, name)| {
            let spaced = is_spaced && delimiter == b'|';
            (Self { delimiter, quotes: !spaced, trims: spaced }, name)
        });
        if self.widths(text).next().is_none_or(|header| header > 1) {
            return Ok(self);
        }
        let Some((other, name)) = others.find(|(other, _)| other.widths(text).next().is_some_and(|width| width > 1))
        else {
            return match spaced(text) {
                None => Ok(self),
                Some(cells) => Err(format!(
                    "{cells} cells a line are separated by spaces, which a caption has too; separate them by {}",
                    self.name()
                )),
            };
        };
        let mut widths = other.widths(text);
        let header = widths.next();
        if other.trims {
            return Ok(other);
        }
        match widths.take(ROWS).find(|width| Some(*width) != header) {
            None => Ok(other),
            Some(width) => Err(format!(
                "the header has {name} but no {}, and splits into {} cells where a row splits into {width}; separate \
                 the cells by {}, or write the header without {name}",
                self.name(),
                header.unwrap_or(0),
                self.name(),
            )),
        }
    }

    /// The delimiter's name, in the plural.
    pub(super) fn name(self) -> &'static str {
        DELIMITERS
            .iter()
            .find(|(delimiter, _)| *delimiter == self.delimiter)
            .map_or("what its first line says", |(_, name)| name)
    }

    /// Cells of the header, and of each row.
    fn widths(self, text: &[u8]) -> impl Iterator<Item = usize> {
        let reader = self.reader().from_reader(text);
        reader.into_byte_records().map_while(|record| record.ok().as_ref().map(ByteRecord::len))
    }

    /// What reads it.
    pub(super) fn reader(self) -> ReaderBuilder {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(self.delimiter).quoting(self.quotes).flexible(true).has_headers(false);
        builder
    }
}
