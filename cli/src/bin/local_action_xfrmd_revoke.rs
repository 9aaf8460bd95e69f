//! Keylime's revocation action for xfrmd.

fn main() -> std::process::ExitCode {
    cli::revocation::keylime::action::main()
}
