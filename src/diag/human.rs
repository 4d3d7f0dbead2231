//! Diagnostics for people, as rustc draws them.
