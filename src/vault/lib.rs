//! The room `vault`.
