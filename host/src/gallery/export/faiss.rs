//! The header of a flat index of faiss by inner product (`IndexFlatIP`), as `faiss.write_index` writes it.

/// faiss's name of the type.
const FLAT_INNER_PRODUCT: &[u8; 4] = b"IxFI";
/// A field of the header that no version uses, twice.
const UNUSED: i64 = 1 << 20;
/// `METRIC_INNER_PRODUCT`.
const INNER_PRODUCT: i32 = 0;

/// All that is before the values: type, width, rows, two unused fields, "is trained", metric, values that follow.
pub(super) fn header(rows: usize, width: usize) -> Vec<u8> {
    let mut header = FLAT_INNER_PRODUCT.to_vec();
    header.extend((width as i32).to_le_bytes());
    header.extend((rows as i64).to_le_bytes());
    header.extend([UNUSED; 2].map(i64::to_le_bytes).concat());
    header.push(1);
    header.extend(INNER_PRODUCT.to_le_bytes());
    header.extend(((rows * width) as u64).to_le_bytes());
    header
}
