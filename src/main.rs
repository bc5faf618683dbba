//! The binary `granary`.
fn main() {}
