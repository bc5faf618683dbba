//! The room `lake`.
