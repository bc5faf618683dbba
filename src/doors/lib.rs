//! The room `doors`: SQL endpoints for the tools that analysts have.
