//! Photos: JPEG (baseline and progressive; grey, YCbCr, RGB, CMYK) and PNG (every depth, palette, alpha) to RGB bytes.
//!
//! Alpha is dropped, not blended. Of 16-bit samples the high byte stays. EXIF orientation is applied. Colour profiles
//! and gamma are ignored. This is what Pillow's `ImageOps.exif_transpose(image).convert("RGB")` does, except for grey
//! 16-bit PNGs, which Pillow clips at 255. JPEGs decode to the same bytes as with libjpeg, see [`super::jpeg`].

use std::error::Error;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{ImageDecoder, ImageError, ImageResult, Limits};

use super::container::Container;
use super::error::DataError;
use super::jpeg::{self, Fault};
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
const MAX_PIXELS_PER_BYTE: usize = 1032 * 8;

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
        let pixels = match container {
            Container::Jpeg => decode_jpeg(&file, bytes)?,
            Container::Png => decode_png(&file, bytes)?,
        };
        Ok(Image { file, pixels })
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

    /// The bytes of an image of `h` x `w` pixels that shows the whole of this one, each pixel the nearest.
    pub fn nearest(&self, h: usize, w: usize) -> Vec<u8> {
        let Pixels { h: own_h, w: own_w, bytes, .. } = &self.pixels;
        let pixel = |y: usize, x: usize| (y * own_h / h * own_w + x * own_w / w) * 3;
        (0..h).flat_map(|y| (0..w).flat_map(move |x| pixel(y, x)..pixel(y, x) + 3)).map(|at| bytes[at]).collect()
    }

    pub(super) fn pixels(&self) -> &Pixels {
        &self.pixels
    }
}

/// Refuses images that are larger than [`MAX_PIXELS`] or than the file's bytes can explain.
fn check_size(file: &Path, bytes: &[u8], height: usize, width: usize) -> Result<(), DataError> {
    let pixels = height.saturating_mul(width);
    if pixels > MAX_PIXELS {
        return Err(DataError::TooManyPixels { file: file.to_path_buf(), height, width });
    }
    if pixels > bytes.len().saturating_mul(MAX_PIXELS_PER_BYTE) {
        return Err(DataError::OutOfProportion { file: file.to_path_buf(), height, width, bytes: bytes.len() });
    }
    Ok(())
}

fn decode_jpeg(file: &Path, bytes: &[u8]) -> Result<Pixels, DataError> {
    let fault = |fault| match fault {
        Fault::Damaged { at, what } => DataError::Damaged { file: file.to_path_buf(), at: at as u64, what },
        Fault::Unsupported(what) => DataError::Unsupported { file: file.to_path_buf(), what: what.to_string() },
    };
    let decoder = jpeg::Decoder::new(bytes).map_err(fault)?;
    let (height, width) = decoder.size();
    check_size(file, bytes, height, width)?;
    let orientation = decoder.exif().and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    Ok(upright(height, width, decoder.decode().map_err(fault)?, orientation))
}

fn decode_png(file: &Path, bytes: &[u8]) -> Result<Pixels, DataError> {
    let fault = |why: ImageError| {
        if let ImageError::Unsupported(why) = why {
            return DataError::Unsupported { file: file.to_path_buf(), what: why.to_string() };
        }
        DataError::Undecodable { file: file.to_path_buf(), what: reason(&why) }
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION);
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(fault)?;
    let (width, height) = decoder.dimensions();
    let (height, width) = (height as usize, width as usize);
    check_size(file, bytes, height, width)?;
    let orientation = decoder.orientation().map_err(fault)?;
    let rgb = png_to_rgb(decoder).map_err(fault)?;
    Ok(upright(height, width, rgb, orientation))
}

/// The innermost reason in one line, unless it shows the decoder's own data structures.
fn reason(mut why: &dyn Error) -> String {
    while let Some(source) = why.source() {
        why = source;
    }
    let reason = why.to_string();
    if reason.contains('{') {
        return "its chunks are damaged or out of order".to_string();
    }
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Red, green and blue of each pixel, without alpha and with the high byte of 16-bit samples.
fn png_to_rgb(decoder: PngDecoder<Cursor<&[u8]>>) -> ImageResult<Vec<u8>> {
    let color = decoder.color_type();
    let mut samples = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
    decoder.read_image(&mut samples)?;
    let channels = usize::from(color.channel_count());
    if usize::from(color.bytes_per_pixel()) == 2 * channels {
        let high = |pair: &[u8]| u16::from_ne_bytes([pair[0], pair[1]]).to_be_bytes()[0];
        samples = samples.chunks_exact(2).map(high).collect();
    }
    Ok(match channels {
        3 => samples,
        4 => samples.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        _ => samples.chunks_exact(channels).flat_map(|pixel| [pixel[0]; 3]).collect(),
    })
}

/// The image of `rgb`, turned and mirrored as `orientation` asks.
fn upright(height: usize, width: usize, rgb: Vec<u8>, orientation: Orientation) -> Pixels {
    let image = Pixels { c: 3, h: height, w: width, bytes: rgb };
    match orientation {
        Orientation::NoTransforms => image,
        Orientation::FlipHorizontal => image.mirrored(),
        Orientation::Rotate180 => image.flipped().mirrored(),
        Orientation::FlipVertical => image.flipped(),
        Orientation::Rotate90FlipH => image.transposed(),
        Orientation::Rotate90 => image.transposed().mirrored(),
        Orientation::Rotate270FlipH => image.transposed().mirrored().flipped(),
        Orientation::Rotate270 => image.transposed().flipped(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(width.to_be_bytes().into_iter().chain(height.to_be_bytes()).chain([8, 2, 0, 0, 0]));
        let checksum = bytes[12..].iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
        });
        bytes.extend((!checksum).to_be_bytes());
        bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
        bytes
    }

    fn jpeg_header(width: u16, height: u16) -> Vec<u8> {
        let mut bytes = b"\xff\xd8\xff\xc0\0\x0b\x08".to_vec();
        bytes.extend(height.to_be_bytes().into_iter().chain(width.to_be_bytes()));
        bytes.extend(b"\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\xff\xd9");
        bytes
    }

    #[test]
    fn claims_are_checked_before_memory_is_taken() {
        for bytes in [png_header(20_000, 20_000), jpeg_header(20_000, 20_000)] {
            let error = Image::decode("bomb", &bytes).unwrap_err();
            let expected = "`bomb` claims 20000 x 20000 pixels, more than the 100000000 that are decoded";
            assert_eq!(error.to_string(), expected);
        }
        for bytes in [png_header(9_000, 9_000), jpeg_header(9_000, 9_000)] {
            let error = Image::decode("bomb", &bytes).unwrap_err();
            assert!(matches!(error, DataError::OutOfProportion { height: 9_000, width: 9_000, .. }), "{error}");
        }
    }

    #[test]
    fn an_image_of_bytes_needs_as_many_as_its_size() {
        assert!(Image::from_rgb("made", 2, 2, vec![0; 12]).is_some());
        assert!(Image::from_rgb("made", 2, 2, vec![0; 11]).is_none());
        assert!(Image::from_rgb("made", 0, 2, vec![]).is_none());
        assert!(Image::from_rgb("made", usize::MAX, 2, vec![]).is_none());
        let gray = Image::from_gray("made", 1, 2, &[3, 4]).unwrap();
        assert_eq!((gray.height(), gray.width(), gray.bytes()), (1, 2, &[3, 3, 3, 4, 4, 4][..]));
    }

    #[test]
    fn files_are_named_in_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        let missing = Image::read(&path).unwrap_err();
        assert!(missing.to_string().starts_with(&format!("cannot read `{}`: ", path.display())), "{missing}");
        assert_eq!(missing.fix(), "check the path; relative paths start from the current folder");
        std::fs::write(&path, "GIF89a").unwrap();
        let other = Image::read(&path).unwrap_err();
        assert_eq!(other.to_string(), format!("`{}` is neither a JPEG nor a PNG", path.display()));
    }

    fn assert_send_sync<T: Send + Sync>() {}

    #[test]
    fn types_can_be_shared_between_threads() {
        assert_send_sync::<Image>();
        assert_send_sync::<crate::data::Preprocess>();
        assert_send_sync::<crate::data::Labels>();
        assert_send_sync::<DataError>();
    }
}
