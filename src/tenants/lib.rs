//! The room `tenants`.
