//! Where in which file: byte ranges, and their lines and columns.
//!
//! Shared by the three languages (racoon.conf, setkey scripts, psk.txt). Opens no file: texts are handed in.

use std::borrow::Cow;
use std::ops::Range;

/// On a line longer than this, columns count octets instead of characters, so that a place is found in constant time
/// however long a hostile line is.
const COUNTED_LINE: usize = 4096;

/// Names a file among [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(u32);

/// A range of octets of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First octet.
    pub start: usize,
    /// First octet after the range.
    pub end: usize,
}

impl Span {
    /// The octets of `range` in `file`.
    pub fn new(file: FileId, range: Range<usize>) -> Self {
        Self { file, start: range.start, end: range.end }
    }

    /// From the start of this range to the end of `other`, which stands behind it in the same file.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        if other.file == self.file { Self { end: other.end.max(self.end), ..self } } else { self }
    }

    /// The empty range just behind this one.
    #[must_use]
    pub fn behind(self) -> Self {
        Self { start: self.end, ..self }
    }
}

/// A place as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// Name of the file as it was given.
    pub file: &'a str,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// One text.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    text: String,
    /// The number of the first line: 1, but for a piece of a longer text.
    first_line: usize,
    /// Start of each line.
    lines: Vec<usize>,
    /// Ranges that hold key material, in rising order.
    hidden: Vec<Range<usize>>,
}

/// Every text a configuration was read from.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Adds a text. Octets that are not UTF-8 become U+FFFD: harmless in comments, refused elsewhere by the lexers.
    pub fn add(&mut self, name: &str, text: &[u8]) -> FileId {
        let text = String::from_utf8_lossy(text).into_owned();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let id = FileId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.push(Source { name: name.to_owned(), text, first_line: 1, lines, hidden: Vec::new() });
        id
    }

    /// Counts the lines of `file` from `first_line`, as the file is a piece of a longer text.
    pub fn count_from(&mut self, file: FileId, first_line: usize) {
        if let Some(source) = self.0.get_mut(file.0 as usize) {
            source.first_line = first_line;
        }
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is there no text?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of `file`.
    pub fn text(&self, file: FileId) -> &str {
        self.source(file).map_or("", |source| &source.text)
    }

    /// The name of `file`.
    pub fn name(&self, file: FileId) -> &str {
        self.source(file).map_or("", |source| &source.name)
    }

    /// The text of `span`.
    pub fn slice(&self, span: Span) -> &str {
        self.text(span.file).get(span.start..span.end).unwrap_or("")
    }

    /// Marks `span` as key material: its octets are never printed in a diagnostic.
    pub fn hide(&mut self, span: Span) {
        if let Some(source) = self.0.get_mut(span.file.0 as usize) {
            source.hidden.push(span.start..span.end);
        }
    }

    /// File, line and column of the first octet of `span`.
    pub fn locate(&self, span: Span) -> Location<'_> {
        let Some(source) = self.source(span.file) else { return Location { file: "", line: 1, column: 1 } };
        let (index, start) = source.line_of(span.start);
        let before = source.text.get(start..span.start.min(source.text.len())).unwrap_or("");
        let column = if before.len() > COUNTED_LINE { before.len() } else { before.chars().count() };
        Location { file: &source.name, line: index + source.first_line, column: column + 1 }
    }

    /// The line `span` starts on with the octet range it has in the text; key material in it is masked.
    pub(crate) fn line(&self, span: Span, window: impl Fn(&str, usize) -> Range<usize>) -> (Cow<'_, str>, usize) {
        let Some(source) = self.source(span.file) else { return (Cow::Borrowed(""), 0) };
        let (index, start) = source.line_of(span.start);
        let end = source.lines.get(index + 1).map_or(source.text.len(), |next| next - 1);
        let line = source.text.get(start..end).unwrap_or("");
        let line = line.strip_suffix('\r').unwrap_or(line);
        let cut = window(line, span.start.saturating_sub(start));
        let from = start + cut.start;
        let shown = line.get(cut).unwrap_or("");
        (source.masked(shown, from), from)
    }

    fn source(&self, file: FileId) -> Option<&Source> {
        self.0.get(file.0 as usize)
    }
}

impl Source {
    /// Index and start of the line that holds the octet at `at`.
    fn line_of(&self, at: usize) -> (usize, usize) {
        let index = self.lines.partition_point(|&start| start <= at).saturating_sub(1);
        (index, self.lines.get(index).copied().unwrap_or(0))
    }

    /// `shown`, which starts at octet `from` of the text, with hidden characters replaced one by one.
    fn masked<'a>(&self, shown: &'a str, from: usize) -> Cow<'a, str> {
        let first = self.hidden.partition_point(|hidden| hidden.end <= from);
        let until = from + shown.len();
        let hidden: Vec<_> = self.hidden.iter().skip(first).take_while(|hidden| hidden.start < until).collect();
        if hidden.is_empty() {
            return Cow::Borrowed(shown);
        }
        let is_hidden = |at: usize| hidden.iter().any(|range| range.contains(&at));
        shown.char_indices().map(|(at, ch)| if is_hidden(from + at) { '*' } else { ch }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let mut sources = Sources::default();
        let file = sources.add("a.conf", "ä b\nc\n".as_bytes());
        let at = |start: usize| {
            let place = sources.locate(Span::new(file, start..start));
            (place.line, place.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(3), (1, 3));
        assert_eq!(at(5), (2, 1));
        assert_eq!(at(7), (3, 1), "behind the last newline");
        assert_eq!(at(99), (3, 1), "beyond the text");
    }

    #[test]
    fn key_material_is_masked() {
        let mut sources = Sources::default();
        let file = sources.add("k", b"add 0x1234 ;\n");
        sources.hide(Span::new(file, 4..10));
        let (line, from) = sources.line(Span::new(file, 11..12), |line, _| 0..line.len());
        assert_eq!((line.as_ref(), from), ("add ****** ;", 0));
    }
}
