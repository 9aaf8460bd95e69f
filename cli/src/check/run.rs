//! The whole check: read, compare, grade, report.

use std::io;
use std::path::{Path, PathBuf};

use policy::model::daemon::DaemonConfig;
use policy::racoon;
use policy::setkey::parser;
use serde::Serialize;

use super::finding::{Finding, Level};
use super::grade::{Grade, grades};
use super::{certificates, policies};
use crate::daemon::files::Globs;
use crate::daemon::privileges::Identity;
use crate::pki::remotes;
use crate::revocation::deny_list::SharedDenyList;
use crate::setkey::names::SystemNames;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// How many findings are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// All of them, in the order of the files.
    pub findings: Vec<Finding>,
    /// How strong each block is.
    pub grades: Vec<Grade>,
}

/// Checks these files: racoon.conf, setkey scripts, in any order; what each is shows in its text.
///
/// # Errors
/// A file that cannot be read, in words.
pub fn check(paths: &[PathBuf], racoon_strict: bool, deny_list: &SharedDenyList) -> Result<Checked, String> {
    let (mut findings, mut configs, mut scripts) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let name = path.display().to_string();
        let text = read(path).map_err(|error| format!("{name}: {error}"))?;
        if is_setkey(&text) {
            let script = parser::parse_with(&name, &text, &mut SystemNames::default());
            findings.extend(script.diagnostics.iter().map(|one| Finding::of(one, &script.sources)));
            scripts.push(script);
        } else {
            configs.extend(config(name, &text, racoon_strict, &mut findings));
        }
    }
    // A script with a mistake says nothing of what is asked for.
    let are_whole = scripts.iter().all(|script| script.first_error().is_none());
    for one in &configs {
        files(one, deny_list, &mut findings);
        if are_whole && !scripts.is_empty() {
            findings.extend(policies::compare(&one.config, &one.name, &scripts.iter().collect::<Vec<_>>()));
        }
    }
    let count = |level| findings.iter().filter(|finding: &&Finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    let grades = configs.iter().flat_map(|one| grades(&one.config)).collect();
    Ok(Checked { errors, warnings, findings, grades })
}

/// As large a configuration as the daemon reads.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    crate::daemon::files::read(path)
}

/// A setkey script begins with one of its commands.
fn is_setkey(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let code = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let first = code.flat_map(|line| line.split([' ', '\t', ';', '\r'])).find(|word| !word.is_empty());
    first.is_some_and(|word| parser::COMMANDS.contains(&word))
}

/// A racoon.conf without errors.
struct Written {
    name: String,
    config: DaemonConfig,
    text: racoon::Loaded,
}

impl Written {
    /// A finding about a file that is named in it, at the place where it is.
    fn about(&self, level: Level, path: Option<&Path>, message: String) -> Finding {
        let place = path.and_then(|path| self.text.about_file(&path.to_string_lossy(), message.as_str()));
        match place {
            Some(error) if level == Level::Error => Finding::of(&error, &self.text.sources),
            _ => Finding::about(level, &self.name, message),
        }
    }
}

fn config(name: String, text: &[u8], racoon_strict: bool, findings: &mut Vec<Finding>) -> Option<Written> {
    let mut loaded = racoon::load(&name, text, &mut Globs);
    let extensions = loaded.extensions.iter().filter(|_| racoon_strict);
    findings.extend(loaded.diagnostics.iter().chain(extensions).map(|one| Finding::of(one, &loaded.sources)));
    Some(Written { name, config: loaded.config.take()?, text: loaded })
}

/// Loads what it names as the daemon would.
fn files(written: &Written, deny_list: &SharedDenyList, findings: &mut Vec<Finding>) {
    let config = &written.config;
    let about = |level, text: String| Finding::about(level, &written.name, text);
    if let Err(error) = Identity::of(&config.privsep) {
        findings.push(about(Level::Error, error.to_string()));
    }
    match remotes::load(config, SharedDenyList::clone(deny_list)) {
        Ok(loaded) => {
            findings.extend(loaded.warnings.into_iter().map(|text| about(Level::Warning, text)));
            if let Some(file) = &loaded.psk_file {
                findings.extend(file.diagnostics.iter().map(|one| Finding::of(one, &file.sources)));
            }
        }
        Err(errors) => {
            let found = errors.iter().map(|error| written.about(Level::Error, error.path(), error.to_string()));
            // Blocks that inherit from one another name the same files.
            found.for_each(|one| findings.extend((!findings.contains(&one)).then_some(one)));
        }
    }
    match certificates::inspect(config) {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(about(Level::Error, error.to_string())),
    }
}

#[cfg(test)]
mod tests;
