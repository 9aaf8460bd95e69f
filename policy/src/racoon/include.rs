//! `include`: other files' statements in place of the line that names them.
//!
//! This crate opens no file: a [`Loader`] is asked. `path include` counts for the lines behind it.

use super::args::Args;
use super::ast::Statement;
use super::parser;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::{FileId, Sources, Span};

/// As racoon has it.
const MAX_DEPTH: usize = 10;
/// Files in all: two files that include each other twice would otherwise be read a thousand times.
const MAX_FILES: usize = 1000;

/// Answers for the file system.
pub trait Loader {
    /// The files that `pattern` (a shell glob, `~` allowed) names, in order, each with its name and content.
    ///
    /// # Errors
    /// In words: what could not be read and why. No match at all is an empty list.
    fn load(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String>;
}

/// A loader for texts that include nothing: every `include` is an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Loader for NoFiles {
    fn load(&mut self, _: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        Err("files cannot be included here".to_owned())
    }
}

/// Parses `file` and what it includes.
pub fn expand(
    file: FileId,
    loader: &mut dyn Loader,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Vec<Statement> {
    let mut expansion = Expansion { loader, sources, diagnostics, prefix: None, open: Vec::new(), out: Vec::new() };
    expansion.file(file);
    expansion.out
}

struct Expansion<'a> {
    loader: &'a mut dyn Loader,
    sources: &'a mut Sources,
    diagnostics: &'a mut Diagnostics,
    /// `path include`.
    prefix: Option<String>,
    /// Names of the files being read, outermost first.
    open: Vec<String>,
    out: Vec<Statement>,
}

impl Expansion<'_> {
    fn file(&mut self, file: FileId) {
        self.open.push(self.sources.name(file).to_owned());
        let parsed = parser::parse(file, self.sources.text(file), self.diagnostics);
        parsed.secrets.into_iter().for_each(|span| self.sources.hide(span));
        for statement in parsed.statements {
            if statement.name.is_word("include") {
                self.include(&statement);
                continue;
            }
            if let [kind, directory] = statement.args.as_slice()
                && statement.name.is_word("path")
                && kind.is_word("include")
            {
                self.prefix = Some(directory.text.clone());
            }
            self.out.push(statement);
        }
        self.open.pop();
    }

    /// include := `include` STRING `;`
    fn include(&mut self, statement: &Statement) {
        let mut args = Args::new(statement);
        let written = args.string("a file name in quotes", self.diagnostics).map(|arg| (arg.text.clone(), arg.span));
        let rest = args.finish(self.diagnostics);
        if let Some((pattern, span)) = written {
            self.load(&pattern, span);
        }
        // What stood behind a forgotten `;` is a statement of its own.
        match rest {
            Some(rest) if rest.name.is_word("include") => self.include(&rest),
            Some(rest) => self.out.push(rest),
            None => {}
        }
    }

    fn load(&mut self, pattern: &str, span: Span) {
        let pattern = match &self.prefix {
            Some(prefix) if !pattern.starts_with(['/', '~']) => join(prefix, pattern),
            _ => pattern.to_owned(),
        };
        if self.open.len() > MAX_DEPTH {
            self.diagnostics.error(span, format!("files included more than {MAX_DEPTH} deep"));
            return;
        }
        let files = match self.loader.load(&pattern) {
            Ok(files) => files,
            Err(why) => {
                self.diagnostics.error(span, format!("cannot include \"{pattern}\": {why}"));
                return;
            }
        };
        if files.is_empty() {
            self.diagnostics.error(span, format!("no file matches \"{pattern}\""));
        }
        for (name, text) in files {
            if self.open.contains(&name) {
                let chain = self.open.join(" -> ");
                self.diagnostics.push(
                    Diagnostic::error(span, format!("{name} includes itself")).hint(format!("read so far: {chain}")),
                );
            } else if self.sources.len() >= MAX_FILES {
                self.diagnostics.error(span, format!("more than {MAX_FILES} files included"));
                return;
            } else {
                let file = self.sources.add(&name, &text);
                self.file(file);
            }
        }
    }
}

/// `directory/name`.
pub(super) fn join(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.strip_suffix('/').unwrap_or(directory))
}
