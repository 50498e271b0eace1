//! Recognition of pictures in MP4 containers by their brands; none of them is decoded here.

/// "HEIC", "AVIF" or "HEIF"; None of other files.
pub(crate) fn format(file: &[u8]) -> Option<&'static str> {
    let (length, rest) = file.split_first_chunk()?;
    let rest = rest.strip_prefix(b"ftyp")?;
    let length = (u32::from_be_bytes(*length) as usize).saturating_sub(8).min(rest.len());
    // The major brand, its version, and the compatible brands: one that says how pixels are coded before one that does
    // not.
    let brands = || rest[..length].as_chunks().0.iter();
    let coded = brands().find_map(|brand| match brand {
        b"avif" | b"avis" => Some("AVIF"),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => Some("HEIC"),
        _ => None,
    });
    coded.or_else(|| brands().any(|brand| matches!(brand, b"mif1" | b"mif2" | b"msf1")).then_some("HEIF"))
}
