//! racoon.conf: text -> tokens -> what was written -> what was meant.

use crate::diagnostic::{Diagnostic, Diagnostics, render_all};
use crate::model::daemon::DaemonConfig;
use crate::span::Sources;

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
    /// The texts they point into.
    pub sources: Sources,
}

impl Loaded {
    /// All findings, as they are printed.
    pub fn render(&self) -> String {
        render_all(&self.diagnostics, &self.sources)
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
    Loaded { config, diagnostics: diagnostics.into_sorted(), extensions, sources }
}
