//! The room `pdf`.
