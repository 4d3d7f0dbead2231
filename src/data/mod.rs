//! Files that go into a net and come out of it: photos, arrays in `.npy` files, class names.
//!
//! [`Image::read`] decodes a photo, [`Preprocess::apply`] turns it into a net's input, [`crops`] into several. [`npy`]
//! reads and writes arrays, [`Labels`] holds class names, [`list_images`] lists a folder, and [`write_atomic`] replaces
//! a file or leaves it alone. Every error is a [`DataError`] that names the file and what to do. Whatever a file claims
//! about itself, the memory taken is in proportion to its length and bounded. All types are `Send` and `Sync`.

pub mod activations;
mod atomic;
pub mod augment;
mod container;
mod crops;
pub mod dataset;
mod error;
mod folder;
mod image;
mod jpeg;
mod labels;
pub mod loader;
pub mod npy;
mod npy_header;
mod pixels;
pub mod preprocess;
pub(crate) mod random;
mod resize;
pub mod statistics;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use atomic::write_atomic;
pub use crops::{Crops, crops};
pub(crate) use error::reason;
pub use error::{DataError, Place};
pub use folder::list_images;
pub use image::{Image, MAX_PIXELS};
pub use labels::Labels;
pub use preprocess::Preprocess;

/// What is wrong with a TOML file, and where; its long lines are cut.
pub(crate) fn toml_fault(error: &toml::de::Error) -> String {
    const LONGEST: usize = 200;
    let cut = |line: &str| match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    };
    error.to_string().trim_end().lines().map(cut).collect::<Vec<String>>().join("\n")
}

/// The contents of a file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(DataError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(DataError::FileTooLarge { file: path.to_path_buf(), limit });
    }
    Ok(bytes)
}
