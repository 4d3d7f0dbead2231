//! Everything that needs `unsafe`, behind safe faces.
#![allow(unsafe_code)] // The one module where it is allowed; every block says why it is sound.

pub mod arena;
pub mod conv;
pub mod elementwise;
pub mod gemm;
pub mod linear;
pub mod map;
pub mod measure;
