//! A cell of metadata, with what conditions make of it.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::number::Number;

/// A cell of metadata; its forms are made once, however many conditions ask for them.
pub(super) struct Cell<'a> {
    /// None for null.
    text: Option<Cow<'a, str>>,
    /// True if it equals only what is written the same.
    pub(super) is_name: bool,
    number: OnceCell<Option<Number>>,
    lower_case: OnceCell<String>,
}

impl<'a> Cell<'a> {
    pub(super) fn new(text: Option<Cow<'a, str>>, is_name: bool) -> Self {
        Self { text, is_name, number: OnceCell::new(), lower_case: OnceCell::new() }
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Its number; none if it is a text or null.
    pub(super) fn number(&self) -> Option<Number> {
        *self.number.get_or_init(|| self.text().and_then(Number::of))
    }

    /// Its text in lower case.
    pub(super) fn lower_case(&self) -> &str {
        self.lower_case.get_or_init(|| self.text().unwrap_or_default().to_lowercase())
    }
}
