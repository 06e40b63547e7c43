//! Where something stands in a configuration file. Holds positions only, no parsing.

use std::ops::Range;

use slipway_domain::fault::FieldError;

/// A place in a file of the source tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Path inside the source tree.
    pub(crate) file: String,
    /// Line, from 1; absent when only the file is known.
    pub(crate) line: Option<u32>,
    /// Column in characters, from 1.
    pub(crate) column: Option<u32>,
}

impl Place {
    /// The file as a whole.
    pub(crate) fn file(file: &str) -> Self {
        Self { file: file.to_owned(), line: None, column: None }
    }

    /// A fault at this place.
    pub(crate) fn fault(&self, detail: impl Into<String>) -> FieldError {
        FieldError {
            pointer: "/source".to_owned(),
            detail: detail.into(),
            file: Some(self.file.clone()),
            line: self.line,
            column: self.column,
        }
    }
}

/// The text of one file, which can tell where a byte stands.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    /// Path inside the source tree.
    pub(crate) file: &'a str,
    /// Without a byte order mark.
    pub(crate) text: &'a str,
    /// Byte offsets of the lines' first bytes.
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self { file, text, lines: std::iter::once(0).chain(starts).collect() }
    }

    /// The place of a byte.
    pub(crate) fn at(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |t| t.chars().count());
        let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Place { file: self.file.to_owned(), line: Some(number(line)), column: Some(number(column)) }
    }

    /// The place where a span begins; the file when there is none.
    pub(crate) fn span(&self, span: Option<Range<usize>>) -> Place {
        span.map_or_else(|| Place::file(self.file), |span| self.at(span.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_at_newlines() {
        let text = Text::new("main.tf", "a\r\nä = x\n");
        let place = text.at("a\r\nä = ".len());
        assert_eq!((place.line, place.column), (Some(2), Some(5)));
        let end = text.at(usize::MAX);
        assert_eq!((end.line, end.column), (Some(3), Some(1)));
    }
}
