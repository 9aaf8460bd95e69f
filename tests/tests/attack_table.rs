//! Every test that `tests/ATTACKS.md` names is one.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Rows that have to be there, each with a test.
const ROWS: &str = "A-06 A-10 A-13 A-14 A-19 A-20 A-21 A-22 A-23 A-24 A-25 A-26 A-27 A-28 A-29 A-30 A-33 A-34 A-35 A-36 \
                    A-45 A-51 D-3 T-3 X-1 X-2 X-3 X-4 C-1 C-2 C-3 C-4 C-5 C-6 C-7 C-8 C-9 \
                    C-10 C-11 C-12";

#[test]
fn every_test_named_there_exists() {
    let table = fs::read_to_string(root().join("tests/ATTACKS.md")).expect("the table is part of the repository");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && line.contains("::")).collect();
    let mut found = Vec::new();
    for row in &rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        found.extend(cells[1].split_whitespace());
        let tests: Vec<&str> = cells[cells.len() - 2].split('`').filter(|word| word.contains("::")).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            let (file, name) = test.split_once("::").expect("filtered so");
            let path = if file.contains("src/") { root().join(file) } else { root().join("tests/tests").join(file) };
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{test}: {}: {error}", path.display()));
            let at = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("{test} does not exist"));
            let before: Vec<&str> = text[..at].lines().rev().take(5).collect();
            assert!(
                before.iter().any(|line| ["#[test]", "#[tokio::test]"].contains(&line.trim())),
                "{test} is no test"
            );
        }
    }
    let (_, certificates) = table.split_once("## Certificates and CRLs").expect("the section is there");
    for row in certificates.lines().filter(|line| line.contains("::")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        // What it is said to make of the case is checked by `chain_table.rs`; what it cannot be asked is said to be so.
        let computed = row.contains("chain_table");
        assert!(cells.len() == 7 && !cells[4].is_empty(), "what does OpenSSL say? {row}");
        assert!(computed || cells[4].starts_with("not asked"), "not computed: {row}");
    }
    for row in ROWS.split_whitespace() {
        assert!(found.contains(&row), "no line for {row}");
    }
}
