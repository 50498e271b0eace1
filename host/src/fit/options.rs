//! Values of options of a fit in closed form.

use std::ops::RangeInclusive;

use super::FitError;

/// The number, if it is in `range`; none is the default.
pub(super) fn number(
    key: &'static str,
    value: Option<f32>,
    default: f32,
    range: RangeInclusive<f32>,
    wanted: &'static str,
) -> Result<f32, FitError> {
    match value.unwrap_or(default) {
        value if range.contains(&value) => Ok(value),
        value => Err(FitError::Option { key, value: value.to_string(), wanted }),
    }
}

/// The count, if it is above 0; none is the default.
pub(super) fn count(key: &'static str, value: Option<usize>, default: usize) -> Result<usize, FitError> {
    match value.unwrap_or(default) {
        0 => Err(FitError::Option { key, value: "0".to_owned(), wanted: "a whole number above 0" }),
        value => Ok(value),
    }
}

/// The strength of a regularisation.
pub(super) fn rho(value: Option<f32>, default: f32) -> Result<f32, FitError> {
    number("rho", value, default, 1e-9..=1e6, "a number above 0 and at most a million")
}
