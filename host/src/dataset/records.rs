//! The records of a delimited text, with the empty lines between them, and a quote that nothing closes.

use csv::ByteRecord;

use super::dialect::Dialect;
use super::text::without_end;

/// The records of a text, with the empty lines between them.
pub(super) struct Records<'a> {
    text: &'a [u8],
    dialect: Dialect,
    reader: csv::Reader<&'a [u8]>,
    /// Empty lines before the record that was read last, or before the end.
    pub(super) empty_before: u64,
}

impl<'a> Records<'a> {
    pub(super) fn new(text: &'a [u8], dialect: Dialect) -> Self {
        Self { text, dialect, reader: dialect.reader().from_reader(text), empty_before: 0 }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Reads the next record, and returns the byte where it begins; none at the end.
    ///
    /// # Errors
    /// Where it is wrong, and why.
    pub(super) fn next(&mut self, record: &mut ByteRecord) -> Result<Option<usize>, (usize, String)> {
        let after = self.reader.position().byte() as usize;
        let more = self.reader.read_byte_record(record).map_err(|error| (after, error.to_string()))?;
        let mut rest = &self.text[after..];
        // The reader stops between the two bytes of an end.
        if after > 0 && self.text[after - 1] == b'\r' {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        self.empty_before = 0;
        while let Some(next) = without_end(rest) {
            self.empty_before += 1;
            rest = next;
        }
        let start = self.text.len() - rest.len();
        let is_last = more && self.reader.position().byte() as usize == self.text.len();
        if is_last
            && self.dialect.quotes
            && let Some(open) = unclosed(rest, self.dialect.delimiter)
        {
            let reason = "a cell begins with a quote that nothing closes; close it, or write a quote that belongs to \
                          the text as \"\" within a cell in quotes";
            return Err((start + open, reason.to_owned()));
        }
        Ok(more.then_some(start))
    }
}

/// The place of a quote that opens a cell of a record and is not closed.
fn unclosed(record: &[u8], delimiter: u8) -> Option<usize> {
    let (mut opened, mut closed) = (None, None);
    for (at, &byte) in record.iter().enumerate() {
        let starts = at == 0 || record[at - 1] == delimiter;
        match (opened, closed) {
            (None, _) if byte == b'"' && starts => opened = Some(at),
            // What closed the cell was the first of two quotes, which stand for one.
            (Some(_), Some(end)) if byte == b'"' && end + 1 == at => closed = None,
            (Some(_), Some(_)) if byte == delimiter => (opened, closed) = (None, None),
            (Some(_), None) if byte == b'"' => closed = Some(at),
            _ => {}
        }
    }
    opened.filter(|_| closed.is_none())
}
