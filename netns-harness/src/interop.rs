//! The table of docs/interop.md: which scenario passed with which peer, in which role. It is made of outcomes and of the
//! list of scenarios, so that it can neither name one that does not exist nor keep silent about one that does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{During, Failure, Result};
use crate::job::Outcome;
use crate::peer::libreswan;
use crate::process;

/// The programs that stand beside each other, by the names that scenarios end in.
pub const PROGRAMS: [&str; 5] = ["xfrmd", "charon", "pluto", "vpnc", "ike-scan"];
/// The one that is ours.
const OURS: &str = "xfrmd";

/// A scenario's name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<'a> {
    /// What is tried.
    pub feature: &'a str,
    /// Who initiates and who responds, where both vary.
    pub pair: Option<(&'static str, &'static str)>,
}

impl<'a> Name<'a> {
    /// Takes `feature/initiator-responder` apart, or a name that is only a feature.
    pub fn of(name: &'a str) -> Self {
        let pair = |pair: &str| {
            PROGRAMS.into_iter().find_map(|initiator| {
                let responder = pair.strip_prefix(initiator)?.strip_prefix('-')?;
                PROGRAMS.into_iter().find(|program| *program == responder).map(|responder| (initiator, responder))
            })
        };
        match name.rsplit_once('/').and_then(|(feature, suffix)| Some((feature, pair(suffix)?))) {
            Some((feature, pair)) => Self { feature, pair: Some(pair) },
            None => Self { feature: name, pair: None },
        }
    }
}

/// What is known of one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// Whether it passed when it was played last.
    pub passed: Option<bool>,
}

/// The results of the last time each scenario was played, kept beside the logs.
#[derive(Debug, Default)]
pub struct Results {
    passed: BTreeMap<String, bool>,
}

impl Results {
    /// Reads what earlier runs left; nothing if there was none.
    ///
    /// # Errors
    /// When the file is there and is no such file.
    pub fn load(desk: &Path) -> Result<Self> {
        let path = Self::path(desk);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).during(path.display())?;
        Ok(Self { passed: serde_json::from_str(&text).during(path.display())? })
    }

    /// Notes how scenarios ended.
    pub fn note(&mut self, outcomes: &[Outcome]) {
        self.passed.extend(outcomes.iter().map(|outcome| (outcome.name.clone(), outcome.result.is_ok())));
    }

    /// Writes it down.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn save(&self, desk: &Path) -> Result<()> {
        let path = Self::path(desk);
        let text = serde_json::to_string_pretty(&self.passed).during("writing results")?;
        fs::write(&path, text).during(path.display())
    }

    /// Whether a scenario passed when it was played last.
    pub fn passed(&self, name: &str) -> Option<bool> {
        self.passed.get(name).copied()
    }

    fn path(desk: &Path) -> PathBuf {
        desk.join("results.json")
    }
}

/// The page.
pub fn page(rows: &[Row], versions: &[(&'static str, String)]) -> String {
    let mut out = String::from(
        "# Interoperability\n\n\
         Written by `cargo xtask interop` from the results of `cargo xtask test`; a unit test compares it with the list of\n\
         scenarios. A cell is the scenario `FEATURE/INITIATOR-RESPONDER`: xfrmd in the row's role, the column's program in\n\
         the other. Every scenario compares what both kernels hold where there are two, and fails when its capture shows a\n\
         packet in clear; `tests/netns/README.md` describes them. An empty cell: there is no such scenario, because the\n\
         program lacks the feature or the role, or because nothing of the other program takes part.\n\n",
    );
    for (program, version) in versions {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "- {program} {version}");
    }
    let mut columns = format!("\n| feature | xfrmd is |{}\n", PROGRAMS.map(|program| format!(" {program} |")).concat());
    columns.push_str("|---|---|---|---|---|---|---|\n");
    out.push_str(&columns);
    let mut features: Vec<&str> = Vec::new();
    for row in rows {
        let name = Name::of(&row.name);
        if name.pair.is_some_and(|(a, b)| a == OURS || b == OURS) && !features.contains(&name.feature) {
            features.push(name.feature);
        }
    }
    for feature in features {
        for (role, ours_first) in [("initiator", true), ("responder", false)] {
            let cells = PROGRAMS.map(|program| {
                let pair = if ours_first { (OURS, program) } else { (program, OURS) };
                rows.iter().find(|row| Name::of(&row.name) == Name { feature, pair: Some(pair) }).map(mark)
            });
            if cells.iter().any(Option::is_some) {
                let cells = cells.map(|cell| format!(" {} |", cell.unwrap_or_default())).concat();
                let _ = writeln!(out, "| `{feature}` | {role} |{cells}");
            }
        }
    }
    out.push_str("\n## What is played without a choice of programs, or to try the desk itself\n\n| scenario | shows | |\n|---|---|---|\n");
    for row in rows {
        if !Name::of(&row.name).pair.is_some_and(|(a, b)| a == OURS || b == OURS) {
            let _ = writeln!(out, "| `{}` | {} | {} |", row.name, row.about, mark(row));
        }
    }
    out
}

fn mark(row: &Row) -> &'static str {
    match row.passed {
        Some(true) => "passed",
        Some(false) => "**failed**",
        None => "not played",
    }
}

/// The scenarios that a page has a cell or a line for.
pub fn listed(page: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in page.lines() {
        let Some((feature, rest)) = line.strip_prefix("| `").and_then(|line| line.split_once("` |")) else { continue };
        let cells: Vec<&str> = rest.split('|').map(str::trim).collect();
        match cells.split_first() {
            Some((role @ (&"initiator" | &"responder"), cells)) => {
                for (program, cell) in PROGRAMS.iter().zip(cells) {
                    // xfrmd with itself stands in both rows.
                    if cell.is_empty() || (*program == OURS && **role == *"responder") {
                        continue;
                    }
                    let pair = if **role == *"initiator" { [OURS, program] } else { [program, OURS] };
                    out.push(format!("{feature}/{}", pair.join("-")));
                }
            }
            _ => out.push(feature.to_owned()),
        }
    }
    out
}

/// The peers' versions, as their packages say.
pub fn versions(keys: &Path) -> Result<Vec<(&'static str, String)>> {
    let installed = |package: &str| -> Result<String> {
        let out = process::check(Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]))?;
        Ok(out.split(['-', '+']).next().unwrap_or_default().to_owned())
    };
    Ok(vec![
        ("charon", format!("{} (strongSwan)", installed("charon-systemd")?)),
        ("pluto", format!("{} (libreswan)", libreswan_version(keys)?)),
        ("vpnc", installed("vpnc")?),
        ("ike-scan", installed("ike-scan")?),
    ])
}

/// The package lies beside what it was unpacked to.
fn libreswan_version(keys: &Path) -> Result<String> {
    let folder = libreswan::unpacked(keys);
    let names = fs::read_dir(&folder).during(folder.display())?.flatten();
    let version = names.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        Some(name.strip_prefix("libreswan_")?.split('-').next()?.to_owned())
    });
    version.into_iter().next().ok_or_else(|| Failure::new(format!("no package in {}", folder.display())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn row(name: &str, passed: Option<bool>) -> Row {
        Row { name: name.to_owned(), about: "something".to_owned(), passed }
    }

    #[test]
    fn names_are_taken_apart() {
        let pair = Some(("ike-scan", "xfrmd"));
        assert_eq!(Name::of("probe/ike-scan-xfrmd"), Name { feature: "probe", pair });
        assert_eq!(Name::of("seed-ipop"), Name { feature: "seed-ipop", pair: None });
    }

    #[test]
    fn a_page_lists_what_it_was_made_of() {
        let names = ["a/xfrmd-xfrmd", "a/xfrmd-charon", "b/vpnc-xfrmd", "b/charon-charon", "seed"];
        let rows: Vec<Row> = names.iter().map(|name| row(name, Some(true))).collect();
        let page = page(&rows, &[("charon", "5".to_owned())]);
        assert_eq!(listed(&page).into_iter().collect::<BTreeSet<_>>(), names.map(str::to_owned).into());
    }
}
