//! What can be wrong with a weights file.

use std::path::PathBuf;

/// Why weights could not be read or written.
///
/// The text names the file, the place in it and what to do; it is complete without [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot read {}: {}", path.display(), crate::data::reason("read", source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(crate::data::DataError),
    /// The content is no format that is read here.
    #[error("{}: {found}\n  help: {help}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the content looks like.
        found: String,
        /// What to do.
        help: String,
    },
    /// The file has the right format but breaks its rules: cut short, damaged or hostile.
    #[error("{}: {place}: {problem}\n  help: {help}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part of the file: `header`, tensor `…`, byte 17 of data.pkl.
        place: String,
        /// What is wrong there.
        problem: String,
        /// What to do.
        help: String,
    },
    /// A tensor's numbers are of a type that is not read.
    #[error("{}: tensor `{tensor}` holds {dtype}, which is not read (only {})\n  help: convert it to one of these and save again", path.display(), super::Dtype::list())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The type's name as the file has it.
        dtype: String,
    },
    /// A pickle asks for a Python object that is not on the short list of harmless ones. Nothing was executed.
    #[error("{}: byte {at} of {place}: the pickle asks for the Python object `{global}`, which is refused; nothing was executed\n  help: {help}", path.display())]
    Global {
        /// The file.
        path: PathBuf,
        /// The pickle in the file.
        place: String,
        /// Where in the pickle.
        at: usize,
        /// Module and name.
        global: String,
        /// What to do.
        help: String,
    },
    /// The rename rules do not fit the checkpoint, or are wrong in themselves.
    #[error("{}: {}", path.display(), problems.join("\n  "))]
    Rename {
        /// The file of rules.
        path: PathBuf,
        /// What is wrong, all of it.
        problems: Vec<String>,
    },
    /// The name of a file to be written has no extension that says its form.
    #[error("{}: its name does not say in which form to write\n  help: name it .safetensors, .pth or .pt", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// A tensor that cannot be written in the form or the type asked for.
    #[error("cannot write {}: tensor `{tensor}`: {problem}\n  help: {help}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is in the way.
        problem: String,
        /// What to do.
        help: String,
    },
    /// A parameter that cannot be given initial weights or held in memory.
    #[error("parameter `{name}`: {problem}")]
    Parameter {
        /// The parameter's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// What to do about a file that was damaged on its way.
pub(super) const GET_AGAIN: &str = "fetch or save the file again; it is cut short or damaged";

/// A name from a file as it can be printed: without control characters, and not endless.
pub(super) fn show(name: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown = String::new();
    for (i, c) in name.chars().enumerate() {
        if i == LONGEST {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(show("conv1.weight"), "conv1.weight");
        assert_eq!(show("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(show(&"x".repeat(1000)).chars().count(), 121);
    }
}
