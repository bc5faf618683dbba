//! The room `reconciliation`.
