//! A table of paths and labels.

use std::collections::BTreeSet;
use std::path::Path;

use super::files::Files;
use super::{All, DataError, Images, class_names, wrong};
use crate::data::error::Place;
use crate::data::read_bounded;

/// The longest table that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// The most classes that labels by number may have.
const MAX_CLASSES: u32 = 1 << 20;

/// A line of the table.
struct Row {
    line: usize,
    path: String,
    label: String,
}

pub(super) fn csv(file: &Path, classes: &[String]) -> Result<All, DataError> {
    let rows = rows(file)?;
    let numbers: Option<Vec<u32>> =
        rows.iter().map(|row| row.label.parse().ok().filter(|&class| class < MAX_CLASSES)).collect();
    let (labels, classes) = match numbers {
        Some(numbers) => {
            let count = numbers.iter().max().map_or(0, |&most| most as usize + 1);
            if let Some(at) = numbers.iter().position(|&class| !classes.is_empty() && classes.len() <= class as usize) {
                let what = format!("class {} has no name: `classes` has {}", numbers[at], classes.len());
                return Err(at_line(file, rows[at].line, what, "name a class for each number, from 0 on"));
            }
            (numbers, class_names(classes, count))
        }
        None => {
            let found: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
            let names: Vec<String> =
                if classes.is_empty() { found.into_iter().map(str::to_owned).collect() } else { classes.to_vec() };
            let mut labels = Vec::new();
            for row in &rows {
                let Some(class) = names.iter().position(|name| *name == row.label) else {
                    let what = format!("`{}` is none of the {} classes", row.label, names.len());
                    return Err(at_line(file, row.line, what, "add it to `classes`, or mend the label"));
                };
                labels.push(class as u32);
            }
            (labels, names)
        }
    };
    let base = file.parent().unwrap_or(Path::new("."));
    let paths = rows.iter().map(|row| base.join(&row.path)).collect();
    Ok(All { images: Images::Files(Files::new(paths)), labels, classes })
}

fn rows(file: &Path) -> Result<Vec<Row>, DataError> {
    let bytes = read_bounded(file, MAX_FILE)?;
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes.as_slice());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, ::csv::Position::line);
            at_line(file, line as usize, error.to_string(), "write `path,label` on each line, in UTF-8")
        })?;
        let line = record.position().map_or(1, ::csv::Position::line) as usize;
        let [path, label] = record.iter().collect::<Vec<_>>()[..] else {
            let what = format!("has {} columns, not 2", record.len());
            return Err(at_line(file, line, what, "write `path,label` on each line"));
        };
        if !(rows.is_empty() && line == 1 && (path, label) == ("path", "label")) {
            rows.push(Row { line, path: path.to_owned(), label: label.trim().to_owned() });
        }
    }
    if rows.is_empty() {
        return Err(wrong(file, "names no image", "write `path,label` on each line"));
    }
    Ok(rows)
}

fn at_line(file: &Path, line: usize, what: impl Into<String>, help: &str) -> DataError {
    DataError::Dataset {
        file: file.to_path_buf(),
        place: Some(Place::Line(line)),
        what: what.into(),
        help: help.to_owned(),
    }
}
