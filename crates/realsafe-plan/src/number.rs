//! Numbers as specs write them: kept exact where they are rational.

use std::fmt;
use std::str::FromStr;

/// A finite number together with its canonical spelling, so that `"8/255"` stays `8/255` in keys and reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    value: f64,
    text: String,
}

impl Number {
    /// The number as a float.
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// The canonical spelling: a reduced fraction, or the shortest decimal that reads back the same. Of a radius, it is in
    /// the unit of its threat model.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number as it is spelled: [`Number::value`], but for radii in a unit of their own.
    pub fn written(&self) -> f64 {
        self.text.parse::<Self>().map_or(self.value, |written| written.value)
    }

    /// The number times a factor, spelled as before.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { value: factor * self.value, ..self }
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self { value, text: format!("{value}") }
    }
}

impl FromStr for Number {
    type Err = String;

    /// Reads a decimal (`0.3`, `1e-4`) or a fraction of two decimals (`8/255`, `0.5/255`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed =
            || format!("`{text}` is not a number; write a decimal such as 0.03 or a fraction such as \"8/255\"");
        let decimal =
            |part: &str| part.trim().parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(malformed);
        let Some((above, below)) = text.split_once('/') else {
            return decimal(text).map(Self::from);
        };
        let (above, below) = (decimal(above)?, decimal(below)?);
        if below == 0.0 {
            return Err(format!("`{text}` divides by zero"));
        }
        let value = above / below;
        if !value.is_finite() {
            return Err(malformed());
        }
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: whole floats up to here are exact
        let (mut above, mut below) = (above, below);
        while (above.fract() != 0.0 || below.fract() != 0.0) && above.abs() < EXACT && below.abs() < EXACT {
            (above, below) = (10.0 * above, 10.0 * below);
        }
        if above.abs() > EXACT || below.abs() > EXACT {
            return Ok(Self::from(value));
        }
        let divisor = greatest_common_divisor(above.abs() as u64, below.abs() as u64) as f64 * below.signum();
        let (above, below) = (above / divisor, below / divisor);
        if above / below != value {
            return Ok(Self::from(value));
        }
        let text = if below == 1.0 { format!("{above}") } else { format!("{above}/{below}") };
        Ok(Self { value, text })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_reduced_and_kept() {
        for (text, canonical, value) in [
            ("8/255", "8/255", 8.0 / 255.0),
            ("16/510", "8/255", 8.0 / 255.0),
            ("4/2", "2", 2.0),
            ("0.3", "0.3", 0.3),
            ("1/-3", "-1/3", -1.0 / 3.0),
            ("0.5/255", "1/510", 0.5 / 255.0),
            ("1.5/255", "1/170", 1.5 / 255.0),
        ] {
            let number: Number = text.parse().unwrap();
            assert_eq!((number.text(), number.value()), (canonical, value), "{text}");
        }
    }

    #[test]
    fn the_text_gives_the_value_again() {
        for text in ["0.07/3", "1e-300/0.7", "1e307/0.12345", "5e-324/3", "0.1/0.3", "1234567.891/0.007"] {
            let number: Number = text.parse().unwrap();
            assert_eq!(number.text().parse::<Number>().unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_scaled_keeps_its_spelling() {
        let radius = "0.05".parse::<Number>().unwrap().scaled(3072.0_f64.sqrt());
        assert_eq!((radius.text(), radius.written()), ("0.05", 0.05));
        assert!((radius.value() - 2.771_281).abs() < 1e-6);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "8/", "/255", "8/0", "inf", "NaN", "eight", "1e300/1e-300"] {
            assert!(text.parse::<Number>().is_err(), "{text}");
        }
    }
}
