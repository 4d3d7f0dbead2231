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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn images_are_listed_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.PNG", "a.jpeg", "c.Jpg", "notes.txt", ".d.jpg", "jpg"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("e.jpg")).unwrap();
        let paths = list_images(folder.path()).unwrap();
        let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.jpeg", "b.PNG", "c.Jpg"]);
    }

    #[test]
    fn no_images_and_no_folder_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(list_images(folder.path()), Err(DataError::NoImages { .. })));
        assert!(matches!(list_images(folder.path().join("no")), Err(DataError::Io { action: "list", .. })));
    }
}
