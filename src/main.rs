//! The binary `granary`: rooms put together, and the commands over them.

mod cli;

/// Two threads that lay out pages, decode rows or plan queries wait for each other in the allocator of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
