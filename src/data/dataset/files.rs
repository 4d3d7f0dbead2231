//! Images in files of their own; decoded once where memory allows.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::{DataError, Image};

/// Bytes of decoded images that are kept, at most.
const KEPT: usize = 1 << 30;

/// Images by their paths.
#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    decoded: Vec<OnceLock<Arc<Image>>>,
    kept: AtomicUsize,
}

impl Files {
    pub(super) fn new(paths: Vec<PathBuf>) -> Files {
        let decoded = paths.iter().map(|_| OnceLock::new()).collect();
        Files { paths, decoded, kept: AtomicUsize::new(0) }
    }

    pub(super) fn path(&self, at: usize) -> &Path {
        &self.paths[at]
    }

    pub(super) fn image(&self, at: usize) -> Result<Arc<Image>, DataError> {
        if let Some(image) = self.decoded[at].get() {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(Image::read(&self.paths[at])?);
        let size = image.bytes().len();
        if self.kept.fetch_add(size, Ordering::Relaxed) + size <= KEPT {
            let _ = self.decoded[at].set(Arc::clone(&image));
        } else {
            self.kept.fetch_sub(size, Ordering::Relaxed);
        }
        Ok(image)
    }
}
