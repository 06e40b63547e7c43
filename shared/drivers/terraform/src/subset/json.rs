//! JSON as it was written: numbers of any size stay exact, a name that is there twice is an error,
//! and depth and size are bounded. What decides whether something may be applied must not round.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 200;
/// Most values in one document.
const MAX_NODES: usize = 8 << 20;
/// Most digits of one number, and the largest exponent.
const MAX_DIGITS: usize = 4096;

/// A value. Its `Debug` says nothing of what is in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// A number in one form only: `1`, `1.0` and `1e0` are the same, `2^64` and `2^64 + 1` are not.
/// It is `digits × 10^exponent`; digits neither begin nor end with zero, and are empty for zero.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Number {
    negative: bool,
    digits: String,
    exponent: i64,
}

/// Why a text is not a document that can be reasoned about. Quotes nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (byte {at})")]
pub(crate) struct Bad {
    what: &'static str,
    at: usize,
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        })
    }
}

impl Json {
    /// Reads one document.
    pub(crate) fn read(text: &[u8]) -> Result<Self, Bad> {
        let text = std::str::from_utf8(text)
            .map_err(|e| Bad { what: "it is not UTF-8", at: e.valid_up_to() })?;
        let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, nodes: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err(reader.bad("something follows it")) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.get(key),
            _ => None,
        }
    }

    pub(crate) fn str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }

    /// `null`, `false`, `[]` or `{}`.
    pub(crate) fn is_nothing(&self) -> bool {
        match self {
            Self::Null | Self::Bool(false) => true,
            Self::Array(items) => items.is_empty(),
            Self::Object(fields) => fields.is_empty(),
            _ => false,
        }
    }

    /// The same text for the same value, and only for it.
    pub(crate) fn canonical(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => number.write(out),
            Self::String(text) => quoted(text, out),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    quoted(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

impl Number {
    /// Reads the text of a JSON number whose grammar was checked. `None` when it is too long.
    fn read(text: &str) -> Option<Self> {
        let (negative, text) =
            text.strip_prefix('-').map_or((false, text), |positive| (true, positive));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.len() + part.len() > MAX_DIGITS || exponent.len() > 12 {
            return None;
        }
        let mut exponent: i64 = exponent.parse().ok()?;
        exponent -= i64::try_from(part.len()).ok()?;
        let digits = format!("{whole}{part}");
        let digits = digits.trim_start_matches('0');
        let kept = digits.trim_end_matches('0');
        exponent += i64::try_from(digits.len() - kept.len()).ok()?;
        if kept.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        Some(Self { negative, digits: kept.to_owned(), exponent })
    }

    /// In plain digits where that is short, else with an exponent. One text a value.
    fn write(&self, out: &mut String) {
        if self.digits.is_empty() {
            out.push('0');
            return;
        }
        if self.negative {
            out.push('-');
        }
        let digits = self.digits.as_str();
        match usize::try_from(self.exponent) {
            Ok(zeros) if zeros <= 21 => {
                out.push_str(digits);
                out.extend(std::iter::repeat_n('0', zeros));
            }
            Err(_) if self.exponent >= -21 => {
                let places = usize::try_from(-self.exponent).unwrap_or_default();
                if let Some(whole) = digits.len().checked_sub(places).filter(|whole| *whole > 0) {
                    let _ = write!(out, "{}.{}", &digits[..whole], &digits[whole..]);
                } else {
                    let _ = write!(out, "0.{digits:0>places$}");
                }
            }
            _ => {
                let _ = write!(out, "{digits}e{}", self.exponent);
            }
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    nodes: usize,
}

impl Reader<'_> {
    fn bad(&self, what: &'static str) -> Bad {
        Bad { what, at: self.at }
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(there);
        there
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Bad> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.bad("it is not JSON"))
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, Bad> {
        self.nodes += 1;
        if depth > MAX_DEPTH {
            return Err(self.bad("it is nested too deep"));
        }
        if self.nodes > MAX_NODES {
            return Err(self.bad("it holds too many values"));
        }
        self.space();
        match self.bytes.get(self.at) {
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.bad("it is not JSON")),
            None => Err(self.bad("it is cut off")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, Bad> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat(b']') {
                return Ok(Json::Array(items));
            }
            if !self.eat(b',') {
                return Err(self.bad("it is not JSON"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Bad> {
        self.at += 1;
        let mut fields = BTreeMap::new();
        self.space();
        if self.eat(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            if self.bytes.get(self.at) != Some(&b'"') {
                return Err(self.bad("it is not JSON"));
            }
            let key = self.string()?;
            self.space();
            if !self.eat(b':') {
                return Err(self.bad("it is not JSON"));
            }
            let value = self.value(depth + 1)?;
            if fields.insert(key, value).is_some() {
                return Err(self.bad("a name is there twice"));
            }
            self.space();
            if self.eat(b'}') {
                return Ok(Json::Object(fields));
            }
            if !self.eat(b',') {
                return Err(self.bad("it is not JSON"));
            }
        }
    }

    fn string(&mut self) -> Result<String, Bad> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(self.bad("it is cut off")),
            }
        }
        self.at += 1;
        // The one thing that is worth a library here: escapes and surrogates.
        let token = self.text.get(start..self.at).ok_or_else(|| self.bad("it is not JSON"))?;
        serde_json::from_str(token).map_err(|_| Bad { what: "a string is malformed", at: start })
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Json, Bad> {
        let start = self.at;
        self.eat(b'-');
        let leading = self.bytes.get(self.at).copied();
        let whole = self.digits();
        if whole == 0 || (leading == Some(b'0') && whole > 1) {
            return Err(self.bad("a number is malformed"));
        }
        if self.eat(b'.') && self.digits() == 0 {
            return Err(self.bad("a number is malformed"));
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            if self.digits() == 0 {
                return Err(self.bad("a number is malformed"));
            }
        }
        let number = Number::read(&self.text[start..self.at]);
        number.map(Json::Number).ok_or(Bad { what: "a number is too long", at: start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Json {
        Json::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn one_number_has_one_form() {
        for same in [
            ["1", "1.0", "1e0", "10e-1", "0.1e1", "1.000E+0"],
            ["0", "-0", "0.0", "0e9", "-0.000", "0E-3"],
            ["1200", "12e2", "1.2e3", "1200.0", "120e1", "0.12e4"],
            ["-0.05", "-5e-2", "-0.050", "-0.5e-1", "-50e-3", "-5.0e-2"],
        ] {
            for other in same {
                assert_eq!(read(same[0]), read(other), "{other}");
                assert_eq!(read(other).canonical(), same[0]);
            }
        }
    }

    #[test]
    fn numbers_that_doubles_confuse_stay_apart() {
        for (a, b) in [
            ("18446744073709551616", "18446744073709551617"),
            ("9007199254740993.0", "9007199254740992.0"),
            ("0.1", "0.10000000000000000001"),
            ("1e400", "1e401"),
            ("1", "-1"),
        ] {
            assert_ne!(read(a), read(b));
            assert_ne!(read(a).canonical(), read(b).canonical());
        }
        assert_eq!(read("1e400").canonical(), "1e400");
        assert_ne!(read("1"), read("\"1\""));
    }

    #[test]
    fn what_is_not_plain_json_is_refused() {
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        let long = format!("1{}", "0".repeat(5000));
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "-",
            "1e",
            "nul",
            "\"\\ud800\"",
            "\"a\nb\"",
            "1 2",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "[1}",
            "\"abc",
            "\"a\\",
            &deep,
            &long,
            "1e99999999999999999999",
        ] {
            assert!(Json::read(text.as_bytes()).is_err(), "{text:.40}");
        }
        assert!(Json::read(&[b'"', 0xff, b'"']).is_err());
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", read("[\"hunter22\"]")), "an array");
    }

    proptest! {
        #[test]
        fn the_canonical_text_is_read_back_as_the_same(text in "[-]?(0|[1-9][0-9]{0,30})([.][0-9]{1,30})?(e[-+]?[0-9]{1,3})?") {
            let value = read(&text);
            prop_assert_eq!(&read(&value.canonical()), &value);
        }

        #[test]
        fn it_agrees_with_the_library(text in "[\\[\\]{}\",:a-c0-2 .e\\\\-]{0,15}") {
            // The library lets names be there twice; nothing else may differ.
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            let ours = Json::read(text.as_bytes());
            match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => {
                    prop_assert_eq!(ours, &Json::read(theirs.to_string().as_bytes()).unwrap());
                }
                (Err(bad), Ok(_)) => prop_assert_eq!(bad.what, "a name is there twice"),
                (Ok(_), Err(theirs)) => prop_assert!(theirs.to_string().contains("out of range"), "{}", text),
                (Err(_), Err(_)) => {}
            }
        }
    }
}
