//! `cargo xtask interop`: the table of docs/interop.md from the results so far.

use std::fs;
use std::path::Path;

use super::{Verdict, build};
use crate::failure::{During, Result};
use crate::interop::{self, Results, Row};
use crate::scenario;

/// Writes docs/interop.md. It is bad when a scenario failed or was never played.
pub(super) fn interop() -> Result<Verdict> {
    let desk = build::desk_folder()?;
    let page = page(&desk, &Results::load(&desk)?)?;
    let target = build::root().join("docs/interop.md");
    fs::write(&target, &page).during(target.display())?;
    println!("written: {}", target.display());
    let bad = page.contains("**failed**") || page.contains("not played");
    if bad {
        println!("not every scenario has passed");
    }
    Ok(if bad { Verdict::Bad } else { Verdict::Good })
}

/// The page as of these results.
///
/// # Errors
/// When a peer's version cannot be told.
pub(super) fn page(desk: &Path, results: &Results) -> Result<String> {
    let rows: Vec<Row> = scenario::all()
        .into_iter()
        .map(|scenario| {
            let passed = results.passed(&scenario.name);
            Row { name: scenario.name, about: scenario.about.to_owned(), passed }
        })
        .collect();
    Ok(interop::page(&rows, &interop::versions(&desk.join("keys"))?))
}
