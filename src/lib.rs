//! netc compiles `.net` files, a small language for convolutional networks, into checked graphs, cost reports and CPU
//! programs.

pub mod data;
pub mod diag;
pub mod dim;
pub mod ir;
pub mod op;
pub mod syntax;
pub mod tensor;
