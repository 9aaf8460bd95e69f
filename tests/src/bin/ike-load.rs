//! Many initiators against one responder, over real UDP: the load of `cargo xtask bench`.

fn main() -> std::process::ExitCode {
    tests::load::run::main()
}
