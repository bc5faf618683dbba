//! The room `foundation`.
