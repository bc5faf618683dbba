//! The room `intelligence`.
