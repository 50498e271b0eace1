//! The product on a GPU's matrix units (`cooperative.wgsl`).

/// A workgroup of it.
pub(crate) struct Cooperative;

impl Cooperative {
    /// Rows and columns that a workgroup computes.
    pub(super) const SIDE: usize = 128;

    /// Bytes of its memory: two tiles of 1280 x 4 f16, and 1536 f32.
    pub(crate) const WORKGROUP_BYTES: u32 = 2 * 1280 * 8 + 1536 * 4;

    /// The most threads that it has work for.
    pub(crate) const MOST_THREADS: u32 = 1024;

    /// The threads of it: each subgroup, of `subgroup` threads, has four by four fragments of this side.
    pub(crate) fn threads(fragment: u32, subgroup: u32) -> u32 {
        let across = Self::SIDE as u32 / (4 * fragment);
        across * across * subgroup
    }

    /// The source for fragments of this side, 8 or 16, and its entry point.
    pub(super) fn source(fragment: u32) -> (&'static str, &'static str) {
        macro_rules! source {
            ($fragment:literal) => {
                concat!(include_str!($fragment), include_str!("cooperative.wgsl"), include_str!("../half.wgsl"))
            };
        }
        match fragment {
            16 => (source!("fragment_16.wgsl"), "matmul_cooperative_16"),
            _ => (source!("fragment_8.wgsl"), "matmul_cooperative_8"),
        }
    }
}
