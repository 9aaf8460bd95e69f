//! What was written to what was meant: inheritance, defaults, paths, units, and every check that needs no file.
//!
//! What each directive does here stands in one table, [`super::directives`]. Those without effect are warned about with
//! the reason; those that need a feature xfrmd lacks are errors that say so; nothing is skipped in silence.

mod algorithm;
mod features;
mod global;
mod identity;
mod mode_cfg;
mod proposal;
mod remote;
mod revocation;
mod sainfo;
mod users;

use std::borrow::Cow;
use std::collections::HashMap;

use super::args::Args;
use super::ast::{Arg, Statement};
use super::directives::{self, Block, Directive, State};
use super::include::join;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::daemon::DaemonConfig;
use crate::span::{FileId, Span};

/// Directives that Apple added to its racoon and that its tools write into files.
const OF_MACOS: [&str; 4] = ["shared_secret", "disconnect_on_idle", "auto_exit_delay", "certificate_verification"];

/// What the statements of a file mean.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The configuration; complete only if no error was pushed.
    pub config: DaemonConfig,
    /// What racoon would not have understood, as errors.
    pub extensions: Vec<Diagnostic>,
    /// Where each file is named first.
    pub files: HashMap<String, Span>,
}

/// Resolves the statements of `file` and its includes.
pub fn resolve(file: FileId, statements: &[Statement], diagnostics: &mut Diagnostics) -> Resolved {
    let mut resolver = Resolver {
        diagnostics,
        config: DaemonConfig::default(),
        remotes: remote::Drafts::default(),
        sainfos: sainfo::Entries::default(),
        allow_weak: false,
        extensions: Vec::new(),
        notices_from: None,
        files: HashMap::new(),
    };
    resolver.each(statements, |resolver, args| resolver.global(args));
    resolver.config.remotes = std::mem::take(&mut resolver.remotes).finish();
    resolver.config.sainfos = std::mem::take(&mut resolver.sainfos).sorted();
    resolver.check_revocation();
    resolver.check_completeness(file);
    Resolved { config: resolver.config, extensions: resolver.extensions, files: resolver.files }
}

struct Resolver<'d> {
    diagnostics: &'d mut Diagnostics,
    config: DaemonConfig,
    remotes: remote::Drafts,
    sainfos: sainfo::Entries,
    /// `allow_weak` of the block being read.
    allow_weak: bool,
    /// What racoon does not know.
    extensions: Vec<Diagnostic>,
    /// The first directive that keylime's notices come by.
    notices_from: Option<Span>,
    /// Where each file is named first.
    files: HashMap<String, Span>,
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

    /// May `args` be read? Not if nobody knows the directive, or if it is refused: that is an error then. One without
    /// effect is warned about.
    fn known(&mut self, block: Block, args: &mut Args<'_>) -> bool {
        let Some(row) = self.row(block, args) else { return false };
        let span = match args.peek() {
            Some(value) if !row.only.is_empty() => args.name_span().to(value.span),
            _ => args.name_span(),
        };
        self.may_use(row, args.peek(), span, args)
    }

    /// As [`Self::known`], for one value of a list.
    fn known_value(&mut self, block: Block, value: &Arg, args: &mut Args<'_>) -> bool {
        let row = directives::find(block, args.name(), Some(&value.text));
        row.filter(|row| !row.only.is_empty()).is_none_or(|row| self.may_use(row, Some(value), value.span, args))
    }

    fn may_use(&mut self, row: &Directive, value: Option<&Arg>, span: Span, args: &mut Args<'_>) -> bool {
        let written = match value {
            Some(value) if !row.only.is_empty() => format!("{} {}", row.name, value.text),
            _ => row.name.to_owned(),
        };
        if row.judged {
            return true;
        }
        if row.extension {
            self.extension(span, &format!("`{written}`"));
        }
        match row.state {
            State::Works => true,
            State::NoEffect(why) => {
                self.diagnostics.warning(span, format!("`{written}` has no effect: {why}"));
                true
            }
            State::Refused(why) => {
                self.diagnostics
                    .push(Diagnostic::error(span, format!("`{written}` is refused: {why}")).found(row.name));
                args.give_up();
                false
            }
        }
    }

    /// The row of `args`; none, and an error, if nobody knows the directive.
    fn row(&mut self, block: Block, args: &mut Args<'_>) -> Option<&'static Directive> {
        let name = args.name();
        let row = directives::find(block, name, args.peek().map(|value| value.text.as_str()));
        if row.is_none() {
            let error = Diagnostic::error(args.name_span(), format!("unknown directive `{name}` {}", block.place()));
            let error = match self.diagnostics.is_full() {
                true => error,
                false if OF_MACOS.contains(&name) => {
                    error.found(name).hint("only the racoon of macOS has it: keys come from `path pre_shared_key`")
                }
                false => error.found(name).suggest(name, directives::names(block)),
            };
            self.diagnostics.push(error);
            args.give_up();
        }
        row
    }

    /// racoon would not have understood `what`.
    fn extension(&mut self, span: Span, what: &str) {
        self.extensions.push(Diagnostic::error(span, format!("{what} is an extension: racoon does not know it")));
    }

    /// `name`, below `path certificate` if it is relative.
    fn certificate_path(&mut self, name: &Arg) -> String {
        let path = match &self.config.certificate_dir {
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
        };
        self.names_file(&path, name.span);
        path
    }

    /// Notes where a file is named.
    fn names_file(&mut self, path: &str, span: Span) {
        if !self.files.contains_key(path) {
            self.files.insert(path.to_owned(), span);
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
