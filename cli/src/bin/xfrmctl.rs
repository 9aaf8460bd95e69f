//! The tool for people and scripts.

fn main() -> std::process::ExitCode {
    cli::xfrmctl::run::main()
}
