//! The room `metering`.
