//! How deep the brackets of a text are in each other.
//!
//! The parser of the interpreter tries every `[` and `{` as a comprehension first and reads it once
//! more when it is none, so its time doubles with each level, and nothing stops it. A line of sixty
//! signs would keep it busy for hours.

use crate::error::Problem;

/// How often the parser may begin a bracket, all levels together: seconds at most.
const MOST: u64 = 1 << 20;

/// What is wrong with the brackets of a text.
pub(crate) fn problem(file: &str, text: &str) -> Option<Problem> {
    let (mut depth, mut begun) = (0_u32, 0_u64);
    let (mut line, mut column) = (1_u32, 0_u32);
    let mut signs = text.chars().peekable();
    // The sign that ends the text or comment that we are in.
    let mut until: Option<char> = None;
    while let Some(sign) = signs.next() {
        column += 1;
        if sign == '\n' {
            (line, column) = (line + 1, 0);
        }
        match (until, sign) {
            // A text in double quotes ends with its line, too: one that is left open must not hide
            // what comes after it.
            (Some(end), sign) if sign == end || (end == '"' && sign == '\n') => until = None,
            (Some('"'), '\\') if signs.next_if(|next| *next != '\n').is_some() => column += 1,
            (Some(_), _) => {}
            (None, '"' | '`') => until = Some(sign),
            (None, '#') => until = Some('\n'),
            (None, '[' | '{') => {
                depth += 1;
                begun = begun.saturating_add(1_u64.checked_shl(depth).unwrap_or(u64::MAX));
                if begun > MOST {
                    return Some(Problem {
                        file: file.to_owned(),
                        line,
                        column,
                        message: "Brackets are too deep in each other to be read in time. Give \
                                  inner values names of their own, or use less and smaller test \
                                  inputs."
                            .to_owned(),
                    });
                }
            }
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("a := 1\nb := {}1{}\n", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn what_is_too_deep_has_a_place() {
        assert_eq!(problem("a", &nested(18)), None);
        let found = problem("a.rego", &nested(30)).unwrap();
        assert_eq!((found.file.as_str(), found.line, found.column), ("a.rego", 2, 25));
        assert!(problem("a", &nested(200)).is_some());
        let many = nested(12).repeat(200);
        assert!(problem("a", &many).is_some(), "many that are deep are too many");
        assert_eq!(problem("a", &nested(4).repeat(5_000)), None);
    }

    #[test]
    fn brackets_in_texts_and_comments_do_not_count() {
        let deep = "[".repeat(40);
        for text in
            [format!("a := \"\\\"{deep}\""), format!("a := `{deep}\n{deep}`"), format!("# {deep}")]
        {
            assert_eq!(problem("a", &text), None, "{text}");
        }
        for text in [
            format!("a := \"\\\\\"\n b := {deep}"),
            format!("# x\n{deep}"),
            format!("a := \"x\nb := {deep}"),
            format!("a := `x`{deep}"),
        ] {
            assert!(problem("a", &text).is_some(), "{text}");
        }
    }
}
