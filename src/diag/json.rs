//! Diagnostics for tools.
