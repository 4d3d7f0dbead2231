//! Files of many images of one size: IDX and CIFAR.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{All, CifarLabels, DataError, Image, Images, class_names, wrong};
use crate::data::read_bounded;

/// The longest file that is read, and the most that a packed one may unpack to, in bytes.
const MAX_FILE: u64 = 4 << 30;
/// Bytes that a byte packed with gzip can stand for, at most.
const MOST_UNPACKED: u64 = 1032;

/// Images of one size, in memory.
#[derive(Debug)]
pub(super) struct Records {
    h: usize,
    w: usize,
    /// Bytes of a record, and how many labels stand in front.
    record: usize,
    skip: usize,
    channels: usize,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Records {
    /// The file of a record and its number there.
    fn find(&self, mut at: usize) -> (usize, usize) {
        for (file, (_, bytes)) in self.files.iter().enumerate() {
            let count = bytes.len() / self.record;
            if at < count {
                return (file, at);
            }
            at -= count;
        }
        unreachable!("there is a label for each record")
    }

    pub(super) fn describe(&self, at: usize) -> String {
        let (file, at) = self.find(at);
        format!("{}, record {at}", self.files[file].0.display())
    }

    pub(super) fn image(&self, at: usize) -> Image {
        let (file, at) = self.find(at);
        let (path, bytes) = &self.files[file];
        let data = &bytes[at * self.record + self.skip..(at + 1) * self.record];
        let area = self.h * self.w;
        let rgb = if self.channels == 1 {
            data.iter().flat_map(|&grey| [grey; 3]).collect()
        } else {
            (0..area).flat_map(|pixel| [data[pixel], data[area + pixel], data[2 * area + pixel]]).collect()
        };
        Image::from_rgb(path, self.h, self.w, rgb).unwrap_or_else(|| unreachable!("sizes have been checked"))
    }
}

/// The bytes of a file, unpacked where it is packed.
fn unpacked(path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = read_bounded(path, MAX_FILE)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let limit = MAX_FILE.min(bytes.len() as u64 * MOST_UNPACKED);
    let mut reader = flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(limit + 1);
    let read = reader.read_to_end(&mut unpacked);
    let fault = match read {
        Err(error) => Some(format!("is packed with gzip, but does not unpack: {error}")),
        Ok(length) if length as u64 > limit => Some("is packed with gzip and unpacks to too much".to_owned()),
        Ok(_) => None,
    };
    fault.map_or(Ok(unpacked), |what| Err(wrong(path, what, "copy or download the file again")))
}

/// The sizes of an IDX file of unsigned bytes, and where its data begins.
fn header(path: &Path, bytes: &[u8], rank: usize) -> Result<(Vec<usize>, usize), DataError> {
    let help = "name a file in the IDX format of MNIST, as it is or packed with gzip";
    let start = 4 + 4 * rank;
    let [0, 0, 8, found, ..] = *bytes else {
        return Err(wrong(path, "is no IDX file of unsigned bytes", help));
    };
    if usize::from(found) != rank {
        return Err(wrong(
            path,
            format!("has {found} sizes, not {rank}"),
            "name the images and the labels each as such",
        ));
    }
    if bytes.len() < start {
        return Err(wrong(path, "is no whole IDX file: its sizes are cut off", help));
    }
    let sizes = bytes[4..start].chunks_exact(4);
    let sizes: Vec<usize> =
        sizes.map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize).collect();
    let wanted = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    if wanted != Some(bytes.len() - start) {
        let what = format!("claims {sizes:?}, but {} bytes follow", bytes.len() - start);
        return Err(wrong(path, what, "copy or download the file again"));
    }
    Ok((sizes, start))
}

/// A pair of IDX files.
pub(super) fn idx(images: &Path, labels: &Path, classes: &[String]) -> Result<All, DataError> {
    let mut bytes = unpacked(images)?;
    let (sizes, start) = header(images, &bytes, 3)?;
    bytes.drain(..start);
    let [count, h, w] = sizes[..] else { unreachable!("of rank 3") };
    if count * h * w == 0 {
        return Err(wrong(images, "has no images", "name a file with images"));
    }
    let label_bytes = unpacked(labels)?;
    let (sizes, start) = header(labels, &label_bytes, 1)?;
    if sizes[0] != count {
        let what = format!("has {} labels, but `{}` has {count} images", sizes[0], images.display());
        return Err(wrong(labels, what, "name the two files that belong together"));
    }
    let labels_found: Vec<u32> = label_bytes[start..].iter().map(|&label| u32::from(label)).collect();
    let records = Records { h, w, record: h * w, skip: 0, channels: 1, files: vec![(images.to_path_buf(), bytes)] };
    all(labels, records, labels_found, classes)
}

/// CIFAR files.
pub(super) fn cifar(files: &[PathBuf], labels: CifarLabels, classes: &[String]) -> Result<All, DataError> {
    const AREA: usize = 32 * 32;
    let (skip, which) = match labels {
        CifarLabels::One => (1, 0),
        CifarLabels::Coarse => (2, 0),
        CifarLabels::Fine => (2, 1),
    };
    let record = skip + 3 * AREA;
    let mut found = Vec::new();
    let mut read = Vec::new();
    for path in files {
        let bytes = unpacked(path)?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            let what = format!("has {} bytes, which are no records of {record}", bytes.len());
            let help = "name files of CIFAR's binary version; `labels` says whether records have one label or two";
            return Err(wrong(path, what, help));
        }
        found.extend(bytes.chunks_exact(record).map(|record| u32::from(record[which])));
        read.push((path.clone(), bytes));
    }
    let Some((first, _)) = read.first() else {
        return Err(wrong(Path::new("files"), "names no file", "list the files of CIFAR's binary version"));
    };
    let first = first.clone();
    all(&first, Records { h: 32, w: 32, record, skip, channels: 3, files: read }, found, classes)
}

/// A set of records whose labels have classes.
fn all(file: &Path, records: Records, labels: Vec<u32>, classes: &[String]) -> Result<All, DataError> {
    let count = labels.iter().max().map_or(0, |&most| most as usize + 1);
    if !classes.is_empty() && classes.len() < count {
        let what = format!("has an image of class {}, but `classes` has {} names", count - 1, classes.len());
        return Err(wrong(file, what, "name a class for each label, from 0 on"));
    }
    Ok(All { images: Images::Records(records), labels, classes: class_names(classes, count) })
}
