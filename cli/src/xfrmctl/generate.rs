//! `xfrmctl generate`: configuration from keylime's subnets file.

use std::io::{self, Write};
use std::path::Path;

use policy::keylime::{generate, subnets};

use super::failure::Failure;
use crate::exit_code::Exit;

/// The setkey script for the subnets in `file`, or the racoon.conf that goes with it. Warnings go to standard error.
///
/// # Errors
/// The file cannot be read, or what is wrong with it.
pub fn generate(file: &Path, racoon_conf: bool) -> Result<String, Failure> {
    let name = file.display().to_string();
    let text = std::fs::read(file).map_err(|error| Failure::new(Exit::NotSo, format!("{name}: {error}")))?;
    let read = subnets::parse(&name, &text);
    let findings = read.render();
    if !read.is_good() {
        return Err(Failure::new(Exit::NotSo, findings.trim_end().to_owned()));
    }
    let _closed = write!(io::stderr(), "{findings}");
    Ok(if racoon_conf { generate::racoon_conf().to_owned() } else { generate::setkey_script(&read.subnets) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_gives_its_findings_and_no_script() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("subnets");
        std::fs::write(&file, "ipsec\nten\n").unwrap();
        let failure = generate(&file, false).unwrap_err();
        assert!(failure.to_string().contains("subnets:2:1: error: `ten`"), "{failure}");
        std::fs::write(&file, "ipsec\n10.0.0.0/8\n").unwrap();
        assert!(generate(&file, false).unwrap().contains("spdadd 10.0.0.0/8 0.0.0.0/0 any -P in ipsec"));
        assert!(generate(&file, true).unwrap().contains("remote anonymous"));
        assert!(generate(Path::new("/nowhere/subnets"), false).unwrap_err().to_string().contains("/nowhere/subnets"));
    }
}
