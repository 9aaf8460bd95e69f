//! Journals, scripts and CRLs of a size that nobody writes by hand, for `cargo xtask bench`.

fn main() -> std::process::ExitCode {
    tests::fill::run::main()
}
