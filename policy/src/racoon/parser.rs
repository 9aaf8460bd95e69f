//! Tokens to statements, recovering at `;` and `}`.

use super::ast::{Arg, Statement};
use super::lexer::Lexer;
use super::token::{Token, TokenKind};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::secret::{HIDDEN, Secret};
use crate::span::{FileId, Span};

/// racoon.conf nests blocks two deep; what goes deeper is an error, and this bounds the recursion.
const MAX_DEPTH: usize = 8;

/// A text, parsed.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// What it says.
    pub statements: Vec<Statement>,
    /// Where passwords stand (of RADIUS servers, of a directory).
    pub secrets: Vec<Span>,
}

/// file := statement*
pub fn parse(file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Parsed {
    let lexer = Lexer::new(file, text);
    let token = Token { kind: TokenKind::End, span: Span::new(file, 0..0), text: "", starts_line: true };
    let mut parser = Parser { lexer, token, diagnostics, shown: usize::MAX, hidden: None, secrets: Vec::new() };
    parser.bump();
    let mut statements = Vec::new();
    loop {
        parser.statements(0, &mut statements);
        if parser.token.kind == TokenKind::End {
            return Parsed { statements, secrets: parser.secrets };
        }
        // Only a `}` stops `statements` before the end.
        parser.diagnostics.error(parser.token.span, "`}` closes no block");
        parser.bump();
    }
}

struct Parser<'a, 'd> {
    lexer: Lexer<'a>,
    /// The token not consumed yet.
    token: Token<'a>,
    diagnostics: &'d mut Diagnostics,
    /// Strings to come before the next one is a password.
    shown: usize,
    /// What the token not consumed yet says, if it is a password.
    hidden: Option<&'a str>,
    secrets: Vec<Span>,
}

impl<'a> Parser<'a, '_> {
    fn bump(&mut self) -> Token<'a> {
        let mut next = self.lexer.next(self.diagnostics);
        self.hidden = None;
        if self.is_secret(next) {
            // No message is to quote it.
            self.hidden = Some(std::mem::replace(&mut next.text, HIDDEN));
            self.secrets.push(next.span);
        }
        std::mem::replace(&mut self.token, next)
    }

    /// The string behind `bind_pw` (and `shared_secret`, which only macOS has), and those behind the first of `auth` and
    /// `acct`, however wrong the line is.
    fn is_secret(&mut self, token: Token<'_>) -> bool {
        match token.kind {
            TokenKind::Word if token.text.starts_with(|ch: char| ch.is_ascii_digit()) => {}
            // Words of `shared_secret`.
            TokenKind::Word if matches!(token.text, "use" | "key" | "keychain" | "keychain_by_id") => {}
            TokenKind::Word => {
                self.shown = match token.text {
                    "bind_pw" | "shared_secret" => 0,
                    "auth" | "acct" => 1,
                    _ => usize::MAX,
                };
            }
            TokenKind::Str if self.shown == 0 => return true,
            TokenKind::Str => self.shown -= 1,
            _ => {}
        }
        false
    }

    /// statement* up to `}` or the end, neither consumed.
    fn statements(&mut self, depth: usize, out: &mut Vec<Statement>) {
        loop {
            match self.token.kind {
                TokenKind::End | TokenKind::CloseBrace => return,
                TokenKind::Word => out.extend(self.statement(depth)),
                TokenKind::Semicolon => {
                    let token = self.bump();
                    self.diagnostics.push(
                        Diagnostic::error(token.span, "a `;` without a statement")
                            .found(";")
                            .hint("racoon.conf has no empty statements, and a `}` takes no `;`"),
                    );
                }
                _ => self.skip_garbage(),
            }
        }
    }

    /// statement := WORD argument* ( `;` | `{` statement* `}` )
    fn statement(&mut self, depth: usize) -> Option<Statement> {
        let name = arg(self.bump());
        let mut end = name.span;
        let mut args = Vec::new();
        loop {
            match self.token.kind {
                TokenKind::Semicolon => {
                    let end = self.bump().span;
                    return Some(Statement { name, args, end, body: None });
                }
                TokenKind::OpenBrace => {
                    let open = self.bump().span;
                    let body = self.body(open, depth + 1)?;
                    return Some(Statement { name, args, end: open, body: Some(body) });
                }
                TokenKind::CloseBrace | TokenKind::End => {
                    let found = if self.token.kind == TokenKind::End { "the end of the file" } else { "`}`" };
                    self.diagnostics.push(
                        Diagnostic::error(end.behind(), format!("`{}` is not ended before {found}", name.text))
                            .found(self.token.text)
                            .expected("`;`"),
                    );
                    return Some(Statement { name, args, end, body: None });
                }
                _ => {
                    let secret = self.hidden.map(|text| Secret::new(text.into()));
                    let token = self.bump();
                    end = token.span;
                    args.push(Arg { secret, ..arg(token) });
                }
            }
        }
    }

    /// statement* `}`, the `{` being consumed.
    fn body(&mut self, open: Span, depth: usize) -> Option<Vec<Statement>> {
        if depth > MAX_DEPTH {
            self.diagnostics.error(open, format!("blocks nested more than {MAX_DEPTH} deep"));
            self.skip_block(open);
            return None;
        }
        let mut statements = Vec::new();
        self.statements(depth, &mut statements);
        self.close(open);
        Some(statements)
    }

    fn close(&mut self, open: Span) {
        if self.token.kind == TokenKind::CloseBrace {
            self.bump();
        } else {
            self.diagnostics.push(Diagnostic::error(open, "this block is never closed").expected("`}` before the end"));
        }
    }

    /// Skips to the `}` that closes `open`, without recursion.
    fn skip_block(&mut self, open: Span) {
        let mut depth = 1_usize;
        while self.token.kind != TokenKind::End {
            match self.token.kind {
                TokenKind::OpenBrace => depth += 1,
                TokenKind::CloseBrace if depth == 1 => break,
                TokenKind::CloseBrace => depth -= 1,
                _ => {}
            }
            self.bump();
        }
        self.close(open);
    }

    /// Something that starts no statement: one error, then on behind the next `;` or block, or at
    /// the next line that starts with a word.
    fn skip_garbage(&mut self) {
        let token = self.token;
        let mut error = Diagnostic::error(token.span, format!("{} starts no statement", arg(token).quoted()))
            .found(token.text)
            .expected("a directive");
        if token.kind == TokenKind::Slash {
            error = error.hint("comments start with `#` and end with the line");
        }
        self.diagnostics.push(error);
        loop {
            match self.token.kind {
                TokenKind::End | TokenKind::CloseBrace => return,
                TokenKind::Word if self.token.starts_line => return,
                TokenKind::Semicolon => {
                    self.bump();
                    return;
                }
                TokenKind::OpenBrace => {
                    let open = self.bump().span;
                    // What stands inside is not looked at: nobody can say what it would have meant.
                    self.skip_block(open);
                    return;
                }
                _ => {
                    self.bump();
                }
            }
        }
    }
}

fn arg(token: Token<'_>) -> Arg {
    Arg {
        kind: token.kind,
        span: token.span,
        text: token.text.to_owned(),
        secret: None,
        starts_line: token.starts_line,
    }
}
