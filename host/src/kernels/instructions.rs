//! The instructions that kernels use on this CPU.

use pulp::Arch;
use std::sync::LazyLock;

/// The environment variable that hides AVX-512, so that tests and measurements can do without it.
#[cfg(target_arch = "x86_64")]
const SWITCH: &str = "FUSEMIX_NO_AVX512";

/// True if an environment variable is there, and neither empty nor 0.
pub(crate) fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}

/// True if this CPU has AVX-512, and nobody hides it.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_avx512() -> bool {
    static FOUND: LazyLock<bool> = LazyLock::new(|| is_x86_feature_detected!("avx512f") && !is_set(SWITCH));
    *FOUND
}

/// Asks for the memory of an element that is read soon, which may lie beyond the slice.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it reads nothing that the program sees, and where no memory is it does nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

/// The instructions of kernels whose loops the compiler vectorises.
#[inline]
pub(crate) fn arch() -> Arch {
    static ARCH: LazyLock<Arch> = LazyLock::new(|| {
        #[cfg(target_arch = "x86_64")]
        if !has_avx512() {
            return pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3);
        }
        Arch::new()
    });
    *ARCH
}
