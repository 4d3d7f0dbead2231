//! Everything that needs `unsafe`, behind safe faces.
#![allow(unsafe_code)] // The one module where it is allowed; every block says why it is sound.

pub mod map;
