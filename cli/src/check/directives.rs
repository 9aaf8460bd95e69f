//! `xfrmctl check --directives`: what each directive of racoon.conf does here, as text, as JSON, and for the manual page.

use std::fmt::Write as _;

use policy::racoon::directives::{Block, DIRECTIVES, Directive};
use serde::Serialize;

/// A row, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The block it stands in; `global` for none.
    pub block: &'static str,
    /// Its word.
    pub directive: &'static str,
    /// The directive with what follows it.
    pub syntax: String,
    /// `works`, `no effect` or `refused`.
    pub state: &'static str,
    /// Why it does not work, else null.
    pub reason: Option<&'static str>,
    /// Is it unknown to racoon?
    pub extension: bool,
}

/// Every row, block by block.
pub fn rows() -> Vec<Row> {
    let row = |row: &Directive| Row {
        block: row.block.name(),
        directive: row.name,
        syntax: row.to_string(),
        state: row.state.name(),
        reason: row.state.reason(),
        extension: row.extension,
    };
    by_block().flat_map(|(_, rows)| rows.into_iter().map(row)).collect()
}

fn by_block() -> impl Iterator<Item = (Block, Vec<&'static Directive>)> {
    Block::ALL.into_iter().map(|block| (block, DIRECTIVES.iter().filter(|row| row.block == block).collect()))
}

/// As people read it: a paragraph for each block, a line for each row.
pub fn text() -> String {
    let mut out = String::new();
    for (block, rows) in by_block() {
        let _infallible = writeln!(out, "{}", block.name());
        for row in rows {
            let _infallible = write!(out, "  {:9}  {row}", row.state.name());
            if let Some(remark) = row.remark() {
                let _infallible = write!(out, "  ({remark})");
            }
            out.push('\n');
        }
    }
    out
}

/// As racoon.conf(5) has it.
pub fn manual() -> String {
    let mut out = String::new();
    for (block, rows) in by_block() {
        let _infallible = write!(out, "\n### {}\n\n", block.name());
        for row in rows {
            let remark = row.remark().map(|remark| format!(" ({remark})")).unwrap_or_default();
            let _infallible = writeln!(out, "- `{row}`: {}{remark}", row.state.name());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use policy::racoon::directives::State;

    use super::*;

    /// What stands between the two marks of the manual page.
    #[test]
    fn the_manual_page_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/man/racoon.conf.5.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, rest) = page.split_once("<!-- directives -->\n").unwrap();
        let (found, behind) = rest.split_once("\n<!-- end of directives -->").unwrap();
        let wanted = manual();
        if std::env::var_os("INSTA_UPDATE").is_some() && found != wanted {
            let page = format!("{before}<!-- directives -->\n{wanted}\n<!-- end of directives -->{behind}");
            std::fs::write(path, page).unwrap();
            return;
        }
        assert_eq!(found, wanted, "INSTA_UPDATE=always cargo test -p cli writes it anew");
    }

    #[test]
    fn json_has_a_reason_for_what_does_not_work() {
        let rows = rows();
        assert_eq!(rows.len(), DIRECTIVES.len());
        assert!(rows.iter().all(|row| (row.state == "works") == row.reason.is_none()));
        assert!(rows.iter().any(|row| row.extension && row.directive == "crl"));
    }

    /// Whole directives; a new name in this list needs a good reason.
    #[test]
    fn what_does_not_work_is_a_short_list() {
        let whole = DIRECTIVES.iter().filter(|row| row.only.is_empty());
        let inside = |row: &&Directive| {
            !matches!(row.block, Block::RadiusCfg | Block::LdapCfg | Block::Padding | Block::Privsep)
        };
        let inert = whole.filter(inside).filter(|row| {
            let given_up_by_racoon = row.state.reason().is_some_and(|why| why.contains("racoon"));
            row.state != State::Works && !given_up_by_racoon
        });
        let names: Vec<&str> = inert.map(|row| row.name).collect();
        let blocks = ["padding", "gss_id_enc", "radiuscfg"];
        let others = ["backupsa", "esp_frag", "gss_id", "gssapi_id"];
        assert_eq!(names, [blocks.as_slice(), &others].concat());
    }
}
