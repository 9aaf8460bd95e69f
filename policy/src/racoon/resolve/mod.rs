//! What was written to what was meant: inheritance, defaults, paths, units, and every check that needs no file.
//!
//! Each directive of racoon.conf is known by name. Those without effect here are warned about with the reason; those
//! that need a feature xfrmd lacks are errors that say so; nothing is skipped in silence.

mod algorithm;
mod features;
mod global;
mod identity;
mod mode_cfg;
mod proposal;
mod remote;
mod revocation;
mod sainfo;

use std::borrow::Cow;
use std::collections::HashMap;

use super::args::Args;
use super::ast::{Arg, Statement};
use super::include::join;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::daemon::DaemonConfig;
use crate::span::{FileId, Span};

/// Resolves the statements of `file` and its includes. The result is complete only if no error was pushed.
pub fn resolve(file: FileId, statements: &[Statement], diagnostics: &mut Diagnostics) -> DaemonConfig {
    let mut resolver = Resolver {
        diagnostics,
        config: DaemonConfig::default(),
        remotes: remote::Drafts::default(),
        sainfos: sainfo::Entries::default(),
        allow_weak: false,
    };
    resolver.each(statements, |resolver, args| resolver.global(args));
    resolver.config.remotes = std::mem::take(&mut resolver.remotes).finish();
    resolver.config.sainfos = std::mem::take(&mut resolver.sainfos).sorted();
    resolver.check_completeness(file);
    resolver.config
}

struct Resolver<'d> {
    diagnostics: &'d mut Diagnostics,
    config: DaemonConfig,
    remotes: remote::Drafts,
    sainfos: sainfo::Entries,
    /// `allow_weak` of the block being read.
    allow_weak: bool,
}

impl Resolver<'_> {
    /// Calls `handle` for each statement, and for each that turns up behind a forgotten `;`.
    fn each(&mut self, statements: &[Statement], mut handle: impl FnMut(&mut Self, &mut Args<'_>)) {
        for statement in statements {
            let mut current = Cow::Borrowed(statement);
            loop {
                let mut args = Args::new(&current);
                handle(self, &mut args);
                let Some(rest) = args.finish(self.diagnostics) else { break };
                current = Cow::Owned(rest);
            }
        }
    }

    /// `allow_weak` counts for the whole block, wherever in it it stands.
    fn look_ahead(&mut self, body: &[Statement], inherited: bool) {
        let written = body.iter().rfind(|statement| statement.name.text == "allow_weak");
        let is_on = |statement: &Statement| statement.args.first().is_some_and(|arg| arg.is_word("on"));
        self.allow_weak = written.map_or(inherited, is_on);
    }

    /// A configuration that can never do anything is legal, and worth a word.
    fn check_completeness(&mut self, file: FileId) {
        if self.diagnostics.errors() > 0 {
            return;
        }
        let start = Span::new(file, 0..0);
        if self.config.remotes.is_empty() {
            self.diagnostics.warning(start, "no `remote` block: no peer can be negotiated with");
        } else if self.config.sainfos.is_empty() {
            self.diagnostics.push(
                Diagnostic::warning(start, "no `sainfo` block: no IPsec SA can be negotiated")
                    .hint("add `sainfo anonymous { … }`"),
            );
        }
    }

    /// `args` is a directive that nobody knows.
    fn unknown(&mut self, args: &mut Args<'_>, block: &str, known: &[&str]) {
        let name = args.name();
        self.diagnostics.push(
            Diagnostic::error(args.name_span(), format!("unknown directive `{name}` {block}"))
                .found(name)
                .suggest(name, known.iter().copied()),
        );
        args.give_up();
    }

    /// `args` is a directive that xfrmd lacks.
    fn not_supported_yet(&mut self, args: &mut Args<'_>, why: &str) {
        let name = args.name();
        self.diagnostics
            .push(Diagnostic::error(args.name_span(), format!("`{name}` is not supported yet: {why}")).found(name));
        args.give_up();
    }

    /// `args` is a directive that changes nothing here.
    fn no_effect(&mut self, args: &Args<'_>, why: &str) {
        self.diagnostics.warning(args.name_span(), format!("`{}` has no effect: {why}", args.name()));
    }

    /// `name`, below `path certificate` if it is relative.
    fn certificate_path(&mut self, name: &Arg) -> String {
        match &self.config.certificate_dir {
            _ if name.text.starts_with('/') => name.text.clone(),
            Some(directory) => join(directory, &name.text),
            None => {
                self.diagnostics.push(
                    Diagnostic::error(
                        name.span,
                        format!("\"{}\" is relative, and no `path certificate` stands above", name.text),
                    )
                    .hint("write `path certificate \"DIRECTORY\";` in front of the block, or an absolute name"),
                );
                name.text.clone()
            }
        }
    }
}

/// Which directives a block has had.
#[derive(Default)]
struct Seen(HashMap<String, Span>);

impl Seen {
    /// Notes `args`. Was there one before? Then it is an error if it `must_be_single`, and `args` is not to be read;
    /// else a warning: the last counts.
    fn note(&mut self, args: &mut Args<'_>, must_be_single: bool, diagnostics: &mut Diagnostics) -> bool {
        let name = args.name();
        if self.0.insert(name.to_owned(), args.name_span()).is_none() {
            return true;
        }
        if must_be_single {
            diagnostics.error(args.name_span(), format!("`{name}` is given twice in this block"));
            args.give_up();
        } else {
            diagnostics.warning(args.name_span(), format!("`{name}` is given again: this one counts"));
        }
        !must_be_single
    }

    /// Notes a directive that adds to the ones before.
    fn note_repeatable(&mut self, name: &str, span: Span) {
        self.0.insert(name.to_owned(), span);
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Directives with the same judgement: `(name, why)`.
type Reasons = &'static [(&'static str, &'static str)];

fn reason(table: Reasons, name: &str) -> Option<&'static str> {
    table.iter().find(|(word, _)| *word == name).map(|(_, why)| *why)
}
