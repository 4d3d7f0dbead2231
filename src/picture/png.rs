//! The picture as pixels: the SVG drawn with DejaVu Sans, which is part of the program, so that no font need be installed.

use std::sync::Arc;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Source};
use resvg::usvg::{Options, Tree};

use super::PictureError;

/// Pixels for a unit, where the picture does not get too large; pixels of a side and of the whole at most.
const SCALE: f32 = 1.5;
const MAX_SIDE: f32 = 16_000.0;
const MAX_PIXELS: f32 = 60e6;
/// With fewer pixels for a unit nobody can read it.
const LEAST_SCALE: f32 = 0.4;

/// A PNG file of an SVG document.
///
/// # Errors
/// When it would have too many pixels.
pub fn png(svg: &str) -> Result<Vec<u8>, PictureError> {
    pixels(svg, SCALE)?.encoded()
}

/// Red, green and blue, row by row.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// Columns.
    pub w: usize,
    /// Rows.
    pub h: usize,
    /// Three bytes a pixel.
    pub rgb: Vec<u8>,
}

impl Pixels {
    /// As a PNG file.
    ///
    /// # Errors
    /// When the encoder refuses.
    pub fn encoded(&self) -> Result<Vec<u8>, PictureError> {
        let mut file = Vec::new();
        PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::NoFilter)
            .write_image(&self.rgb, self.w as u32, self.h as u32, ExtendedColorType::Rgb8)
            .map_err(|error| PictureError::Drawing(error.to_string()))?;
        Ok(file)
    }
}

/// An SVG document as pixels, so many for a unit where the picture does not get too large.
///
/// # Errors
/// When it would have too many pixels.
pub fn pixels(svg: &str, scale: f32) -> Result<Pixels, PictureError> {
    let mut fonts = Database::new();
    for font in [dejavu::sans::regular(), dejavu::sans::bold()] {
        fonts.load_font_source(Source::Binary(Arc::new(font)));
    }
    fonts.set_sans_serif_family("DejaVu Sans");
    let options = Options { fontdb: Arc::new(fonts), font_family: "DejaVu Sans".to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| PictureError::Drawing(error.to_string()))?;
    let (w, h) = (tree.size().width(), tree.size().height());
    let scale = scale.min(MAX_SIDE / w).min(MAX_SIDE / h).min((MAX_PIXELS / (w * h)).sqrt());
    let tall = PictureError::TooTall { w: w as u32, h: h as u32 };
    if scale < LEAST_SCALE {
        return Err(tall);
    }
    let Some(mut pixels) = Pixmap::new((w * scale).ceil() as u32, (h * scale).ceil() as u32) else { return Err(tall) };
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    let rgb = pixels.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect();
    Ok(Pixels { w: pixels.width() as usize, h: pixels.height() as usize, rgb })
}
