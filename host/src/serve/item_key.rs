//! The key of a request under which its items stand.

/// The key, and what its value is.
#[derive(Clone, Copy)]
pub(super) enum ItemKey {
    /// One item.
    One(&'static str),
    /// A list of items.
    List(&'static str),
}

impl ItemKey {
    pub(super) fn name(self) -> &'static str {
        let (Self::One(name) | Self::List(name)) = self;
        name
    }

    /// How an error names an item.
    pub(super) fn place(self, index: usize) -> String {
        match self {
            Self::One(name) => name.to_owned(),
            Self::List(name) => format!("{name}[{index}]"),
        }
    }
}
