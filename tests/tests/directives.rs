//! The table of directives against the corpus: every row stands in a file, and every directive that is said to work
//! changes what the file means.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use policy::diagnostic::{Diagnostics, render_all};
use policy::racoon::ast::Statement;
use policy::racoon::directives::{Block, DIRECTIVES, State};
use policy::racoon::include::NoFiles;
use policy::racoon::print::Printed;
use policy::racoon::{self, Loaded, parser};
use policy::span::Sources;

/// Says the only thing there is to say, or what is so without it.
const SAY_NOTHING_NEW: [(Block, &str); 8] = [
    (Block::LdapCfg, "version"),
    (Block::Global, "complex_bundle"),
    (Block::ModeCfg, "accounting"),
    (Block::Remote, "doi"),
    (Block::Remote, "situation"),
    (Block::Remote, "support_proxy"),
    (Block::Remote, "weak_phase1_check"),
    (Block::Sainfo, "compression_algorithm"),
];

/// A directive with its first value.
type Use = (Block, String, Option<String>);

fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(folder);
    let paths = fs::read_dir(folder).expect("part of the repository").map(|entry| entry.expect("readable").path());
    let configurations = paths.filter(|path| path.extension().is_some_and(|ending| ending == "conf"));
    configurations.map(|path| (path.clone(), fs::read_to_string(&path).unwrap_or_default())).collect()
}

fn load(text: &str) -> Loaded {
    racoon::load("racoon.conf", text.as_bytes(), &mut NoFiles)
}

fn inner(block: Block, name: &str) -> Option<Block> {
    Some(match (block, name) {
        (Block::Global, "padding") => Block::Padding,
        (Block::Global, "timer") => Block::Timer,
        (Block::Global, "listen") => Block::Listen,
        (Block::Global, "privsep") => Block::Privsep,
        (Block::Global, "radiuscfg") => Block::RadiusCfg,
        (Block::Global, "ldapcfg") => Block::LdapCfg,
        (Block::Global, "mode_cfg") => Block::ModeCfg,
        (Block::Global, "revocation") => Block::Revocation,
        (Block::Global, "remote") => Block::Remote,
        (Block::Global, "sainfo") => Block::Sainfo,
        (Block::Remote, "proposal") => Block::Proposal,
        _ => return None,
    })
}

/// Calls `visit` for each directive and each of its values, with the octets that the statement takes (none for a block).
fn walk(
    block: Block,
    statements: &[Statement],
    visit: &mut impl FnMut(Block, &str, Option<&str>, Option<std::ops::Range<usize>>),
) {
    for statement in statements {
        let name = statement.name.text.as_str();
        let range = statement.body.is_none().then_some(statement.name.span.start..statement.end.end);
        visit(block, name, None, range.clone());
        for arg in &statement.args {
            match (block, name) {
                (Block::Global, "path") => visit(Block::Path, &arg.text, None, range.clone()),
                (Block::Global, "sainfo") => visit(Block::SainfoHeader, &arg.text, None, None),
                _ => visit(block, name, Some(&arg.text), range.clone()),
            }
        }
        if let (Some(body), Some(inner)) = (&statement.body, inner(block, name)) {
            walk(inner, body, visit);
        }
    }
}

fn parse(text: &str) -> Vec<Statement> {
    let mut sources = Sources::default();
    let file = sources.add("racoon.conf", text.as_bytes());
    parser::parse(file, sources.text(file), &mut Diagnostics::default()).statements
}

fn uses(folder: &str) -> BTreeSet<Use> {
    let mut found = BTreeSet::new();
    for (_, text) in files(folder) {
        walk(Block::Global, &parse(&text), &mut |block, name, value, _| {
            found.insert((block, name.to_owned(), value.map(str::to_owned)));
        });
    }
    found
}

#[test]
fn every_row_of_the_table_stands_in_the_corpus() {
    let (good, bad) = (uses("valid"), uses("invalid"));
    let mut missing = Vec::new();
    for row in DIRECTIVES {
        let corpus = if matches!(row.state, State::Refused(_)) { &bad } else { &good };
        let is_there =
            |value: Option<&str>| corpus.contains(&(row.block, row.name.to_owned(), value.map(str::to_owned)));
        let any = row.only.is_empty() && is_there(None) || row.only.iter().any(|value| is_there(Some(value)));
        if !any {
            missing.push(format!("{}: {row} ({})", row.block.name(), row.state.name()));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// Taken out of the file, it leaves another configuration behind, or none.
#[test]
fn every_directive_that_works_changes_what_a_file_means() {
    let mut acts: BTreeMap<(Block, String), bool> = BTreeMap::new();
    for (path, text) in files("valid") {
        let Some(whole) = load(&text).config else { continue };
        let whole = Printed(&whole).to_string();
        let mut tried = Vec::new();
        walk(Block::Global, &parse(&text), &mut |block, name, _, range| {
            tried.extend(range.map(|range| (block, name.to_owned(), range)));
        });
        for (block, name, range) in tried {
            let (before, behind) = (text.get(..range.start), text.get(range.end..));
            let (Some(before), Some(behind)) = (before, behind) else { panic!("{}", path.display()) };
            let without = load(&format!("{before}{behind}")).config;
            let changed = without.is_none_or(|config| Printed(&config).to_string() != whole);
            *acts.entry((block, name)).or_default() |= changed;
        }
    }
    let works = DIRECTIVES.iter().filter(|row| row.state == State::Works && row.block != Block::SainfoHeader);
    let simple = works.filter(|row| !row.values.ends_with("{ ... }") && row.name != "include");
    for row in simple.filter(|row| !SAY_NOTHING_NEW.contains(&(row.block, row.name))) {
        let key = (row.block, row.name.to_owned());
        assert_eq!(acts.get(&key), Some(&true), "{}: {row}", row.block.name());
    }
}

#[test]
fn what_has_no_effect_is_warned_about_and_changes_nothing() {
    let sample = files("valid").into_iter().find(|(path, _)| path.ends_with("sample.conf")).expect("part of it").1;
    let loaded = load(&sample);
    let shown = loaded.render();
    for row in DIRECTIVES.iter().filter(|row| matches!(row.state, State::NoEffect(_)) && row.block == Block::Global) {
        let written = if row.only.is_empty() { row.name.to_owned() } else { format!("{} {}", row.name, row.only[0]) };
        if sample.contains(&written) {
            assert!(shown.contains(&format!("`{written}` has no effect: ")), "{written}\n{shown}");
        }
    }
}

#[test]
fn refusals_give_the_reason_of_the_table() {
    let (_, text) = files("invalid").into_iter().find(|(path, _)| path.ends_with("refused.conf")).expect("part of it");
    let loaded = load(&text);
    assert!(loaded.config.is_none());
    let shown = loaded.render();
    for row in DIRECTIVES {
        let State::Refused(why) = row.state else { continue };
        // Of algorithms the table of algorithms has the words.
        let judged = matches!(row.name, "encryption_algorithm" | "dh_group" | "pfs_group") && !row.only.is_empty();
        assert!(judged || shown.contains(&format!("is refused: {why}")), "{row}: {why}\n{shown}");
    }
}

#[test]
fn racoon_would_understand_what_uses_no_extension() {
    for (path, text) in files("seeds") {
        let loaded = load(&text);
        assert_eq!(render_all(&loaded.extensions, &loaded.sources), "", "{}", path.display());
    }
    let of = |name: &str| {
        let (_, text) = files("valid").into_iter().find(|(path, _)| path.ends_with(name)).expect("part of it");
        let loaded = load(&text);
        assert!(loaded.config.is_some(), "{}", loaded.render());
        render_all(&loaded.extensions, &loaded.sources)
    };
    assert_eq!(of("sample.conf"), "");
    let strict = of("extensions.conf");
    for row in DIRECTIVES.iter().filter(|row| row.extension) {
        let any = row.only.iter().any(|word| strict.contains(*word)) || strict.contains(&format!("`{}`", row.name));
        assert!(any, "{row} is not in\n{strict}");
    }
    for place in ["racoon.conf:3:1", "racoon.conf:11:", "racoon.conf:13:26: error: `inherit anonymous` is an extension"]
    {
        assert!(strict.contains(place), "{place}\n{strict}");
    }
    insta::with_settings!({ snapshot_path => "../config/strict", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("extensions.conf", strict);
    });
}

#[test]
fn no_password_is_shown_whatever_is_wrong_around_it() {
    let (_, text) = files("invalid").into_iter().find(|(path, _)| path.ends_with("secrets.conf")).expect("part of it");
    let loaded = load(&text);
    let shown = loaded.render();
    assert!(loaded.config.is_none() && loaded.diagnostics.len() > 8, "{shown}");
    assert!(!shown.contains("SHIBBOLETH"), "{shown}");
    for diagnostic in &loaded.diagnostics {
        assert!(!diagnostic.found.iter().any(|found| found.contains("SHIBBOLETH")), "{diagnostic:?}");
    }
}
