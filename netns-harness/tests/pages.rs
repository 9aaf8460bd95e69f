//! The pages that name scenarios are true: docs/interop.md lists every one, and the twins of other projects' scenarios in
//! tests/netns/TWINS.md exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use netns_harness::interop::{self, Name};
use netns_harness::scenario;

/// How many scenarios the other projects' own suites have that a racoon has to pass.
const STRONGSWAN: usize = 73;
const LIBRESWAN: usize = 252;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of a section's table: the other project's name, and what stands for it here.
fn rows<'a>(page: &'a str, section: &str) -> Vec<(&'a str, &'a str)> {
    let (_, rest) = page.split_once(&format!("\n## {section}\n")).expect("the section is there");
    let table = rest.split("\n## ").next().unwrap_or_default();
    table.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ")).collect()
}

/// The words in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Every Rust file of the workspace, read once.
fn sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                sources(&path, out);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push_str(&fs::read_to_string(&path).unwrap_or_default());
        }
    }
}

#[test]
fn every_twin_exists_and_nine_of_ten_have_one() {
    let page = read("tests/netns/TWINS.md");
    let scenarios = scenario::all();
    let features: BTreeSet<&str> = scenarios.iter().map(|scenario| Name::of(&scenario.name).feature).collect();
    let names: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    let mut code = String::new();
    sources(&root(), &mut code);
    let mut missing = Vec::new();
    for (section, count) in [("strongSwan", STRONGSWAN), ("libreswan", LIBRESWAN)] {
        let rows = rows(&page, section);
        let theirs: BTreeSet<&str> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!((rows.len(), theirs.len()), (count, count), "{section}: a row for each scenario, each once");
        let mut with_twin = 0;
        for (name, ours) in rows {
            if let Some(reason) = ours.strip_prefix("none: ") {
                assert!(!reason.trim().is_empty(), "{name} has neither a twin nor a reason");
                continue;
            }
            let twins = quoted(ours);
            assert!(!twins.is_empty(), "{name} has no twin");
            with_twin += 1;
            for twin in twins {
                let exists = match twin.rsplit_once("::") {
                    Some((_, function)) => code.contains(&format!("fn {function}(")),
                    None => features.contains(twin) || names.contains(twin),
                };
                if !exists {
                    missing.push(format!("{section}'s {name}: {twin}"));
                }
            }
        }
        assert!(with_twin * 10 >= count * 9, "{with_twin} of {section}'s {count} scenarios have a twin");
    }
    assert!(missing.is_empty(), "twins that do not exist: {missing:#?}");
}

#[test]
fn the_interop_page_lists_every_scenario_and_no_other() {
    let listed: BTreeSet<String> = interop::listed(&read("docs/interop.md")).into_iter().collect();
    let existing: BTreeSet<String> = scenario::all().into_iter().map(|scenario| scenario.name).collect();
    let missing: Vec<_> = existing.difference(&listed).collect();
    let too_many: Vec<_> = listed.difference(&existing).collect();
    assert!(
        missing.is_empty() && too_many.is_empty(),
        "docs/interop.md lacks {missing:?} and has {too_many:?}: run `cargo xtask test`, then `cargo xtask interop`"
    );
}
