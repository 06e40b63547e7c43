//! Sizes of AWS classes: within a family they cost as much as they have of `large`.
//!
//! This is how AWS prices the families below; it is written once here instead of in hundreds of
//! rows. Families that do not follow it (GPUs, storage) have a row for every size, and a row of the
//! very size always goes first.

use slipway_domain::cost::Amount;

/// EC2 families whose sizes follow the rule.
const FAMILIES: &[&str] = &[
    "c4", "c5", "c5a", "c6a", "c6g", "c6i", "c7g", "c7i", "i3", "i4i", "m4", "m5", "m5a", "m5d",
    "m6a", "m6g", "m6i", "m7g", "m7i", "r4", "r5", "r5a", "r6a", "r6g", "r6i", "r7g", "r7i", "t3",
    "t3a", "t4g",
];

/// Where EC2's bare metal is as large as which size.
const METAL: &[(&str, u32)] = &[
    ("c5", 48),
    ("c6g", 32),
    ("c6i", 64),
    ("c7g", 32),
    ("i3", 32),
    ("m5", 48),
    ("m5d", 48),
    ("m6g", 32),
    ("m6i", 64),
    ("m7g", 32),
    ("r5", 48),
    ("r6g", 32),
    ("r6i", 64),
    ("r7g", 32),
];

/// Sizes as parts of `large`.
pub(crate) struct Size;

impl Size {
    /// How many `large` a size is.
    fn factor(family: &str, size: &str) -> Option<Amount> {
        let sixteenths = match size {
            "nano" => 1,
            "micro" => 2,
            "small" => 4,
            "medium" => 8,
            "large" => 16,
            "metal" => METAL.iter().find(|(name, _)| *name == family)?.1 * 16,
            other => {
                let times = other.strip_suffix("xlarge")?;
                let times: u32 = if times.is_empty() { 1 } else { times.parse().ok()? };
                if !(1..=64).contains(&times) {
                    return None;
                }
                times * 32
            }
        };
        Amount::whole(sixteenths).by(Amount::whole(16))
    }

    /// For `…/m5.4xlarge`, the key of the family's `large` and how many of it that is.
    ///
    /// A class is the last part of a key: `m5.4xlarge`, `db.m5.4xlarge`, `cache.m5.4xlarge`,
    /// `m5.4xlarge.search`.
    pub(crate) fn of_key(key: &str) -> Option<(String, Amount)> {
        let (front, class) = key.rsplit_once('/')?;
        let (prefix, rest) = ["db.", "cache.", "kafka.", "mq."]
            .iter()
            .find_map(|p| class.strip_prefix(p).map(|rest| (*p, rest)))
            .unwrap_or(("", class));
        let (bare, suffix) =
            rest.strip_suffix(".search").map_or((rest, ""), |bare| (bare, ".search"));
        let (family, size) = bare.split_once('.')?;
        if !FAMILIES.contains(&family) || size == "large" {
            return None;
        }
        // Of managed services only what is known to follow the rule: their small sizes do not.
        let managed = !prefix.is_empty() || !suffix.is_empty();
        if managed && !size.ends_with("xlarge") && !(prefix == "db." && family == "t3") {
            return None;
        }
        let factor = Self::factor(family, size)?;
        Some((format!("{front}/{prefix}{family}.large{suffix}"), factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_of_large() {
        for (key, large, factor) in [
            ("ec2/linux/t3.nano", "ec2/linux/t3.large", "0.0625"),
            ("ec2/linux/m5.xlarge", "ec2/linux/m5.large", "2"),
            ("ec2/linux/m5.24xlarge", "ec2/linux/m5.large", "48"),
            ("ec2/linux/m5.metal", "ec2/linux/m5.large", "48"),
            ("rds/mysql/multi/db.r5.2xlarge", "rds/mysql/multi/db.r5.large", "4"),
            ("opensearch/m5.xlarge.search", "opensearch/m5.large.search", "2"),
        ] {
            assert_eq!(
                Size::of_key(key),
                Some((large.to_owned(), Amount::parse(factor).unwrap())),
                "{key}"
            );
        }
        for key in [
            "ec2/linux/m5.large",
            "ec2/linux/g4dn.xlarge",
            "ec2/linux/m5.0xlarge",
            "ec2/linux/m5.1000xlarge",
            "ec2/linux/t3.metal",
            "ec2/linux/m5.big",
            "elasticache/cache.t4g.micro",
            "nat/hour",
            "m5.xlarge",
        ] {
            assert_eq!(Size::of_key(key), None, "{key}");
        }
    }
}
