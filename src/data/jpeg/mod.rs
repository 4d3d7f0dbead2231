//! JPEG (ITU-T T.81): baseline, extended and progressive Huffman coding of 8-bit samples, to RGB.
//!
//! A decoder of our own, because a net's scores should not depend on the decoder: the standard leaves the rounding of the
//! cosine transform open and says nothing of how coarse chroma is interpolated. Here both, and the colour conversion,
//! are computed as libjpeg computes them by default, so that the pixels are those that Pillow, and with it PyTorch's
//! tools, sees. Damaged data is an error that names the byte; nothing is made up for it.
//!
//! [`header`] reads what stands before the first scan, [`scan`] undoes the entropy coding, [`idct`] and [`color`] make
//! samples and pixels.

mod color;
mod header;
mod huffman;
mod idct;
mod scan;

pub(super) use header::Decoder;

/// Why a JPEG does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The data contradicts the standard at a byte.
    Damaged { at: usize, what: &'static str },
    /// A form of JPEG that is not decoded here.
    Unsupported(&'static str),
}

/// One colour component of the frame, and its samples.
#[derive(Clone, Debug)]
struct Component {
    id: u8,
    /// Samples in a unit of the frame, across and down.
    factors: (usize, usize),
    /// Which quantisation table it uses.
    table: usize,
    /// Samples that belong to the image.
    width: usize,
    height: usize,
    /// Blocks of 8 x 8 samples that are stored, a whole number of units.
    blocks_across: usize,
    blocks_down: usize,
    /// The table as it was when the component's first scan began, in zigzag order.
    quantisation: Option<[u16; 64]>,
    /// For each coefficient the lowest bit that is known, in zigzag order; sequential scans set them all to 0.
    known: [Option<u8>; 64],
    /// Progressive frames collect coefficients here, in rows of blocks; natural order within a block.
    coefficients: Vec<[i16; 64]>,
    /// The samples, in rows of `8 * blocks_across`.
    samples: Vec<u8>,
}

/// Where a coefficient of the zigzag order stands in a block.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];
