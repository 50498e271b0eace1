//! Adapters by kind and size.

/// The kind of a tower's adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// An MLP.
    Mlp,
    /// An MLP whose blocks are gated.
    Glu,
    /// A Linear.
    Linear,
    /// Nothing: the shared space is the tower's own.
    Identity,
}

impl AdapterKind {
    /// True if it has blocks.
    pub fn has_blocks(self) -> bool {
        matches!(self, Self::Mlp | Self::Glu)
    }
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
    /// The outputs of a block's first Linear: with a gate, twice the inner width.
    pub(crate) fn up(self) -> usize {
        if self.kind == AdapterKind::Glu { 2 * self.inner } else { self.inner }
    }

    /// The values of a row of the widest matrix in a pass.
    pub(crate) fn widest(self) -> usize {
        let inner = if self.kind.has_blocks() && self.blocks > 0 { self.up() } else { 0 };
        inner.max(self.width).max(self.shared)
    }

    /// Values of its parameters.
    pub(crate) fn values(self) -> u64 {
        let sizes = [self.width, self.inner, self.up(), self.blocks, self.shared];
        let [width, inner, up, blocks, shared] = sizes.map(|size| size as u64);
        let head = width * shared + shared;
        match self.kind {
            AdapterKind::Mlp | AdapterKind::Glu => {
                blocks.saturating_mul(width * (up + inner) + up + 3 * width) + 2 * width + head
            }
            AdapterKind::Linear => head,
            AdapterKind::Identity => 0,
        }
    }
}
