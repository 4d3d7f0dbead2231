//! A folder with a folder for each class.

use std::fs;
use std::path::Path;

use super::files::Files;
use super::{All, DataError, Images, wrong};
use crate::data::list_images;

pub(super) fn folder(path: &Path) -> Result<All, DataError> {
    let mut classes = Vec::new();
    for entry in fs::read_dir(path).map_err(DataError::io("list", path))? {
        let entry = entry.map_err(DataError::io("list", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            classes.push((name, entry.path()));
        }
    }
    if classes.is_empty() {
        return Err(wrong(
            path,
            "has no folder in it",
            "put the images of each class into a folder named as the class",
        ));
    }
    classes.sort();
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    for (class, (_, folder)) in (0u32..).zip(&classes) {
        for image in list_images(folder)? {
            paths.push(image);
            labels.push(class);
        }
    }
    let classes = classes.into_iter().map(|(name, _)| name).collect();
    Ok(All { images: Images::Files(Files::new(paths)), labels, classes })
}
