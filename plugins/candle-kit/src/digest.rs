//! Digests of weights, and of what is built from files.

use blake3::Hasher;
use fusemix_sdk::Error;
use std::path::Path;

/// The BLAKE3 digest, in hexadecimal, of the contents of `paths` one after the other.
pub fn digest<P: AsRef<Path>>(paths: &[P]) -> Result<String, Error> {
    let mut hasher = Hasher::new();
    for path in paths.iter().map(AsRef::as_ref) {
        hasher.update_mmap_rayon(path).map_err(|error| Error::config(format!("{}: {error}", path.display())))?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The BLAKE3 digest, in hexadecimal, of these bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
