//! Adapters by kind and size.

/// The kind of a tower's adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// An MLP.
    Mlp,
    /// A Linear.
    Linear,
    /// Nothing: the shared space is the tower's own.
    Identity,
}

/// Dimensions of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: AdapterKind,
    /// The width of the latents.
    pub(crate) width: usize,
    /// The width inside a block of an MLP.
    pub(crate) inner: usize,
    /// The blocks of an MLP.
    pub(crate) blocks: usize,
    /// The width of the shared space.
    pub(crate) shared: usize,
    /// True if its Linears have biases.
    pub(crate) bias: bool,
}

impl Shape {
    /// Values of its parameters.
    pub(crate) fn values(self) -> u64 {
        let [width, inner, blocks, shared] = [self.width, self.inner, self.blocks, self.shared].map(|size| size as u64);
        let head = width * shared + shared;
        match self.kind {
            AdapterKind::Mlp => blocks.saturating_mul(2 * width * inner + inner + 3 * width) + 2 * width + head,
            AdapterKind::Linear => head,
            AdapterKind::Identity => 0,
        }
    }
}
