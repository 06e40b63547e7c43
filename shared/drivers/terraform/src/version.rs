//! Version constraints, as `required_version` has them. What cannot be read constrains nothing
//! here: the tool has the last word.

/// Whether a version fits `>= 1.5, < 2.0.0` and the like. A suffix (`-rc1`) does not count.
pub(crate) fn fits(version: &str, constraints: &str) -> bool {
    let Some((version, _)) = numbers(version) else { return true };
    constraints.split(',').all(|one| {
        let one = one.trim();
        let at = one.find(|c: char| c.is_ascii_digit() || c == 'v').unwrap_or(one.len());
        let (operator, wanted) = one.split_at(at);
        let Some((wanted, given)) = numbers(wanted) else { return true };
        match operator.trim() {
            "" | "=" => version == wanted,
            "!=" => version != wanted,
            ">" => version > wanted,
            ">=" => version >= wanted,
            "<" => version < wanted,
            "<=" => version <= wanted,
            "~>" => {
                // The last number that is given may grow.
                let kept = given.saturating_sub(1).max(1);
                version >= wanted && version.get(..kept) == wanted.get(..kept)
            }
            _ => true,
        }
    })
}

/// Its three numbers, and how many of them were given.
fn numbers(text: &str) -> Option<([u64; 3], usize)> {
    let core = text.trim().trim_start_matches('v').split(['-', '+']).next()?;
    let mut all = [0; 3];
    let mut given = 0;
    for part in core.split('.') {
        *all.get_mut(given)? = part.trim().parse().ok()?;
        given += 1;
    }
    Some((all, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_mean_what_they_mean_to_terraform() {
        for (constraints, fit) in [
            (">= 1.5, < 2.0.0", true),
            ("~> 1.11", true),
            ("~> 1.11.0", true),
            ("~> 1.10.0", false),
            ("~> 1.12", false),
            ("~> 1", true),
            ("~> 2", false),
            ("1.11.4", true),
            ("= v1.11.4", true),
            ("!= 1.11.4", false),
            ("> 1.11.4", false),
            ("<= 1.11.4", true),
            (">= 1.12", false),
            ("", true),
            ("nonsense", true),
        ] {
            assert_eq!(fits("1.11.4", constraints), fit, "{constraints}");
        }
        assert!(fits("1.12.6-dev", ">= 1.12.6"), "a build of one's own counts as what it says");
    }
}
