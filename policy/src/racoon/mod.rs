//! racoon.conf: text -> tokens -> what was written -> what was meant.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Diagnostics, render_all};
use crate::model::daemon::DaemonConfig;
use crate::span::{Sources, Span};

pub mod ast;
pub mod directives;
pub mod include;
pub mod lexer;
pub mod parser;
pub mod print;
pub mod resolve;
pub mod token;

pub(crate) mod args;

use include::Loader;

/// A racoon.conf that has been read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was meant; `None` if there was an error.
    pub config: Option<DaemonConfig>,
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// Each use of what racoon does not know, as an error: what `xfrmctl check --racoon-strict` shows.
    pub extensions: Vec<Diagnostic>,
    /// Where each file that it names is named first, for what is wrong with the file.
    pub files: HashMap<String, Span>,
    /// The texts they point into.
    pub sources: Sources,
}

impl Loaded {
    /// All findings, as they are printed.
    pub fn render(&self) -> String {
        render_all(&self.diagnostics, &self.sources)
    }

    /// What is wrong with a file, as an error about the place that names it; none if no place does.
    pub fn about_file(&self, file: &str, message: impl Into<String>) -> Option<Diagnostic> {
        Some(Diagnostic::error(*self.files.get(file)?, message))
    }
}

/// Reads the racoon.conf `text`, which came from `file_name`, asking `loader` for what it includes.
pub fn load(file_name: &str, text: &[u8], loader: &mut dyn Loader) -> Loaded {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let file = sources.add(file_name, text);
    let statements = include::expand(file, loader, &mut sources, &mut diagnostics);
    let resolved = resolve::resolve(file, &statements, &mut diagnostics);
    let config = (diagnostics.errors() == 0).then_some(resolved.config);
    let mut extensions = resolved.extensions;
    extensions.sort_by_key(|one| (one.span.file, one.span.start));
    Loaded { config, diagnostics: diagnostics.into_sorted(), extensions, files: resolved.files, sources }
}
