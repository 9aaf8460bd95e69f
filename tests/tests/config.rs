//! Configurations on disk: those of the seeds load, valid ones resolve as the snapshots say, invalid ones are explained
//! as the snapshots say, hostile ones end in linear time.
//!
//! `INSTA_UPDATE=always cargo test -p tests --test config` rewrites the snapshots; read them before committing.

use std::fs;
use std::path::{Path, PathBuf};

use policy::racoon::include::NoFiles;
use policy::racoon::{self, Loaded};
use policy::setkey;
use policy::setkey::parser::Script;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn load(folder_name: &str, name: &str) -> Loaded {
    let text = fs::read(folder(folder_name).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    racoon::load(name, &text, &mut NoFiles)
}

/// Loads a seed, which must have no error, and checks that each line of `warned` is warned about.
fn assert_seed_runs(name: &str, warned: &[&str]) {
    let loaded = load("seeds", name);
    let shown = loaded.render();
    assert!(loaded.config.is_some(), "{shown}");
    for word in warned {
        assert!(shown.contains(word), "no warning about {word}:\n{shown}");
    }
    println!("{shown}");
}

#[test]
fn the_seeds_configurations_run() {
    assert_seed_runs("keylime.conf", &["keylime.conf:28:2: warning: `compression_algorithm` has no effect"]);
    for name in ["ipop-host1.conf", "ipop-host2.conf"] {
        assert_seed_runs(name, &["3des is weak"]);
    }
    for name in ["lartc-upstairs.conf", "lartc-laptop.conf"] {
        assert_seed_runs(name, &["3des is weak"]);
    }
}

fn load_script(folder_name: &str, name: &str) -> Script {
    let text = fs::read(folder(folder_name).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    setkey::parser::parse(name, &text)
}

#[test]
fn the_seeds_scripts_run() {
    let scripts = [
        ("keylime.setkey", 8),
        ("ipop.setkey", 2),
        ("ipop-purge.setkey", 2),
        ("lartc-laptop.setkey", 4),
        ("lartc-upstairs.setkey", 4),
    ];
    for (name, statements) in scripts {
        let script = load_script("seeds", name);
        assert_eq!(script.diagnostics, [], "{name}: {}", script.render());
        assert_eq!(script.statements.len(), statements, "{name}");
    }
}
