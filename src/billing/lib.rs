//! The room `billing`.
