//! The room `warehouse`.
