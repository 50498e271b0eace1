//! A budget of time as people write it.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Seconds, written as "90s", "5m" or "1h".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Budget(pub f64);

impl Default for Budget {
    fn default() -> Self {
        Self(90.0)
    }
}

const UNITS: [(&str, f64); 3] = [("h", 3600.0), ("m", 60.0), ("s", 1.0)];

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
        let seconds = unit.and_then(|(number, seconds)| Some(number.trim().parse::<f64>().ok()? * seconds));
        let seconds = seconds.filter(|seconds| (1.0..=1e7).contains(seconds));
        Ok(Self(seconds.ok_or_else(|| format!("`{text}` is not a time; write it as \"90s\", \"5m\" or \"1h\""))?))
    }
}

impl TryFrom<String> for Budget {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Budget> for String {
    fn from(budget: Budget) -> Self {
        budget.to_string()
    }
}

impl Display for Budget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, seconds)| self.0 % seconds == 0.0).unwrap_or(&UNITS[2]);
        write!(f, "{}{}", self.0 / whole.1, whole.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, seconds) in [("90s", 90.0), ("5m", 300.0), ("1h", 3600.0), (" 1.5 m", 90.0)] {
            assert_eq!(text.parse(), Ok(Budget(seconds)));
        }
        for text in ["", "5", "m", "-5m", "0s", "inf s", "5 days"] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
        assert_eq!([90.0, 300.0, 3600.0].map(|seconds| Budget(seconds).to_string()), ["90s", "5m", "1h"]);
    }
}
