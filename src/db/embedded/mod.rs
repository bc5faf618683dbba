//! A Postgres of our own.
