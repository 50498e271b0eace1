//! An item of a gallery, and the line of items.jsonl that holds it.

use serde_json::Value;
use std::borrow::Cow;

use super::GalleryError;

/// An item of a gallery: its id, and a value for each metadata column.
#[derive(Clone, Debug, PartialEq)]
pub struct Exhibit {
    /// Its identifier, unique in a gallery.
    pub id: String,
    /// Text, numbers, truth values or null, in the order of the gallery's columns.
    pub metadata: Vec<Value>,
}

impl Exhibit {
    /// Rejects an item that a gallery with these columns cannot hold.
    pub(super) fn verify(&self, columns: &[String]) -> Result<(), GalleryError> {
        if self.metadata.len() != columns.len() {
            let (count, columns) = (self.metadata.len(), columns.len());
            return Err(GalleryError::Columns { id: self.id.clone(), count, columns });
        }
        for (value, column) in self.metadata.iter().zip(columns) {
            let kind = match value {
                Value::Array(_) => "a list",
                Value::Object(_) => "an object",
                _ => continue,
            };
            return Err(GalleryError::Value { id: self.id.clone(), column: column.clone(), kind });
        }
        Ok(())
    }

    /// Appends its line: a JSON list, which has no line break within.
    pub(super) fn write(&self, line: &mut Vec<u8>) {
        let fields = [Value::from(self.id.as_str())];
        let fields: Vec<&Value> = fields.iter().chain(&self.metadata).collect();
        serde_json::to_writer(&mut *line, &fields).expect("memory takes all that is written");
        line.push(b'\n');
    }

    /// Parses the output of [`Exhibit::write`]; none if it is anything else.
    pub(super) fn read(line: &str, columns: usize) -> Option<Self> {
        let mut fields: Vec<Value> = serde_json::from_str(line).ok()?;
        let metadata = if fields.is_empty() { return None } else { fields.split_off(1) };
        let Some(Value::String(id)) = fields.pop() else { return None };
        (metadata.len() == columns).then_some(Self { id, metadata })
    }
}

/// Field `index` of a line as it is written, without parsing the others; 0 is the id.
pub(super) fn field(line: &str, index: usize) -> Option<&str> {
    let mut rest = line.strip_prefix('[')?;
    for _ in 0..index {
        rest = rest[length(rest)?..].strip_prefix(',')?;
    }
    Some(&rest[..length(rest)?])
}

/// Bytes of the text, number, truth value or null that `json` begins with.
fn length(json: &str) -> Option<usize> {
    if !json.starts_with('"') {
        return json.find([',', ']']).filter(|&length| length > 0);
    }
    let mut bytes = json.bytes().enumerate().skip(1);
    loop {
        match bytes.next()? {
            (at, b'"') => return Some(at + 1),
            (_, b'\\') => drop(bytes.next()?),
            _ => {}
        }
    }
}

/// The content of a text field; the JSON of any other.
pub(super) fn text(field: &str) -> Option<Cow<'_, str>> {
    match field.strip_prefix('"').and_then(|field| field.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(plain.into()),
        Some(_) => serde_json::from_str::<String>(field).ok().map(Cow::from),
        None => Some(field.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_read_back_whole_and_by_field() {
        let id = "a \"quoted\"\nid, with ] and \\ and ünïcode \u{1F33B}\u{2028}\\";
        let metadata = vec![json!("x,\"y]"), json!(-1.5), json!(null), json!(""), json!(true), json!(u64::MAX)];
        let exhibit = Exhibit { id: id.to_owned(), metadata };
        let mut line = Vec::new();
        exhibit.write(&mut line);
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(Exhibit::read(&line, 6).as_ref(), Some(&exhibit));
        assert_eq!(Exhibit::read(&line, 5), None);
        let texts: Vec<_> = (0..7).map(|index| text(field(&line, index).unwrap()).unwrap()).collect();
        assert_eq!(texts, [id, "x,\"y]", "-1.5", "null", "", "true", &u64::MAX.to_string()]);
        assert_eq!(field(&line, 7), None);
        for broken in ["", "\n", "[", "[]", "[\"a", "[\"a\\", "[,1]", "\"a\"", "[1]", "{}"] {
            assert_eq!(Exhibit::read(broken, 0), None, "{broken}");
            assert_eq!(field(broken, 1), None, "{broken}");
        }
    }
}
