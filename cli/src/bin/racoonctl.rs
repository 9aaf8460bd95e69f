//! racoon's control program, spoken to xfrmd.

fn main() -> std::process::ExitCode {
    cli::racoonctl::run::main()
}
