//! What can be wrong with a file that is read or written, as facts. [`DataError::file`], [`DataError::place`] and
//! [`DataError::fix`] are what a diagnostic needs besides the one line that `Display` gives.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::image::MAX_PIXELS;
use super::npy::NpyFault;
use super::preprocess::PreprocessFault;

/// Where in a file the mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A byte, counted from 0.
    Byte(u64),
    /// A line of text, counted from 1.
    Line(usize),
    /// A line and a column of text, both counted from 1; the column counts bytes.
    LineColumn(usize, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Byte(at) => write!(f, "byte {at}"),
            Place::Line(line) => write!(f, "line {line}"),
            Place::LineColumn(line, column) => write!(f, "line {line}, column {column}"),
        }
    }
}

/// A file that could not be read, understood or written. The messages name the file and stand on one line.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {}", file.display(), reason(action, source))]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What was tried: `read`, `write`, `list`.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The file is larger than any file of its kind that is read.
    #[error("`{}` has more than {limit} bytes, the most that is read of such a file", file.display())]
    FileTooLarge {
        /// The file.
        file: PathBuf,
        /// The bound in bytes.
        limit: u64,
    },
    /// The first bytes are neither those of a JPEG nor those of a PNG.
    #[error("`{}` is neither a JPEG nor a PNG", file.display())]
    NotAnImage {
        /// The file.
        file: PathBuf,
    },
    /// The file stops before its image does.
    #[error("`{}` is cut off: its image goes on past its last byte, byte {at}", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// The length of the file, in bytes.
        at: u64,
    },
    /// The file contradicts its format at a byte.
    #[error("`{}` is damaged at byte {at}: {what}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The byte, counted from 0.
        at: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file contradicts its format.
    #[error("`{}` does not decode: {what}", file.display())]
    Undecodable {
        /// The file.
        file: PathBuf,
        /// The decoder's reason.
        what: String,
    },
    /// A rare form of the format that is not decoded.
    #[error("`{}` is of a kind that is not decoded: {what}", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// The form.
        what: String,
    },
    /// The header claims more pixels than are decoded.
    #[error("`{}` claims {width} x {height} pixels, more than the {MAX_PIXELS} that are decoded", file.display())]
    TooManyPixels {
        /// The file.
        file: PathBuf,
        /// Claimed height, in pixels.
        height: usize,
        /// Claimed width, in pixels.
        width: usize,
    },
    /// The header claims more pixels than so few bytes can describe.
    #[error("`{}` claims {width} x {height} pixels, which its {bytes} bytes cannot hold", file.display())]
    OutOfProportion {
        /// The file.
        file: PathBuf,
        /// Claimed height, in pixels.
        height: usize,
        /// Claimed width, in pixels.
        width: usize,
        /// The length of the file.
        bytes: usize,
    },
    /// The preprocessing does not make sense, or not for this image.
    #[error("cannot preprocess `{}`: {fault}", file.display())]
    Preprocess {
        /// The image.
        file: PathBuf,
        /// What is wrong.
        fault: PreprocessFault,
    },
    /// The file is not the `.npy` file that it should be.
    #[error("`{}` is not a usable .npy file: {fault}", file.display())]
    Npy {
        /// The file.
        file: PathBuf,
        /// The byte at which the mistake is.
        at: u64,
        /// What is wrong.
        fault: NpyFault,
    },
    /// The file is not a list of class names.
    #[error("`{}`, {place}: {why}", file.display())]
    Labels {
        /// The file.
        file: PathBuf,
        /// Where.
        place: Place,
        /// What is wrong there.
        why: String,
    },
    /// A file of a set of labelled images is not what it should be.
    #[error("`{}`{} {what}", file.display(), place.map_or(String::new(), |place| format!(", {place}:")))]
    Dataset {
        /// The file.
        file: PathBuf,
        /// Where.
        place: Option<Place>,
        /// What is wrong.
        what: String,
        /// What to do.
        help: String,
    },
    /// The folder holds no image.
    #[error("`{}` holds no .jpg, .jpeg or .png file", folder.display())]
    NoImages {
        /// The folder.
        folder: PathBuf,
    },
}

impl DataError {
    /// The file or folder that the error is about.
    pub fn file(&self) -> &Path {
        match self {
            DataError::Io { file, .. }
            | DataError::FileTooLarge { file, .. }
            | DataError::NotAnImage { file }
            | DataError::Truncated { file, .. }
            | DataError::Damaged { file, .. }
            | DataError::Undecodable { file, .. }
            | DataError::Unsupported { file, .. }
            | DataError::TooManyPixels { file, .. }
            | DataError::OutOfProportion { file, .. }
            | DataError::Preprocess { file, .. }
            | DataError::Npy { file, .. }
            | DataError::Labels { file, .. }
            | DataError::Dataset { file, .. } => file,
            DataError::NoImages { folder } => folder,
        }
    }

    /// The place in the file, where the mistake has one.
    pub fn place(&self) -> Option<Place> {
        match self {
            DataError::Truncated { at, .. } | DataError::Damaged { at, .. } | DataError::Npy { at, .. } => {
                Some(Place::Byte(*at))
            }
            DataError::Labels { place, .. } => Some(*place),
            DataError::Dataset { place, .. } => *place,
            DataError::Io { .. }
            | DataError::FileTooLarge { .. }
            | DataError::NotAnImage { .. }
            | DataError::Undecodable { .. }
            | DataError::Unsupported { .. }
            | DataError::TooManyPixels { .. }
            | DataError::OutOfProportion { .. }
            | DataError::Preprocess { .. }
            | DataError::NoImages { .. } => None,
        }
    }

    /// What to do about it, as a sentence without its full stop.
    pub fn fix(&self) -> String {
        match self {
            DataError::Io { action, source, .. } => io_fix(action, source.kind()).to_string(),
            DataError::FileTooLarge { .. } => "check that this is the file you mean".to_string(),
            DataError::NotAnImage { .. } => "convert it to JPEG or PNG; the contents count, not the name".to_string(),
            DataError::Truncated { .. } => "copy or download the file again".to_string(),
            DataError::Damaged { .. } | DataError::Undecodable { .. } => "get the file anew".to_string(),
            DataError::Unsupported { .. } => "save it as a PNG or as a JPEG of the usual kind".to_string(),
            DataError::TooManyPixels { .. } => "scale the image down first".to_string(),
            DataError::OutOfProportion { .. } => {
                "the header is damaged or made to exhaust memory; get the image anew".to_string()
            }
            DataError::Preprocess { fault, .. } => fault.fix(),
            DataError::Npy { fault, .. } => fault.fix(),
            DataError::Labels { .. } => {
                "give one name a line, or JSON: [\"cat\", ..], {\"0\": \"cat\", ..} or {\"0\": [\"n01440764\", \"tench\"], ..}"
                    .to_string()
            }
            DataError::Dataset { help, .. } => help.clone(),
            DataError::NoImages { .. } => "name a folder that directly holds images; subfolders are not searched".to_string(),
        }
    }

    pub(crate) fn io(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> DataError {
        let file = file.to_path_buf();
        move |source| DataError::Io { file, action, source }
    }
}

/// Why the system refused, without its error number.
pub(crate) fn reason(action: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if action == "write" => "there is no such folder".to_owned(),
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

fn io_fix(action: &str, kind: io::ErrorKind) -> &'static str {
    match (action, kind) {
        ("write", io::ErrorKind::NotFound) => "create the folder first",
        (_, io::ErrorKind::NotFound) => "check the path; relative paths start from the current folder",
        (_, io::ErrorKind::PermissionDenied) => "check the permissions of the file and its folder",
        (_, io::ErrorKind::IsADirectory) => "name a file, not a folder",
        (_, io::ErrorKind::NotADirectory) => "name a folder, not a file",
        ("write", io::ErrorKind::StorageFull) => "free some space; the file is as it was before",
        ("write", _) => "choose another place to write to; the file is as it was before",
        _ => "check that the file can be read",
    }
}
