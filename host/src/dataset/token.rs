//! Flickr's token files: `NAME.jpg#N`, a tab, and a caption, without a header.

use std::path::Path;

use super::draft::Draft;
use super::error::DataError;
use super::table::Table;
use super::text::Text;
use super::wanted::Wanted;

/// True if the first line of a text has this form.
pub(super) fn is_token(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').next().is_some_and(|line| split(line).is_some())
}

/// The file, the number and the caption of a line.
fn split(line: &[u8]) -> Option<[&[u8]; 3]> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (name, caption) = (&line[..tab], line[tab + 1..].trim_ascii());
    let sign = name.iter().rposition(|byte| *byte == b'#')?;
    let (file, number) = (&name[..sign], &name[sign + 1..]);
    let is_number = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    (is_number && !file.is_empty() && !caption.is_empty()).then_some([file, number, caption])
}

/// Reads the whole of `path`: file, caption, number.
pub(super) fn read(path: &Path, wanted: &Wanted) -> Result<Table, DataError> {
    let text = Text::open(path)?;
    let mut draft = Draft::new(path, "Flickr token file", wanted);
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match split(line) {
            Some([file, nth, caption]) => {
                draft.set("file", file);
                draft.set("caption", caption);
                draft.set("number", nth);
                draft.end_row();
            }
            None => draft.end_broken_line(number, "this is not `NAME#N`, a tab, and a caption".to_owned()),
        }
    }
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_captions_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.token");
        let mut lines: Vec<String> =
            (0..20).map(|row| format!("{}.jpg#{}\tA dog #{row} .", row / 5, row % 5)).collect();
        lines[7] = "1.jpg#2 no tab".to_owned();
        std::fs::write(&path, lines.join("\r\n")).unwrap();
        let table = read(&path, &Wanted::ALL).unwrap();
        assert_eq!(table.column("file").unwrap().text(19).unwrap(), "3.jpg");
        assert_eq!(table.column("caption").unwrap().text(3).unwrap(), "A dog #3 .");
        assert_eq!(table.broken().keys().copied().collect::<Vec<_>>(), [7]);
        assert!(is_token(b"a.jpg#0\tx\n") && !is_token(b"a#b\tx\n") && !is_token(b"file\tcaption\n"));
    }
}
