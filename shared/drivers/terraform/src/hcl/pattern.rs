//! Terraform's regular expressions, which are those of Go's RE2, as this process can run them.
//!
//! The two dialects differ in corners (what `\d` takes, classes inside classes, flags). An
//! expression is gone through sign by sign; one with anything in it that is not known to mean the
//! same is not run at all.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

/// Longest expression that is run, in bytes.
const MAX_BYTES: usize = 2000;
/// Largest compiled form, in bytes.
const MAX_COMPILED: usize = 256 << 10;
/// Longest text in which something is looked for, in bytes.
const MAX_TEXT: usize = 8192;
/// Expressions that are compiled for one request.
const MAX_EXPRESSIONS: usize = 200;
/// Most repetitions that RE2 takes.
const MAX_REPEATS: u32 = 1000;

/// Whether the expression, if it is one at all, means the same here as in Terraform. It is not
/// compiled: a configuration may hold very many.
pub(crate) fn is_known(pattern: &str) -> bool {
    pattern.len() <= MAX_BYTES && translate(pattern).is_some()
}

/// The expressions of one request, each compiled once.
#[derive(Debug, Default)]
pub(crate) struct Patterns(HashMap<String, Option<Regex>>);

impl Patterns {
    /// Whether `pattern` is found in `text`; `None` when that cannot be told.
    pub(crate) fn find(&mut self, pattern: &str, text: &str) -> Option<bool> {
        if text.len() > MAX_TEXT {
            return None;
        }
        if !self.0.contains_key(pattern) {
            if self.0.len() >= MAX_EXPRESSIONS {
                return None;
            }
            self.0.insert(pattern.to_owned(), compile(pattern));
        }
        let regex = self.0.get(pattern)?.as_ref()?;
        Some(regex.is_match(text))
    }
}

/// The expression, if it means the same here as in Terraform.
fn compile(pattern: &str) -> Option<Regex> {
    if pattern.len() > MAX_BYTES {
        return None;
    }
    let translated = translate(pattern)?;
    RegexBuilder::new(&translated).size_limit(MAX_COMPILED).nest_limit(50).build().ok()
}

/// Whether a text is the same in every normal form, and each of its characters stands alone:
/// Terraform normalises texts and counts what a reader would call a character.
pub(crate) fn is_settled(text: &str) -> bool {
    let stands = |c: char| {
        c.is_ascii()
            || ('\u{ac00}'..='\u{d7a3}').contains(&c)
            || ('\u{4e00}'..='\u{9fff}').contains(&c)
    };
    !text.contains('\r') && text.chars().all(stands)
}

fn translate(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    // Whether the sign before repeats something: RE2 refuses `a**`, others do not.
    let mut repeated = false;
    // RE2 refuses counts that come to more than 1000 inside each other: what the sign before comes
    // to, and the most in each group that is open.
    let mut atom = 1;
    let mut groups = vec![1];
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let was_repeated = std::mem::replace(&mut repeated, false);
        if !matches!(c, '{' | '*' | '+' | '?' | ')') {
            atom = 1;
        }
        match c {
            '\\' => rest = escape(rest, false, &mut out)?,
            '[' => rest = class(rest, &mut out)?,
            '(' => {
                rest = group(rest, &mut out)?;
                // `(?i)` opens nothing.
                if !out.ends_with(')') {
                    groups.push(1);
                }
            }
            ')' => {
                atom = groups.pop()?;
                let around = groups.last_mut()?;
                *around = atom.max(*around);
                out.push(c);
            }
            '*' | '+' | '?' => {
                // One `?` after another repetition makes it lazy.
                if was_repeated && (c != '?' || out.ends_with("??") || lazy(&out)) {
                    return None;
                }
                repeated = true;
                out.push(c);
            }
            '{' => {
                if was_repeated {
                    return None;
                }
                let most;
                (rest, most) = counted(rest, &mut out)?;
                atom *= most.max(1);
                let around = groups.last_mut()?;
                *around = atom.max(*around);
                if atom > MAX_REPEATS {
                    return None;
                }
                repeated = true;
            }
            '}' | ']' => return None,
            c if !c.is_ascii() => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

/// Whether a lazy repetition ends the text.
fn lazy(out: &str) -> bool {
    out.strip_suffix('?').is_some_and(|before| before.ends_with(['*', '+', '?', '}']))
}

/// What follows a backslash. Gives what is left.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> Option<&'a str> {
    let c = rest.chars().next()?;
    let rest = &rest[c.len_utf8()..];
    let set = match c {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => r"\t\n\x0c\r ",
        'D' if !in_class => {
            out.push_str("[^0-9]");
            return Some(rest);
        }
        'W' if !in_class => {
            out.push_str("[^0-9A-Za-z_]");
            return Some(rest);
        }
        'S' if !in_class => {
            out.push_str(r"[^\t\n\x0c\r ]");
            return Some(rest);
        }
        'b' | 'B' if !in_class && !rest.starts_with('{') => {
            out.push_str(if c == 'b' { r"(?-u:\b)" } else { return None });
            return Some(rest);
        }
        'A' | 'z' if !in_class => {
            out.push('\\');
            out.push(c);
            return Some(rest);
        }
        'n' | 't' | 'r' | 'f' => {
            out.push('\\');
            out.push(c);
            return Some(rest);
        }
        // Signs, escaped or not, are themselves.
        c if c.is_ascii_punctuation() && !matches!(c, '<' | '>') => {
            out.push('\\');
            out.push(c);
            return Some(rest);
        }
        _ => return None,
    };
    if in_class {
        out.push_str(set);
    } else {
        out.push('[');
        out.push_str(set);
        out.push(']');
    }
    Some(rest)
}

/// A class, after its bracket.
fn class<'a>(mut rest: &'a str, out: &mut String) -> Option<&'a str> {
    out.push('[');
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    let mut before = None;
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            ']' if !first => {
                out.push(']');
                return Some(rest);
            }
            ']' => out.push_str(r"\]"),
            '[' => {
                const NAMES: [&str; 13] = [
                    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower",
                    "print", "punct", "upper", "word", "xdigit",
                ];
                let (name, after) = rest.strip_prefix(':')?.split_once(":]")?;
                let ranges =
                    before == Some('-') || (after.starts_with('-') && !after.starts_with("-]"));
                (NAMES.contains(&name) && !ranges).then_some(())?;
                out.push_str("[:");
                out.push_str(name);
                out.push_str(":]");
                rest = after;
            }
            '\\' => {
                // A set may not begin or end a range.
                let set = rest.starts_with(['d', 'w', 's']);
                if set && (before == Some('-') && !first) {
                    return None;
                }
                rest = escape(rest, true, out)?;
                if set && rest.starts_with('-') && !rest.starts_with("-]") {
                    return None;
                }
            }
            // Doubled, they are operators in one of the dialects.
            '&' | '-' | '~' if before == Some(c) => return None,
            c if !c.is_ascii() => return None,
            c => out.push(c),
        }
        first = false;
        before = Some(c);
    }
}

/// A group, after its parenthesis.
fn group<'a>(rest: &'a str, out: &mut String) -> Option<&'a str> {
    out.push('(');
    let Some(after) = rest.strip_prefix('?') else { return Some(rest) };
    for known in [":", "i:", "i)", "s:", "s)", "is)", "si)"] {
        if let Some(left) = after.strip_prefix(known) {
            out.push('?');
            out.push_str(known);
            return Some(left);
        }
    }
    let name = after.strip_prefix("P<")?;
    let end = name.find('>')?;
    let plain = name[..end].chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (plain && end > 0).then_some(())?;
    out.push_str("?P<");
    out.push_str(&name[..=end]);
    Some(&name[end + 1..])
}

/// A counted repetition, after its brace: `{n}`, `{n,}` or `{n,m}`. Gives its largest number, too.
fn counted<'a>(rest: &'a str, out: &mut String) -> Option<(&'a str, u32)> {
    let end = rest.find('}')?;
    let counts = &rest[..end];
    let count = |text: &str| {
        let plain = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let most = match counts.split_once(',') {
        None => count(counts)?,
        Some((least, "")) => count(least)?,
        Some((least, most)) => u32::max(count(least)?, count(most)?),
    };
    out.push('{');
    out.push_str(counts);
    out.push('}');
    Some((&rest[end + 1..], most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_run() {
        for (pattern, yes, no) in [
            ("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", "my-bucket", "My_Bucket"),
            (r"^\d+$", "123", "１２３"),
            (r"^\w+$", "a_1", "버킷"),
            (r"^[\w.-]+$", "a.b-c", "a b"),
            (r"^\S+$", "ab", "a b"),
            (r"(?i)^prod$", "PROD", "prods"),
            (r"^(?:a|b)+?$", "ab", "c"),
            (r"^arn:aws:kms:[a-z0-9-]+:\d{12}:key/.+$", "arn:aws:kms:eu-1:123456789012:key/x", "x"),
            ("^[[:alpha:]]+$", "abc", "a1"),
            (r"^[]a]+$", "]a", "b"),
            (r"\bword\b", "a word.", "swords"),
            ("^(?P<x>a)$", "a", "b"),
            ("^(?:[0-9a-f]{4}-){3}[0-9a-f]{900}$|^x$", "x", "0000-0000-0000-"),
        ] {
            let regex = compile(pattern).unwrap_or_else(|| panic!("{pattern}"));
            assert!(regex.is_match(yes), "{pattern} {yes}");
            assert!(!regex.is_match(no), "{pattern} {no}");
        }
    }

    #[test]
    fn what_may_mean_something_else_is_not_run() {
        for pattern in [
            "a**",
            "a*+",
            "a+?+",
            "a???",
            "[a&&b]",
            "[a--b]",
            "[a~~b]",
            "[a[b]]",
            "(?x)a",
            "(?u)a",
            r"\pL",
            r"\Qa\E",
            r"\z{2}**",
            "a{,3}",
            "a{1001}",
            "a}",
            "a]",
            "(?<n>a)",
            r"[\d-z]",
            r"\<a",
            "(a{40}){40}",
            "((a{11}){10}b){10}",
            "[[:alpha:]-z]",
            "[a-[:alpha:]]",
            ")",
            "(",
            "ä",
            r"\C",
            r"[a-\d]",
            "a{2}{3}",
            r"\b{start}",
            r"\x41",
        ] {
            assert!(compile(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn letters_that_can_be_written_in_two_ways_are_not_settled() {
        for settled in ["abc", "버킷", "漢字 1", "a\nb"] {
            assert!(is_settled(settled), "{settled}");
        }
        for open in ["é", "e\u{301}", "\u{1100}\u{1161}", "👨‍👩‍👧", "a\r\nb"] {
            assert!(!is_settled(open), "{open}");
        }
    }
}
