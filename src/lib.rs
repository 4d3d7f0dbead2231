//! netc compiles `.net` files, a small language for convolutional networks, into checked graphs, cost reports and CPU
//! programs.

pub mod cli;
mod compile;
pub mod cost;
pub mod data;
pub mod diag;
pub mod dim;
pub mod elab;
pub mod grad;
pub mod ir;
pub mod kernel;
pub mod measure;
pub mod onnx;
pub mod op;
pub mod opt;
pub mod outline;
pub mod picture;
pub mod plan;
pub mod pytorch;
pub mod report;
pub mod run;
pub mod shape;
pub mod syntax;
pub mod tensor;
pub mod train;
pub mod weights;

pub use compile::{
    Checked, CompileError, Compiled, FileLoader, Settings, check, check_model, compile, compile_text, compile_with,
    is_model,
};
pub use run::{Executable, Kept, RunError, RunOptions, Session};

/// The README's example, run as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The example of docs/speed.md, run as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../docs/speed.md")]
struct Speed;

/// The example of docs/onnx.md, run as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../docs/onnx.md")]
struct FromOnnx;

/// The example of docs/to-onnx.md, run as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../docs/to-onnx.md")]
struct ToOnnx;
