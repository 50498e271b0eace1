//! The wording of refusals of pictures.

use fusemix_sdk::ItemError;
use std::fmt::Display;

pub(crate) fn check_size(width: u32, height: u32, most: u64) -> Result<(), ItemError> {
    check_pixels(u64::from(width) * u64::from(height), most, &format!("{width}x{height} is")).map(|_| ())
}

/// An error for good: no other try changes the size. The limit is not part of the fingerprint, so a larger one needs to
/// be told to look again.
pub(crate) fn check_pixels(pixels: u64, most: u64, what: &str) -> Result<u64, ItemError> {
    if pixels <= most {
        return Ok(pixels);
    }
    Err(ItemError::new(format!(
        "{what} {pixels} pixels, more than `max_pixels = {most}`; shrink the picture, or raise the limit in \
         plugins.toml and encode with --retry-failed"
    )))
}

pub(crate) fn undecodable(error: impl Display) -> ItemError {
    ItemError::new(format!("cannot decode the picture: {}", one_line(error)))
}

/// The message as one line: some decoders' messages are lists.
pub(crate) fn one_line(error: impl Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
