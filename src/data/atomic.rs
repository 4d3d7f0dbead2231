//! Output files that are either whole or untouched.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::error::DataError;

/// Writes what `fill` writes to the file at `path`: into a new file in the same folder, which is flushed to the disk and
/// then takes the old one's name. After an error the file is as it was before.
///
/// A new file gets the usual permissions, a replaced one keeps its own; a symbolic link stays one and its target is
/// replaced. A file without write permission is refused. What is not a regular file, such as `/dev/null` or a named
/// pipe, is written to as it stands.
pub fn write_atomic(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), DataError> {
    let path = path.as_ref();
    write(path, fill).map_err(DataError::io("write", path))
}

fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let old = match fs::metadata(path) {
        Ok(old) if old.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(old) if !old.is_file() => return write_in_place(path, fill),
        Ok(old) if old.permissions().readonly() => return Err(io::ErrorKind::PermissionDenied.into()),
        Ok(old) => Some(old.permissions()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let target = if old.is_some() { fs::canonicalize(path)? } else { path.to_path_buf() };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".netc-").suffix(".tmp");
    if let Some(fresh) = fresh_permissions() {
        builder.permissions(fresh);
    }
    let mut file = builder.tempfile_in(folder)?;
    let mut buffer = BufWriter::new(file.as_file_mut());
    fill(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    if let Some(permissions) = old {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(&target)?;
    sync_folder(folder);
    Ok(())
}

fn write_in_place(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = BufWriter::new(OpenOptions::new().write(true).open(path)?);
    fill(&mut buffer)?;
    buffer.flush()
}

/// Read and write for everybody, less what the user's umask takes.
#[cfg(unix)]
fn fresh_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn fresh_permissions() -> Option<Permissions> {
    None
}

/// Makes the rename itself durable, where folders can be flushed.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        // The file is in place already; some file systems refuse to flush folders.
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(folder).unwrap().map(name).collect()
    }

    #[test]
    fn creates_and_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        for text in ["one", "two"] {
            write_atomic(&path, |out| out.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["out.txt"]);
    }

    #[test]
    fn an_error_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        fs::write(&path, "old").unwrap();
        let error = write_atomic(&path, |out| {
            out.write_all(b"half of the new")?;
            Err(io::Error::other("the source dried up"))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write `{}`: the source dried up", path.display()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["out.txt"]);
    }

    #[test]
    fn a_missing_folder_and_a_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = write_atomic(folder.path().join("no/out.txt"), |_| Ok(())).unwrap_err();
        assert_eq!(missing.fix(), "create the folder first");
        let directory = write_atomic(folder.path(), |_| Ok(())).unwrap_err();
        assert_eq!(directory.fix(), "name a file, not a folder");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("out.txt"), folder.path().join("link.txt"));
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        fs::write(&path, "old").unwrap();
        let usual = mode();
        fs::remove_file(&path).unwrap();
        write_atomic(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(mode(), usual);

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        symlink("out.txt", &link).unwrap();
        write_atomic(&link, |out| out.write_all(b"newer")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
        assert_eq!(mode(), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        assert!(write_atomic(&path, |out| out.write_all(b"newest")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_written_to() {
        use std::os::unix::fs::FileTypeExt;
        write_atomic("/dev/null", |out| out.write_all(b"gone")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}
