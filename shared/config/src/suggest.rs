//! "Did you mean": the known name that is nearest to one that is not known.

/// The nearest of `known` to `given`, if any is near: the same last part elsewhere (`listen` for
/// `api.listen`), or a slip of the fingers. Parts are divided by `divider`.
pub(crate) fn nearest<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k str>,
    divider: char,
) -> Option<&'k str> {
    let given = given.to_lowercase();
    let last_part = given.rsplit(divider).next().unwrap_or(&given);
    // One slip in four letters, three at most.
    let slips = (given.len() / 4).clamp(1, 3);
    known
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&given, &lower);
            let elsewhere = lower
                .strip_suffix(last_part)
                .is_some_and(|head| last_part.len() >= 3 && head.ends_with(divider));
            // A slip is the better guess of the two.
            let rank = if distance <= slips { distance } else { 100 + distance };
            (distance <= slips || elsewhere).then_some((rank, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// The end of a sentence about an unknown name.
pub(crate) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] =
        ["api.listen", "database.url", "queue.url", "worker.lease_s", "jobs.plan.soft_limit_s"];

    fn of(given: &str) -> Option<&'static str> {
        nearest(given, KNOWN, '.')
    }

    #[test]
    fn finds_slips_and_keys_of_other_sections() {
        assert_eq!(of("api.lisen"), Some("api.listen"));
        assert_eq!(of("api.listne"), Some("api.listen"));
        assert_eq!(of("API.LISTEN"), Some("api.listen"));
        assert_eq!(of("listen"), Some("api.listen"));
        assert_eq!(of("worker.soft_limit_s"), Some("jobs.plan.soft_limit_s"));
        assert_eq!(of("queue.uri"), Some("queue.url"));
        assert_eq!(of("something.else"), None);
        assert_eq!(
            nearest("SLIPWAY_LISTEN", ["SLIPWAY_API_LISTEN"], '_'),
            Some("SLIPWAY_API_LISTEN")
        );
    }
}
