//! Photos: JPEG (baseline and progressive; grey, YCbCr, RGB, CMYK) and PNG (every depth, palette, alpha) to RGB bytes.
//!
//! Alpha is dropped, not blended. Of 16-bit samples the high byte stays. EXIF orientation is applied. Colour profiles
//! and gamma are ignored. This is what Pillow's `ImageOps.exif_transpose(image).convert("RGB")` does, except for grey
//! 16-bit PNGs, which Pillow clips at 255.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::{DynamicImage, ImageDecoder, ImageResult, Limits, RgbImage};

use super::container::Container;
use super::error::DataError;
use super::pixels::Pixels;
use super::read_bounded;

/// The most pixels that an image may have, before and after preprocessing.
pub const MAX_PIXELS: usize = 100_000_000;

/// The longest file that is read as an image, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// What a decoder may allocate beside its output, in bytes.
const MAX_ALLOCATION: u64 = 1 << 30;

/// The most pixels that a byte of a file can stand for: deflate gives at most 1032 bytes for one, a PNG at most 8 pixels
/// for each of them. A JPEG spends at least a bit on 64 pixels.
const MAX_PIXELS_PER_BYTE: u64 = 1032 * 8;

/// A decoded photo: RGB, 8 bits a channel, upright, at least one pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    file: PathBuf,
    pixels: Pixels,
}

impl Image {
    /// Reads a JPEG or PNG file; the contents decide which it is, not the name.
    pub fn read(path: impl AsRef<Path>) -> Result<Image, DataError> {
        let path = path.as_ref();
        Image::decode(path, &read_bounded(path, MAX_FILE)?)
    }

    /// Decodes the bytes of a JPEG or PNG file; `file` is its name in error messages.
    pub fn decode(file: impl Into<PathBuf>, bytes: &[u8]) -> Result<Image, DataError> {
        let file = file.into();
        let Some(container) = Container::of(bytes) else {
            return Err(DataError::NotAnImage { file });
        };
        if !container.is_complete(bytes) {
            return Err(DataError::Truncated { file, at: bytes.len() as u64 });
        }
        let decoded = match container {
            Container::Jpeg => JpegDecoder::new(Cursor::new(bytes)).map(|decoder| upright(&file, decoder, bytes.len())),
            Container::Png => PngDecoder::with_limits(Cursor::new(bytes), limits())
                .map(|decoder| upright(&file, decoder, bytes.len())),
        };
        match decoded {
            Ok(pixels) => Ok(Image { pixels: pixels?, file }),
            Err(why) => Err(undecodable(&file, &why)),
        }
    }

    /// An image of RGB bytes in rows; `None` unless there are `3 * height * width` of them, at least one pixel and at
    /// most [`MAX_PIXELS`]. `file` is its name in error messages.
    pub fn from_rgb(file: impl Into<PathBuf>, height: usize, width: usize, bytes: Vec<u8>) -> Option<Image> {
        let pixels = height.checked_mul(width).filter(|pixels| (1..=MAX_PIXELS).contains(pixels))?;
        let pixels = Pixels { c: 3, h: height, w: width, bytes: (bytes.len() == 3 * pixels).then_some(bytes)? };
        Some(Image { file: file.into(), pixels })
    }

    /// An image of grey bytes in rows, with the conditions of [`Image::from_rgb`].
    pub fn from_gray(file: impl Into<PathBuf>, height: usize, width: usize, bytes: &[u8]) -> Option<Image> {
        Image::from_rgb(file, height, width, bytes.iter().flat_map(|&byte| [byte; 3]).collect())
    }

    /// Where the image comes from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Rows of pixels.
    pub fn height(&self) -> usize {
        self.pixels.h
    }

    /// Columns of pixels.
    pub fn width(&self) -> usize {
        self.pixels.w
    }

    /// Red, green and blue of each pixel, row by row.
    pub fn bytes(&self) -> &[u8] {
        &self.pixels.bytes
    }

    pub(super) fn pixels(&self) -> &Pixels {
        &self.pixels
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION);
    limits
}

fn undecodable(file: &Path, why: &impl ToString) -> DataError {
    // Decoders' messages may have several lines.
    let why = why.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    DataError::Undecodable { file: file.to_path_buf(), why }
}

/// Decodes, drops alpha and applies the orientation. `length` is the file's, in bytes.
fn upright(file: &Path, decoder: impl ImageDecoder, length: usize) -> Result<Pixels, DataError> {
    let (width, height) = decoder.dimensions();
    let (file_name, pixels, bytes) = (file.to_path_buf(), u64::from(width) * u64::from(height), length as u64);
    if pixels > MAX_PIXELS as u64 {
        return Err(DataError::TooManyPixels { file: file_name, height, width });
    }
    if pixels > bytes.saturating_mul(MAX_PIXELS_PER_BYTE) {
        return Err(DataError::OutOfProportion { file: file_name, height, width, bytes });
    }
    let image = decode_upright(decoder).map_err(|why| undecodable(file, &why))?;
    let (w, h) = (image.width() as usize, image.height() as usize);
    Ok(Pixels { c: 3, h, w, bytes: image.into_raw() })
}

fn decode_upright(mut decoder: impl ImageDecoder) -> ImageResult<RgbImage> {
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let orientation = decoder.orientation()?;
    let mut samples = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
    decoder.set_limits(limits())?;
    decoder.read_image(&mut samples)?;
    let channels = usize::from(color.channel_count());
    let bytes = match color.bytes_per_pixel() as usize / channels.max(1) {
        2 => samples.chunks_exact(2).map(|pair| high_byte([pair[0], pair[1]])).collect(),
        _ => samples,
    };
    let rgb = match channels {
        1 | 2 => bytes.chunks_exact(channels).flat_map(|pixel| [pixel[0]; 3]).collect(),
        3 => bytes,
        _ => bytes.chunks_exact(channels).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
    };
    let Some(rgb) = RgbImage::from_raw(width, height, rgb) else {
        unreachable!("the decoder's channels and size are those of its buffer")
    };
    let mut image = DynamicImage::ImageRgb8(rgb);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

fn high_byte(sample: [u8; 2]) -> u8 {
    u16::from_ne_bytes(sample).to_be_bytes()[0]
}
