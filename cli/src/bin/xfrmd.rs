//! The daemon; may be installed as `racoon`.

fn main() -> std::process::ExitCode {
    cli::daemon::start::main()
}
