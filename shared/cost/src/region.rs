//! Where a resource is, as far as the plan says it.

use crate::book::Provider;
use crate::plan::{Plan, Resource};
use crate::value::View;

/// Whether a text has the form of a region. A provider's setting that is put together from parts is
/// followed to one of them, which must not be taken for a region.
fn is_region(provider: Provider, text: &str) -> bool {
    let plain = !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match provider {
        // `eu-west-1`, `us-gov-west-1`
        Provider::Aws => {
            plain && text.matches('-').count() >= 2 && text.ends_with(|c: char| c.is_ascii_digit())
        }
        // `us-central1`, and `us`, `eu`, `asia` of storage
        Provider::Gcp => {
            plain
                && (matches!(text, "us" | "eu" | "asia")
                    || (text.contains('-') && text.ends_with(|c: char| c.is_ascii_digit())))
        }
        Provider::Azure | Provider::Ncp => plain,
    }
}

/// A zone without its last part.
fn of_zone(provider: Provider, zone: &str) -> String {
    match provider {
        // `eu-west-1a`
        Provider::Aws => zone.trim_end_matches(|c: char| c.is_ascii_lowercase()).to_owned(),
        // `us-central1-a`, also at the end of a URL
        Provider::Gcp => {
            let zone = zone.rsplit('/').next().unwrap_or(zone);
            match zone.rsplit_once('-') {
                Some((region, letter)) if letter.len() == 1 => region.to_owned(),
                _ => zone.to_owned(),
            }
        }
        // `KR-1`
        Provider::Ncp => zone.split('-').next().unwrap_or(zone).to_owned(),
        Provider::Azure => zone.to_owned(),
    }
}

/// As the book writes it: `East US` is `eastus`, `US` is `us`.
fn plain(provider: Provider, region: &str) -> String {
    match provider {
        Provider::Azure => region.to_lowercase().replace(' ', ""),
        Provider::Gcp => region.rsplit('/').next().unwrap_or(region).to_lowercase(),
        Provider::Ncp => region.to_uppercase(),
        Provider::Aws => region.to_owned(),
    }
}

/// The region of a resource.
pub(crate) fn of(
    provider: Provider,
    plan: &Plan,
    resource: &Resource,
    view: View<'_>,
) -> Option<String> {
    let direct: &[&str] = match provider {
        Provider::Aws => &["region"],
        Provider::Gcp => &["region", "location"],
        Provider::Azure => &["location"],
        Provider::Ncp => &["region"],
    };
    let zones: &[&str] = match provider {
        Provider::Aws => &["availability_zone"],
        Provider::Gcp | Provider::Ncp => &["zone"],
        Provider::Azure => &[],
    };
    let good = |text: String| is_region(provider, &text).then_some(text);
    for name in direct {
        if let Some(text) = view.peek(name) {
            let text = plain(provider, text);
            let text = if provider == Provider::Gcp { of_zone(provider, &text) } else { text };
            if let Some(region) = good(text) {
                return Some(region);
            }
        } else if view.is_unknown(name) {
            // It is said, and not known yet: the provider's own must not be taken for it.
            return None;
        }
    }
    for name in zones {
        if let Some(text) = view.peek(name)
            && let Some(region) = good(plain(provider, &of_zone(provider, text)))
        {
            return Some(region);
        }
    }
    if provider == Provider::Aws
        && let Some(region) = view.peek("arn").and_then(|arn| arn.split(':').nth(3))
        && let Some(region) = good(region.to_owned())
    {
        return Some(region);
    }
    let (key, attribute) = match provider {
        Provider::Aws => ("aws", "region"),
        Provider::Gcp => ("google", "region"),
        Provider::Azure => return None,
        Provider::Ncp => ("ncloud", "region"),
    };
    plan.provider_text(resource, key, attribute)
        .or_else(|| {
            let zone = plan.provider_text(resource, key, "zone")?;
            Some(of_zone(provider, &zone))
        })
        .and_then(|text| good(plain(provider, &text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_lose_their_last_part_and_nonsense_is_no_region() {
        for (provider, zone, region) in [
            (Provider::Aws, "ap-northeast-2c", "ap-northeast-2"),
            (Provider::Gcp, "us-central1-a", "us-central1"),
            (Provider::Gcp, "us-central1", "us-central1"),
            (Provider::Ncp, "KR-2", "KR"),
        ] {
            assert_eq!(of_zone(provider, zone), region);
            assert!(is_region(provider, region));
        }
        assert_eq!(plain(Provider::Azure, "Korea Central"), "koreacentral");
        for (provider, text) in [
            (Provider::Aws, "production"),
            (Provider::Aws, "northeast-2"),
            (Provider::Aws, ""),
            (Provider::Gcp, "production"),
            (Provider::Azure, "a b"),
        ] {
            assert!(!is_region(provider, text), "{text}");
        }
    }
}
