//! The binary `granary`: rooms put together, and the commands over them.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
