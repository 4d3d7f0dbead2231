//! Sets of labelled images: IDX and CIFAR files, folders with a folder a class, CSV tables.

mod csv;
mod files;
mod folder;
mod records;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::image::Image;
use super::random;
use files::Files;
use records::Records;

/// Where a set of labelled images comes from. Paths are relative to the recipe that names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Two files in the IDX format of MNIST, also packed with gzip.
    Idx {
        /// The images: unsigned bytes `[n, height, width]`.
        images: PathBuf,
        /// The labels: unsigned bytes `[n]`.
        labels: PathBuf,
        /// The names of the classes; their numbers where there are none.
        #[serde(default)]
        classes: Vec<String>,
    },
    /// The binary files of CIFAR-10 or CIFAR-100: a record is a label, or a coarse and a fine one, and 3,072 bytes.
    Cifar {
        /// The files, one after the other.
        files: Vec<PathBuf>,
        /// Which labels a record has.
        #[serde(default)]
        labels: CifarLabels,
        /// The names of the classes; their numbers where there are none.
        #[serde(default)]
        classes: Vec<String>,
    },
    /// A folder with a folder for each class; classes are the folders' names in order.
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// A table with a line for each image: its path, relative to the table, and its label. A first line `path,label` is a
    /// heading.
    Csv {
        /// The table.
        file: PathBuf,
        /// The names of the classes; those that occur, in order, where there are none.
        #[serde(default)]
        classes: Vec<String>,
    },
}

/// The labels of a record in a CIFAR file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CifarLabels {
    /// One, as in CIFAR-10.
    #[default]
    One,
    /// Two, as in CIFAR-100, of which the first, one of 20, counts.
    Coarse,
    /// Two, as in CIFAR-100, of which the second, one of 100, counts.
    Fine,
}

/// A set of labelled images, or a part of one. Cheap to clone; images are decoded when they are asked for.
#[derive(Clone, Debug)]
pub struct Dataset {
    all: Arc<All>,
    /// Which images are part of it.
    picks: Arc<[u32]>,
}

#[derive(Debug)]
struct All {
    images: Images,
    labels: Vec<u32>,
    classes: Vec<String>,
}

#[derive(Debug)]
enum Images {
    Records(Records),
    Files(Files),
}

impl Dataset {
    /// Opens a set; relative paths start from `base`.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be, or a label has no class.
    pub fn open(source: &Source, base: &Path) -> Result<Dataset, DataError> {
        let all = match source {
            Source::Idx { images, labels, classes } => records::idx(&base.join(images), &base.join(labels), classes)?,
            Source::Cifar { files, labels, classes } => {
                let files: Vec<PathBuf> = files.iter().map(|file| base.join(file)).collect();
                records::cifar(&files, *labels, classes)?
            }
            Source::Folder { path } => folder::folder(&base.join(path))?,
            Source::Csv { file, classes } => csv::csv(&base.join(file), classes)?,
        };
        let picks = (0u32..).take(all.labels.len()).collect();
        Ok(Dataset { all: Arc::new(all), picks })
    }

    /// How many images it has.
    pub fn len(&self) -> usize {
        self.picks.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.picks.is_empty()
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.all.classes
    }

    /// The class of an image.
    pub fn label(&self, at: usize) -> usize {
        self.all.labels[self.picks[at] as usize] as usize
    }

    /// Where an image comes from, for messages.
    pub fn describe(&self, at: usize) -> String {
        match &self.all.images {
            Images::Records(records) => records.describe(self.picks[at] as usize),
            Images::Files(files) => files.path(self.picks[at] as usize).display().to_string(),
        }
    }

    /// An image, decoded. Those that come from files of their own are kept, as long as all together are not too large.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn image(&self, at: usize) -> Result<Arc<Image>, DataError> {
        let at = self.picks[at] as usize;
        match &self.all.images {
            Images::Records(records) => Ok(Arc::new(records.image(at))),
            Images::Files(files) => files.image(at),
        }
    }

    /// Two parts, of which the second has `share` of each class, rounded down: drawn by the seed.
    pub fn split(&self, share: f64, seed: u64) -> (Dataset, Dataset) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for members in self.by_class(seed) {
            let cut = (members.len() as f64 * share) as usize;
            second.extend_from_slice(&members[..cut]);
            first.extend_from_slice(&members[cut..]);
        }
        (self.of(first), self.of(second))
    }

    /// The part with `count` images of each class, or all where it has fewer: drawn by the seed.
    pub fn take_per_class(&self, count: usize, seed: u64) -> Dataset {
        let members = self.by_class(seed).into_iter();
        self.of(members.flat_map(|members| members.into_iter().take(count).collect::<Vec<_>>()).collect())
    }

    /// The images of each class in an order that the seed decides.
    fn by_class(&self, seed: u64) -> Vec<Vec<u32>> {
        let mut classes = vec![Vec::new(); self.all.classes.len()];
        for &pick in &*self.picks {
            classes[self.all.labels[pick as usize] as usize].push(pick);
        }
        for (class, members) in classes.iter_mut().enumerate() {
            random::shuffle(members, &mut stream(seed, class as u64));
        }
        classes
    }

    /// A part in the order of the whole.
    fn of(&self, mut picks: Vec<u32>) -> Dataset {
        picks.sort_unstable();
        Dataset { all: Arc::clone(&self.all), picks: picks.into() }
    }
}

fn stream(seed: u64, class: u64) -> ChaCha8Rng {
    random::stream("class", [seed, class, 0])
}

/// The names of `count` classes: those that are given, or their numbers.
fn class_names(given: &[String], count: usize) -> Vec<String> {
    if given.is_empty() { (0..count).map(|class| class.to_string()).collect() } else { given.to_vec() }
}

/// A mistake in a file of a set.
fn wrong(file: &Path, what: impl Into<String>, help: impl Into<String>) -> DataError {
    DataError::Dataset { file: file.to_path_buf(), place: None, what: what.into(), help: help.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    fn write(folder: &Path, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }

    fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn digits() -> Source {
        Source::Idx { images: "images".into(), labels: "labels".into(), classes: Vec::new() }
    }

    fn png(grey: u8) -> Vec<u8> {
        use image::ImageEncoder;
        let mut bytes = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        encoder.write_image(&[grey; 12], 2, 2, image::ExtendedColorType::Rgb8).unwrap();
        bytes
    }

    #[test]
    fn idx_files_are_read_packed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let images = idx(&[2, 2, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        write(folder.path(), "images", &zipped(&images));
        write(folder.path(), "labels", &idx(&[2], &[1, 0]));
        let set = Dataset::open(&digits(), folder.path()).unwrap();
        assert_eq!((set.len(), set.classes().len(), set.label(0), set.label(1)), (2, 2, 1, 0));
        let image = set.image(1).unwrap();
        assert_eq!((image.height(), image.width(), image.bytes()[0], image.bytes()[17]), (2, 3, 7, 12));
        assert!(set.describe(1).ends_with("record 1"));
    }

    #[test]
    fn what_idx_files_claim_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let good = idx(&[2, 2, 3], &[0; 12]);
        for (images, labels, what) in [
            (idx(&[3, 2, 3], &[0; 12]), idx(&[3], &[0; 3]), "bytes"),
            (idx(&[u32::MAX, u32::MAX, u32::MAX], &[]), idx(&[2], &[0; 2]), "bytes"),
            (vec![0, 0, 13, 1, 0], idx(&[2], &[0; 2]), "IDX"),
            (good.clone(), idx(&[3], &[0; 3]), "3 labels"),
            (good.clone(), idx(&[2, 1], &[0; 2]), "sizes"),
            (good[..7].to_vec(), idx(&[2], &[0; 2]), "IDX"),
            (zipped(&good)[..20].to_vec(), idx(&[2], &[0; 2]), "gzip"),
            (idx(&[0, 2, 3], &[]), idx(&[0], &[]), "no images"),
        ] {
            write(folder.path(), "images", &images);
            write(folder.path(), "labels", &labels);
            let error = Dataset::open(&digits(), folder.path()).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        write(folder.path(), "images", &good);
        write(folder.path(), "labels", &idx(&[2], &[0, 2]));
        let named =
            Source::Idx { images: "images".into(), labels: "labels".into(), classes: vec!["a".into(), "b".into()] };
        let error = Dataset::open(&named, folder.path()).unwrap_err().to_string();
        assert!(error.contains("class 2"), "{error}");
    }

    #[test]
    fn cifar_records_have_one_label_or_two() {
        let folder = tempfile::tempdir().unwrap();
        let planes: Vec<u8> = [10u8, 20, 30].iter().flat_map(|&value| [value; 1024]).collect();
        write(folder.path(), "ten", &[&[3][..], &planes, &[1], &planes].concat());
        write(folder.path(), "hundred", &[&[4, 99][..], &planes].concat());
        let open = |file: &str, labels| {
            Dataset::open(&Source::Cifar { files: vec![file.into()], labels, classes: Vec::new() }, folder.path())
        };
        let ten = open("ten", CifarLabels::One).unwrap();
        assert_eq!((ten.len(), ten.label(0), ten.label(1), ten.classes().len()), (2, 3, 1, 4));
        assert_eq!(ten.image(1).unwrap().bytes()[..6], [10, 20, 30, 10, 20, 30]);
        assert_eq!(open("hundred", CifarLabels::Coarse).unwrap().label(0), 4);
        assert_eq!(open("hundred", CifarLabels::Fine).unwrap().label(0), 99);
        assert!(open("hundred", CifarLabels::One).unwrap_err().to_string().contains("3073"));
    }

    #[test]
    fn folders_are_classes_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for (name, grey) in [("dog/b.png", 3), ("cat/x.PNG", 1), ("dog/a.png", 2)] {
            write(folder.path(), name, &png(grey));
        }
        write(folder.path(), "dog/notes.txt", b"");
        let set = Dataset::open(&Source::Folder { path: ".".into() }, folder.path()).unwrap();
        assert_eq!(set.classes(), ["cat", "dog"]);
        let found: Vec<_> = (0..3).map(|at| (set.label(at), set.image(at).unwrap().bytes()[0])).collect();
        assert_eq!(found, [(0, 1), (1, 2), (1, 3)]);
        let empty = tempfile::tempdir().unwrap();
        let error = Dataset::open(&Source::Folder { path: ".".into() }, empty.path()).unwrap_err();
        assert!(error.to_string().contains("no folder"), "{error}");
    }

    #[test]
    fn tables_name_images_and_classes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.png", &png(1));
        write(folder.path(), "set.csv", b"path,label\na.png,zebra\n\"a.png\",\"ant\"\n");
        let open = |classes: &[&str]| {
            let classes = classes.iter().map(|&class| class.to_owned()).collect();
            Dataset::open(&Source::Csv { file: "set.csv".into(), classes }, folder.path())
        };
        let set = open(&[]).unwrap();
        assert_eq!((set.classes(), set.label(0)), (&["ant".to_owned(), "zebra".to_owned()][..], 1));
        assert_eq!(open(&["zebra", "ant"]).unwrap().label(0), 0);
        assert!(open(&["zebra"]).unwrap_err().to_string().contains("line 3"));
        write(folder.path(), "set.csv", b"a.png,7\na.png,2\n");
        assert_eq!((open(&[]).unwrap().label(0), open(&[]).unwrap().classes().len()), (7, 8));
        write(folder.path(), "set.csv", b"a.png\n");
        assert!(open(&[]).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn splits_take_the_same_share_of_each_class() {
        let folder = tempfile::tempdir().unwrap();
        let labels: Vec<u8> = (0..100).map(|at| u8::from(at % 4 == 0)).collect();
        write(folder.path(), "images", &idx(&[100, 1, 1], &[0; 100]));
        write(folder.path(), "labels", &idx(&[100], &labels));
        let set = Dataset::open(&digits(), folder.path()).unwrap();
        let (train, held) = set.split(0.2, 7);
        let ones = |set: &Dataset| (0..set.len()).filter(|&at| set.label(at) == 1).count();
        assert_eq!((train.len(), held.len(), ones(&train), ones(&held)), (80, 20, 20, 5));
        let names = |set: &Dataset| (0..set.len()).map(|at| set.describe(at)).collect::<Vec<_>>();
        assert_eq!(names(&set.split(0.2, 7).1), names(&held));
        assert_ne!(names(&set.split(0.2, 8).1), names(&held));
        assert!(names(&held).iter().all(|name| !names(&train).contains(name)));
        let few = set.take_per_class(3, 1);
        assert_eq!((few.len(), ones(&few)), (6, 3));
    }
}
