//! A script that arrives piece by piece, as on standard input: whole commands are handed on as soon as they are there.

/// Text of which the end has not been seen.
#[derive(Debug)]
pub struct Feed {
    text: Vec<u8>,
    /// Octets looked at.
    seen: usize,
    /// Where the last whole command ends.
    whole: usize,
    inside: Inside,
    first_line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Command,
    Text,
    Comment,
}

/// A piece of a script, and the line it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its octets.
    pub text: Vec<u8>,
    /// The number of its first line.
    pub first_line: usize,
}

impl Default for Feed {
    fn default() -> Self {
        Self { text: Vec::new(), seen: 0, whole: 0, inside: Inside::Command, first_line: 1 }
    }
}

impl Feed {
    /// Takes more text.
    pub fn push(&mut self, more: &[u8]) {
        self.text.extend_from_slice(more);
        for (at, octet) in self.text.iter().enumerate().skip(self.seen) {
            self.inside = match (self.inside, octet) {
                (Inside::Command, b'"') => Inside::Text,
                (Inside::Command, b'#') => Inside::Comment,
                (Inside::Text, b'"') | (Inside::Comment, b'\n') => Inside::Command,
                (inside, _) => inside,
            };
            if self.inside == Inside::Command && *octet == b';' {
                self.whole = at + 1;
            }
        }
        self.seen = self.text.len();
    }

    /// The whole commands that have come since the last call.
    pub fn take(&mut self) -> Option<Piece> {
        (self.whole != 0).then(|| self.cut(self.whole))
    }

    /// What is left when nothing more comes.
    pub fn rest(mut self) -> Piece {
        self.cut(self.text.len())
    }

    fn cut(&mut self, at: usize) -> Piece {
        let behind = self.text.split_off(at);
        let text = std::mem::replace(&mut self.text, behind);
        let first_line = self.first_line;
        self.first_line += text.iter().filter(|octet| **octet == b'\n').count();
        (self.seen, self.whole) = (self.seen.saturating_sub(at), 0);
        Piece { text, first_line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_handed_on_whole_with_their_lines() {
        let mut feed = Feed::default();
        feed.push(b"flush;\nspdf");
        assert_eq!(feed.take(), Some(Piece { text: b"flush;".to_vec(), first_line: 1 }));
        assert_eq!(feed.take(), None);
        feed.push(b"lush # a;b\n");
        assert_eq!(feed.take(), None, "a semicolon in a comment ends nothing");
        feed.push(b"; add \"x;");
        assert_eq!(feed.take(), Some(Piece { text: b"\nspdflush # a;b\n;".to_vec(), first_line: 1 }));
        feed.push(b"y\" ;\n\nexit");
        assert_eq!(feed.take(), Some(Piece { text: b" add \"x;y\" ;".to_vec(), first_line: 3 }));
        assert_eq!(feed.rest(), Piece { text: b"\n\nexit".to_vec(), first_line: 3 });
    }
}
