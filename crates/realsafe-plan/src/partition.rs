//! Cutting a plan into disjoint parts, for several machines.

use std::fmt;
use std::str::FromStr;

use crate::Key;

/// One of `n` parts of a plan: `slice:i/n` deals the cells out in turn, `hash:i/n` goes by their keys and so is
/// stable when the plan changes. Parts are numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    rule: Rule,
    part: u64,
    parts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Slice,
    Hash,
}

impl Partition {
    /// Whether the cell at this index of the plan belongs to the part.
    pub fn keeps(&self, index: usize, key: &Key) -> bool {
        let number = match self.rule {
            Rule::Slice => index as u64,
            // The first 60 bits of a digest are as good as all.
            Rule::Hash => key
                .as_str()
                .chars()
                .take(15)
                .fold(0, |sum, digit| sum * 16 + u64::from(digit.to_digit(16).unwrap_or(0))),
        };
        number % self.parts == self.part - 1
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || format!("`{text}` is not a partition; write slice:1/4 or hash:1/4");
        let (rule, numbers) = text.split_once(':').ok_or_else(malformed)?;
        let rule = match rule {
            "slice" => Rule::Slice,
            "hash" => Rule::Hash,
            _ => return Err(malformed()),
        };
        let (part, parts) = numbers.split_once('/').ok_or_else(malformed)?;
        let part: u64 = part.parse().map_err(|_| malformed())?;
        let parts: u64 = parts.parse().map_err(|_| malformed())?;
        if part == 0 || part > parts {
            return Err(format!("`{text}` names no part; the parts of {parts} are numbered from 1 to {parts}"));
        }
        Ok(Self { rule, part, parts })
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.rule {
            Rule::Slice => "slice",
            Rule::Hash => "hash",
        };
        write!(formatter, "{rule}:{}/{}", self.part, self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_cell_is_in_exactly_one_part(parts in 1_u64..20, index in 0_usize..10_000, digits in "[0-9a-f]{64}") {
            let key = Key(digits);
            for rule in ["slice", "hash"] {
                let kept = (1..=parts).filter(|part| {
                    let partition: Partition = format!("{rule}:{part}/{parts}").parse().unwrap();
                    partition.keeps(index, &key)
                });
                prop_assert_eq!(kept.count(), 1);
            }
        }

        #[test]
        fn the_text_reads_back(part in 1_u64..9, more in 0_u64..9) {
            let text = format!("hash:{part}/{}", part + more);
            prop_assert_eq!(text.parse::<Partition>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "slice", "slice:1", "slice:0/3", "slice:4/3", "hash:a/b", "count:1/2", "slice:0/0"] {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
    }
}
