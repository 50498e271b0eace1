//! The product on a GPU's matrix units (`cooperative.wgsl`): the side of a workgroup's square, its memory, its threads
//! and its source.

/// Rows and columns that a workgroup computes.
pub(super) const SIDE: usize = 128;

/// Bytes of a workgroup's memory: two tiles of 1280 x 4 f16, and 1536 f32.
pub(crate) const WORKGROUP_BYTES: u32 = 2 * 1280 * 8 + 1536 * 4;

/// The fewest and the most threads of a workgroup that load its tiles as the shader does.
pub(crate) const THREADS: [u32; 2] = [128, 1024];

/// The threads of a workgroup: each subgroup, of `subgroup` threads, has four by four fragments of this side.
pub(crate) fn threads(fragment: u32, subgroup: u32) -> u32 {
    let across = SIDE as u32 / (4 * fragment);
    across * across * subgroup
}

/// The source for fragments of this side, 8 or 16, and its entry point.
pub(super) fn source(fragment: u32) -> (&'static str, &'static str) {
    macro_rules! source {
        ($fragment:literal) => {
            concat!(
                include_str!($fragment),
                include_str!("fragment.wgsl"),
                include_str!("cooperative.wgsl"),
                include_str!("params.wgsl"),
                include_str!("../half.wgsl")
            )
        };
    }
    let source = if fragment == 16 { source!("fragment_16.wgsl") } else { source!("fragment_8.wgsl") };
    (source, "matmul_cooperative")
}
