//! Text to [`ast`] and back. Knows no layer.

pub mod ast;
