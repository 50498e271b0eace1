//! Conditions on metadata: `price<20`, `kind = 'photo' and year >= 1990`, `caption ~ flower or caption ~ "a tree"`.
//!
//! A condition is a column, one of `=  !=  <  <=  >  >=  ~`, and a value; `and` binds closer than `or`. Names and
//! values stand as they are, or in either quotes, doubled within. `id` is the id, unless a column is called that. Two
//! numbers are compared as numbers, two texts (and what is in quotes) as text; a number and a text are unequal, and
//! neither is less. An id is a name: it equals only what is written the same. `~` looks for the value in the column's
//! text, whatever the case. Null equals only `null`, and is neither less nor greater than anything.

mod cell;
mod condition;
mod number;

use smallvec::SmallVec;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::str::FromStr;

use cell::Cell;
use condition::{Condition, OPERATORS, Operand, Operator};
use number::Number;

use crate::wording::beginning;

/// Characters of a filter that an error shows.
const SHOWN: usize = 80;

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter `{text}` needs {wanted} {place}; write it like `price<20` or `kind = 'photo' and year >= 1990`")]
pub struct FilterError {
    text: String,
    wanted: &'static str,
    place: String,
}

/// Conditions on the metadata of items.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Alternatives, of which one must hold with all of its conditions.
    any: Vec<Vec<Condition>>,
}

/// A filter whose columns have been found.
pub(crate) struct Bound<'a> {
    /// The columns, each once.
    fields: Vec<usize>,
    /// Conditions, each with the place of its column in `fields`.
    any: Vec<Vec<(usize, &'a Condition)>>,
    /// The column whose cells are names.
    names: Option<usize>,
}

impl Filter {
    /// The number of its conditions, each of which may be tested on every item.
    pub fn conditions(&self) -> usize {
        self.any.iter().map(Vec::len).sum()
    }

    /// The columns that it is about; one may be named several times.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.any.iter().flatten().map(|condition| condition.column.as_str())
    }

    /// The filter where `field` gives each column its number, or the name of a column that has none.
    pub(crate) fn of(&self, field: impl Fn(&str) -> Option<usize>) -> Result<Bound<'_>, &str> {
        let (mut fields, mut any) = (Vec::new(), Vec::with_capacity(self.any.len()));
        for all in &self.any {
            let mut found = Vec::with_capacity(all.len());
            for one in all {
                let field = field(&one.column).ok_or(one.column.as_str())?;
                let place = fields.iter().position(|other| *other == field).unwrap_or_else(|| {
                    fields.push(field);
                    fields.len() - 1
                });
                found.push((place, one));
            }
            any.push(found);
        }
        Ok(Bound { fields, any, names: None })
    }
}

impl Bound<'_> {
    /// It with names in a column, as ids are: `7` and `007` are two.
    pub(crate) fn with_names(self, column: usize) -> Self {
        Self { names: Some(column), ..self }
    }

    /// True if the filter keeps a row, whose cells are the texts of numbered columns; none for null.
    pub(crate) fn keeps<'a, E>(&self, cell: impl Fn(usize) -> Result<Option<Cow<'a, str>>, E>) -> Result<bool, E> {
        // Each is read once, if it is.
        let cells: SmallVec<[OnceCell<Cell<'_>>; 4]> = self.fields.iter().map(|_| OnceCell::new()).collect();
        'any: for all in &self.any {
            for (place, condition) in all {
                let (field, known) = (self.fields[*place], &cells[*place]);
                let cell = match known.get() {
                    Some(cell) => cell,
                    None => {
                        let read = Cell::new(cell(field)?, self.names == Some(field));
                        known.get_or_init(|| read)
                    }
                };
                if !condition.holds(cell) {
                    continue 'any;
                }
            }
            return Ok(true);
        }
        Ok(false)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut reader = Reader { text, rest: text.trim_start() };
        let mut any = vec![vec![reader.condition()?]];
        while !reader.rest.is_empty() {
            if reader.takes_word("or") {
                any.push(Vec::new());
            } else if !reader.takes_word("and") {
                return Err(reader.lacks("`and` or `or`"));
            }
            let condition = reader.condition()?;
            any.last_mut().expect("it has one from the start").push(condition);
        }
        Ok(Self { any })
    }
}

/// The text of a filter, and its unread rest.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn condition(&mut self) -> Result<Condition, FilterError> {
        if self.rest.starts_with('(') {
            return Err(self.lacks("a column, not a parenthesis (`and` binds closer than `or`),"));
        }
        let (column, _) = self.name(|c| c.is_whitespace() || "=!<>~'\"".contains(c), "a column")?;
        let found = OPERATORS.iter().find(|(operator, _)| self.rest.starts_with(operator));
        let (sign, operator) = *found.ok_or_else(|| self.lacks("one of = != < <= > >= ~"))?;
        if self.rest[sign.len()..].starts_with(['<', '>', '=', '~']) {
            return Err(self.lacks("one of = != < <= > >= ~, or quotes around the value,"));
        }
        self.skip(sign.len());
        let (written, quoted) = self.name(char::is_whitespace, "a value")?;
        if operator == Operator::Contains && (quoted || written != "null") {
            return Ok(Condition { column, operator, value: Operand::Part(written.to_lowercase()) });
        }
        let number = Number::of(&written);
        if !quoted && number.is_none() && written.parse::<f64>().is_ok_and(f64::is_infinite) && is_digits(&written) {
            let place = format!("at `{}`", beginning(&written, SHOWN));
            return Err(self.error("a number that f64 can hold, or quotes around it,", place));
        }
        let value = match number {
            _ if quoted => Operand::Text(written),
            Some(number) => Operand::Number { written, number },
            None if written == "null" => Operand::Null,
            None => Operand::Text(written),
        };
        Ok(Condition { column, operator, value })
    }

    /// A name or value that ends where `ends` says, or is in quotes; true if it was in quotes.
    fn name(&mut self, ends: impl Fn(char) -> bool, wanted: &'static str) -> Result<(String, bool), FilterError> {
        let Some(quote) = self.rest.chars().next().filter(|c| "'\"".contains(*c)) else {
            let name = &self.rest[..self.rest.find(ends).unwrap_or(self.rest.len())];
            if name.is_empty() {
                return Err(self.lacks(wanted));
            }
            self.skip(name.len());
            return Ok((name.to_owned(), false));
        };
        let (mut name, mut rest) = (String::new(), &self.rest[1..]);
        loop {
            let end = rest.find(quote).ok_or_else(|| self.lacks("a closing quote for what begins"))?;
            name.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            // A quote that is doubled is one of the name.
            let Some(more) = rest.strip_prefix(quote) else { break };
            name.push(quote);
            rest = more;
        }
        self.skip(self.rest.len() - rest.len());
        Ok((name, true))
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let is_it = self.rest[..end].eq_ignore_ascii_case(word);
        if is_it {
            self.skip(end);
        }
        is_it
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn lacks(&self, wanted: &'static str) -> FilterError {
        let place = match self.rest.is_empty() {
            true => "at the end".to_owned(),
            false => format!("at `{}`", beginning(self.rest, SHOWN)),
        };
        self.error(wanted, place)
    }

    fn error(&self, wanted: &'static str, place: String) -> FilterError {
        FilterError { text: beginning(self.text, SHOWN).into_owned(), wanted, place }
    }
}

/// True for what is written as numbers are, unlike `inf`.
fn is_digits(text: &str) -> bool {
    text.trim_start_matches(['-', '+']).starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True if a filter on the column `c` keeps a cell; none is null.
    fn keeps(filter: &str, cell: Option<&str>) -> bool {
        let filter: Filter = filter.parse().unwrap();
        let bound = filter.of(|name| (name == "c").then_some(0)).unwrap();
        bound.keeps(|_| Ok::<_, ()>(cell.map(Cow::from))).unwrap()
    }

    #[test]
    fn numbers_compare_as_numbers_and_all_else_as_text() {
        for (filter, yes, no) in [
            ("c<20", "3", "20"),
            ("c < 20.5", "20", "21"),
            ("c<=-1e3", "-1000", "-999.5"),
            ("c = 20", "20.0", "20.1"),
            ("c = -0.0", "0", "1"),
            ("c == 9007199254740993", "9007199254740993", "9007199254740992"),
            ("c != 20", "x", "2e1"),
            ("c > '3'", "4", "20"),
            ("c='20'", "20", "20.0"),
            ("c >= 2020-05-01", "2020-10-01", "2019-12-31"),
            ("c < nan", "inf", "z"),
            ("c < 20", "3", "a"),
            ("c >= 20", "20", "x"),
            ("c > cheap", "dear", "12"),
            ("c <= '<10'", "<10", "<11"),
            ("c ~ flower", "Sunflowers", "tree"),
            ("c ~ 'GRÜN, '", "so grün, so", "grün"),
            ("c ~ 2", "12", "13"),
            ("'c' = \"it's\"", "it's", "its"),
            ("c = 'it''s'", "it's", "it''s"),
            ("c > 1 AND c < 5", "2", "5"),
            ("c < 1 or c > 5 and c != 7", "0", "7"),
            ("c < 1 or c > 5 and c != 7", "6", "3"),
            ("c != null", "null", "\u{0}"),
        ] {
            assert!(keeps(filter, Some(yes)), "{filter} keeps {yes}");
            assert!(!keeps(filter, Some(no)) || filter == "c != null", "{filter} leaves out {no}");
        }
    }

    #[test]
    fn null_equals_only_null() {
        for (filter, null) in [("c = null", true), ("c != null", false), ("c = 'null'", false), ("c != 1", true)] {
            assert_eq!(keeps(filter, None), null, "{filter}");
        }
        assert!(["c < 1", "c >= 1", "c ~ ''", "c <= null"].iter().all(|filter| !keeps(filter, None)));
        assert!(keeps("c != null", Some("1")) && !keeps("c = null", Some("null")));
    }

    #[test]
    fn what_does_not_read_says_what_is_missing() {
        for (filter, words) in [
            ("", "a column at the end"),
            ("price", "one of = != < <= > >= ~ at the end"),
            ("price < ", "a value at the end"),
            ("< 3", "a column at `< 3`"),
            ("(a = b)", "not a parenthesis"),
            ("a <> b", "or quotes around the value, at `<> b`"),
            ("a => 3", "or quotes around the value, at `=> 3`"),
            ("a=<3", "or quotes around the value, at `=<3`"),
            ("a ! b", "~ at `! b`"),
            ("a = b c = d", "`and` or `or` at `c = d`"),
            ("a = b and", "a column at the end"),
            ("a = 'b", "a closing quote for what begins at `'b`"),
        ] {
            let message = filter.parse::<Filter>().unwrap_err().to_string();
            assert!(message.contains(words) && message.contains("price<20"), "{message}");
        }
        let long = format!("a = b {}", "ü".repeat(10_000)).parse::<Filter>().unwrap_err().to_string();
        assert!(long.contains("needs `and` or `or` at `üü") && long.chars().count() < 400, "{long}");
    }

    #[test]
    fn a_cell_is_read_once_for_all_conditions() {
        let filter: Filter = "c = 1 or c = 2 or d = 3 and c < 9 or e = 1".parse().unwrap();
        assert_eq!(filter.conditions(), 5);
        let bound = filter.of(|name| ["c", "d", "e"].iter().position(|column| *column == name)).unwrap();
        let read = std::cell::RefCell::new(Vec::new());
        let cell = |field: usize| {
            read.borrow_mut().push(field);
            Ok::<_, ()>([Some("7"), Some("3"), None][field].map(Cow::from))
        };
        assert_eq!(bound.keeps(cell), Ok(true));
        assert_eq!(read.take(), [0, 1], "`e` was not needed");
        assert_eq!(bound.keeps(|field| if field == 1 { Err("cut") } else { Ok(None) }), Err("cut"));
    }

    #[test]
    fn a_column_that_is_not_there_is_named() {
        let field = |name: &str| ["price", "kind"].iter().position(|column| *column == name);
        let filter: Filter = "kind = 1 and prize < 3".parse().unwrap();
        assert_eq!(filter.of(field).err(), Some("prize"));
        let filter: Filter = "kind = 1 or price = 2".parse().unwrap();
        let cells = |price: &'static str| {
            let bound = filter.of(field).unwrap();
            bound.keeps(|field| Ok::<_, ()>([Some(price), None][field].map(Cow::from)))
        };
        assert_eq!([cells("2"), cells("3")], [Ok(true), Ok(false)]);
    }

    #[test]
    fn a_name_equals_what_is_written_the_same() {
        for (filter, name, kept) in [
            ("price = 7", "7", true),
            ("price = 7", "007", false),
            ("price != 7", "7.0", true),
            ("price = '007'", "007", true),
            ("price < 8", "007", true),
            ("price != null", "7", true),
        ] {
            let filter: Filter = filter.parse().unwrap();
            let bound = filter.of(|name| (name == "price").then_some(0)).unwrap().with_names(0);
            assert_eq!(bound.keeps(|_| Ok::<_, ()>(Some(name.into()))), Ok(kept), "{filter:?} {name}");
        }
    }
}
