//! Comments that ask trivy to skip checks (`trivy:ignore:AVD-AWS-0089`), for a tool that does not
//! tell whom it passed over for them.

use std::collections::HashMap;

const WORDS: &[&[u8]] = &[b"trivy:ignore:", b"tfsec:ignore:"];

/// The comments of a source tree: what they name, by file and line.
#[derive(Debug, Default)]
pub(crate) struct Directives {
    by_file: HashMap<String, Vec<(u32, String)>>,
}

impl Directives {
    /// Notes the comments of a file, and returns its content with them made unreadable; every line
    /// stays where it is. `None`: there are none.
    pub(crate) fn take_out(&mut self, path: &str, content: &[u8]) -> Option<Vec<u8>> {
        if !path.ends_with(".tf") && !path.ends_with(".tf.json") {
            return None;
        }
        let mut changed: Option<Vec<u8>> = None;
        let mut at = 0;
        for (number, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
            for word in WORDS {
                for hit in hits(line, word) {
                    let rest = &line[hit + word.len()..];
                    let end = rest.iter().position(|b| !is_of_id(*b)).unwrap_or(rest.len());
                    let id = String::from_utf8_lossy(&rest[..end]).into_owned();
                    let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
                    self.by_file.entry(path.to_owned()).or_default().push((number, id));
                    let colon = at + hit + word.len() - 1;
                    changed.get_or_insert_with(|| content.to_vec())[colon] = b'-';
                }
            }
            at += line.len();
        }
        changed
    }

    /// The comment that names a rule for what stands on these lines: on one of them, or on the line
    /// before the first.
    pub(crate) fn meant_for(
        &self,
        file: &str,
        first: u32,
        last: u32,
        rule: &str,
    ) -> Option<String> {
        let plain = |id: &str| id.to_ascii_uppercase().trim_start_matches("AVD-").to_owned();
        let there = self.by_file.get(file)?.iter();
        let mut there = there.filter(|(line, _)| (first.saturating_sub(1)..=last).contains(line));
        let (_, id) = there.find(|(_, id)| id == "*" || plain(id) == plain(rule))?;
        Some(format!("trivy:ignore:{id}"))
    }
}

const fn is_of_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*')
}

fn hits<'a>(line: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    (0..line.len()).filter(move |at| line[*at..].starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_taken_out_and_remembered() {
        let mut directives = Directives::default();
        let text = b"# trivy:ignore:AVD-AWS-0089 tfsec:ignore:*\nresource {\n x = 1 #trivy:ignore:aws-0107:exp:2030\n}";
        let out = directives.take_out("a/main.tf", text).unwrap();
        assert_eq!(out.len(), text.len());
        let out = String::from_utf8(out).unwrap();
        assert!(!out.contains("ignore:"), "{out}");
        assert_eq!(out.lines().count(), 4);
        let of = |first, last, rule: &str| directives.meant_for("a/main.tf", first, last, rule);
        assert_eq!(of(2, 4, "AWS-0089").as_deref(), Some("trivy:ignore:AVD-AWS-0089"));
        assert_eq!(of(3, 3, "AVD-AWS-0107").as_deref(), Some("trivy:ignore:aws-0107"));
        assert_eq!(of(4, 4, "AVD-AWS-0001"), None);
        assert_eq!(directives.meant_for("other.tf", 2, 4, "AWS-0089"), None);
        assert!(directives.take_out("x.md", b"trivy:ignore:*").is_none());
        assert!(directives.take_out("x.tf", b"nothing \xff").is_none());
    }
}
