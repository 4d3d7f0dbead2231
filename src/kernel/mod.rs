//! Everything that needs `unsafe`, behind safe faces: fast loops, threads, the arena's parts, the memory map.
//!
//! Values are rows of channels (`rows`). A kernel is written once over the lanes of `isa` and dealt to `threads`; what
//! is summed, and in which order, depends on the sizes alone. Each is tested against the plain loops of its operator.
#![allow(unsafe_code)] // The one module where it is allowed; every block says why it is sound.
#![allow(clippy::needless_range_loop)] // Indices run over several arrays of registers at once.

pub mod activation;
pub mod buffer;
pub mod conv;
pub mod conv_gradient;
pub mod depthwise;
pub mod depthwise_gradient;
pub mod elementwise;
pub mod isa;
pub mod layout;
pub mod linear;
pub mod linear_gradient;
pub mod lrn;
pub mod map;
pub mod measure;
pub mod norm;
mod outer;
pub mod pooling;
pub mod pooling_gradient;
pub mod product;
pub mod reduce;
pub mod rows;
pub mod scratch;
pub mod softmax;
pub mod threads;
pub mod update;
pub mod winograd;
