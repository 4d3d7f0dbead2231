//! Statistics of a set of images: how many of each class, mean, deviation and principal components of the colours.

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Source};
use super::error::DataError;
use super::write_atomic;

/// Images whose sums are taken together.
const BLOCK: usize = 256;

/// Statistics over all pixels of a set, in parts of the range of a byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Images of each class.
    pub counts: Vec<usize>,
    /// Images that could not be read.
    pub unreadable: usize,
    /// The mean of red, green and blue.
    pub mean: [f64; 3],
    /// Their standard deviation.
    pub std: [f64; 3],
    /// The principal components of the colours.
    pub pca: Pca,
}

/// Principal components of colours: the eigenvectors of the covariance of red, green and blue, the largest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pca {
    /// The eigenvalues: variances along the vectors.
    pub values: [f64; 3],
    /// The eigenvectors, each of length 1.
    pub vectors: [[f64; 3]; 3],
}

/// Sums over pixels.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    pixels: f64,
    first: [f64; 3],
    second: [[f64; 3]; 3],
    unreadable: usize,
}

impl Sums {
    fn add(mut self, other: &Sums) -> Sums {
        self.pixels += other.pixels;
        self.unreadable += other.unreadable;
        for a in 0..3 {
            self.first[a] += other.first[a];
            for b in 0..3 {
                self.second[a][b] += other.second[a][b];
            }
        }
        self
    }

    /// Of one image; whole numbers, so that the order of sums does not matter.
    fn of(bytes: &[u8]) -> Sums {
        let (mut first, mut second) = ([0u64; 3], [[0u64; 3]; 3]);
        for pixel in bytes.chunks_exact(3) {
            for a in 0..3 {
                first[a] += u64::from(pixel[a]);
                for b in 0..=a {
                    second[a][b] += u64::from(pixel[a]) * u64::from(pixel[b]);
                }
            }
        }
        let mut sums = Sums { pixels: (bytes.len() / 3) as f64, ..Sums::default() };
        for a in 0..3 {
            sums.first[a] = first[a] as f64;
            for b in 0..3 {
                sums.second[a][b] = second[a.max(b)][a.min(b)] as f64;
            }
        }
        sums
    }
}

impl Statistics {
    /// Reads every image of a set; those that cannot be read are counted.
    pub fn of(set: &Dataset) -> Statistics {
        let blocks = set.len().div_ceil(BLOCK);
        let of_block = |block: usize| {
            let images = block * BLOCK..set.len().min((block + 1) * BLOCK);
            images.fold(Sums::default(), |sums, at| match set.image(at) {
                Ok(image) => sums.add(&Sums::of(image.bytes())),
                Err(_) => Sums { unreadable: sums.unreadable + 1, ..sums },
            })
        };
        let blocks: Vec<Sums> = (0..blocks).into_par_iter().map(of_block).collect();
        let sums = blocks.iter().fold(Sums::default(), |sums, block| sums.add(block));
        let mut counts = vec![0; set.classes().len()];
        (0..set.len()).for_each(|at| counts[set.label(at)] += 1);
        let pixels = sums.pixels.max(1.0);
        let mean = sums.first.map(|sum| sum / pixels);
        let covariance: [[f64; 3]; 3] = std::array::from_fn(|a| {
            std::array::from_fn(|b| (sums.second[a][b] / pixels - mean[a] * mean[b]) / (255.0 * 255.0))
        });
        Statistics {
            counts,
            unreadable: sums.unreadable,
            mean: mean.map(|mean| mean / 255.0),
            std: std::array::from_fn(|channel| covariance[channel][channel].max(0.0).sqrt()),
            pca: Pca::of(covariance),
        }
    }

    /// The statistics that a file keeps, where it has been made for the same set; else they are computed, and kept there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn cached(set: &Dataset, source: &Source, path: &Path) -> Result<Statistics, DataError> {
        let key = fingerprint(set, source);
        let kept = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        if let Some(kept) = kept.filter(|kept| kept.key == key) {
            return Ok(kept.statistics);
        }
        let kept = Kept { key, statistics: Statistics::of(set) };
        let text = serde_json::to_string_pretty(&kept).unwrap_or_default();
        write_atomic(path, |out| out.write_all(text.as_bytes()))?;
        Ok(kept.statistics)
    }
}

/// Statistics in a file, with what they are those of.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    statistics: Statistics,
}

/// A hash of where a set comes from and which of its images are part of it.
pub fn fingerprint(set: &Dataset, source: &Source) -> String {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(format!("{source:?} {}", set.len()).as_bytes());
    for at in
        [0, set.len() / 3, set.len() * 2 / 3, set.len().saturating_sub(1)].into_iter().filter(|&at| at < set.len())
    {
        hash.update(set.describe(at).as_bytes());
        if let Ok(image) = set.image(at) {
            hash.update(image.bytes());
        }
    }
    format!("{:032x}", hash.digest128())
}

impl Pca {
    /// The eigenvectors of a symmetric matrix, by rotations (Jacobi 1846).
    pub fn of(mut matrix: [[f64; 3]; 3]) -> Pca {
        let mut vectors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        for _ in 0..32 {
            for (p, q) in [(0, 1), (0, 2), (1, 2)] {
                if matrix[p][q] == 0.0 {
                    continue;
                }
                let angle = 0.5 * (2.0 * matrix[p][q]).atan2(matrix[q][q] - matrix[p][p]);
                let (sin, cos) = angle.sin_cos();
                for row in &mut matrix {
                    (row[p], row[q]) = (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
                }
                for column in 0..3 {
                    let (a, b) = (matrix[p][column], matrix[q][column]);
                    (matrix[p][column], matrix[q][column]) = (cos * a - sin * b, sin * a + cos * b);
                    let (a, b) = (vectors[p][column], vectors[q][column]);
                    (vectors[p][column], vectors[q][column]) = (cos * a - sin * b, sin * a + cos * b);
                }
            }
        }
        let mut order = [0, 1, 2];
        order.sort_by(|&a, &b| matrix[b][b].total_cmp(&matrix[a][a]));
        // Of both directions that in which the largest part is positive.
        let upright = |vector: [f64; 3]| {
            let largest = vector.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
            vector.map(|part| part * largest.signum())
        };
        Pca { values: order.map(|at| matrix[at][at]), vectors: order.map(|at| upright(vectors[at])) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn components_of_a_matrix_made_of_known_ones() {
        let (r2, r3, r6) = (0.5f64.sqrt(), (1.0f64 / 3.0).sqrt(), (1.0f64 / 6.0).sqrt());
        let vectors = [[r3, r3, r3], [r2, -r2, 0.0], [-r6, -r6, 2.0 * r6]];
        let values = [3.0, 0.5, 0.125];
        let matrix: [[f64; 3]; 3] = std::array::from_fn(|a| {
            std::array::from_fn(|b| (0..3).map(|i| values[i] * vectors[i][a] * vectors[i][b]).sum())
        });
        let pca = Pca::of(matrix);
        for i in 0..3 {
            assert!((pca.values[i] - values[i]).abs() < 1e-12);
            let along: f64 = (0..3).map(|a| pca.vectors[i][a] * vectors[i][a]).sum();
            assert!((along.abs() - 1.0).abs() < 1e-12, "{pca:?}");
        }
    }

    #[test]
    fn statistics_of_two_colours() {
        let folder = tempfile::tempdir().unwrap();
        let record =
            |label: u8, values: [u8; 3]| [vec![label], values.iter().flat_map(|&v| [v; 1024]).collect()].concat();
        std::fs::write(folder.path().join("set"), [record(0, [255, 0, 51]), record(1, [0, 0, 51])].concat().repeat(2))
            .unwrap();
        let source = Source::Cifar { files: vec!["set".into()], labels: Default::default(), classes: Vec::new() };
        let set = Dataset::open(&source, folder.path()).unwrap();
        let path = folder.path().join("statistics.json");
        let statistics = Statistics::cached(&set, &source, &path).unwrap();
        assert_eq!((statistics.counts.as_slice(), statistics.unreadable), (&[2, 2][..], 0));
        assert_eq!((statistics.mean, statistics.std), ([0.5, 0.0, 0.2], [0.5, 0.0, 0.0]));
        assert!((statistics.pca.values[0] - 0.25).abs() < 1e-12 && statistics.pca.vectors[0][0] == 1.0);
        // What is kept is taken for the same set only.
        let marked = std::fs::read_to_string(&path).unwrap().replace("0.2", "0.75");
        std::fs::write(&path, marked).unwrap();
        assert_ne!(Statistics::cached(&set, &source, &path).unwrap(), statistics);
        let half = set.split(0.5, 1).0;
        assert_eq!(Statistics::cached(&half, &source, &path).unwrap(), Statistics::of(&half));
    }
}
