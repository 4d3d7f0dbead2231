//! The images of a folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::DataError;

const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// The paths of the images directly in `folder`, sorted by name in the order of bytes. Images are the files that end in
/// `.jpg`, `.jpeg` or `.png` in upper or lower case and do not start with a dot; subfolders are left out.
pub fn list_images(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, DataError> {
    let folder = folder.as_ref();
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io("list", folder))? {
        let path = entry.map_err(DataError::io("list", folder))?.path();
        if has_image_name(&path) && path.is_file() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(DataError::NoImages { folder: folder.to_path_buf() });
    }
    paths.sort();
    Ok(paths)
}

fn has_image_name(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let known = |extension: &str| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known));
    !hidden && path.extension().and_then(|extension| extension.to_str()).is_some_and(known)
}
