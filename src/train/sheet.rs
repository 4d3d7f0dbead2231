//! Sheets of images with a line of text below each.

use std::fmt::Write;

use super::curves::escaped;
use crate::picture::PictureError;
use crate::picture::png::{Pixels, pixels};

/// Pixels of a side of an image on the sheet.
pub const SIDE: usize = 96;
const GAP: usize = 8;
/// Room for the text below an image, and the height of its letters.
const TEXT: usize = 30;
const LETTERS: usize = 10;
/// Letters that fit a line.
const LINE: usize = 16;

/// An image with its text.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Red, green and blue of [`SIDE`] x [`SIDE`] pixels.
    pub rgb: Vec<u8>,
    /// Up to two lines.
    pub lines: [String; 2],
}

/// Tiles in rows of so many, as a PNG file.
///
/// # Errors
/// When it would have too many pixels.
pub fn sheet(title: &str, tiles: &[Tile], columns: usize) -> Result<Vec<u8>, PictureError> {
    let columns = columns.clamp(1, tiles.len().max(1));
    let rows = tiles.len().div_ceil(columns);
    let top = 28;
    let (w, h) = (GAP + columns * (SIDE + GAP), top + rows * (SIDE + TEXT + GAP));
    let place = |at: usize| (GAP + at % columns * (SIDE + GAP), top + at / columns * (SIDE + TEXT + GAP));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" font-family=\"DejaVu Sans\" \
         font-size=\"{LETTERS}\"><text x=\"{GAP}\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{}</text>",
        escaped(title)
    );
    for (at, tile) in tiles.iter().enumerate() {
        let (x, y) = place(at);
        for (line, text) in tile.lines.iter().enumerate() {
            let _ =
                write!(svg, "<text x=\"{x}\" y=\"{}\">{}</text>", y + SIDE + 11 + 12 * line, escaped(&shortened(text)));
        }
    }
    svg.push_str("</svg>");
    let mut drawn = pixels(&svg, 1.0)?;
    for (at, tile) in tiles.iter().enumerate() {
        paste(&mut drawn, &tile.rgb, place(at));
    }
    drawn.encoded()
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LINE {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(LINE - 1).collect::<String>())
    }
}

fn paste(to: &mut Pixels, rgb: &[u8], (x, y): (usize, usize)) {
    for (row, line) in rgb.chunks_exact(3 * SIDE).enumerate() {
        let at = 3 * ((y + row) * to.w + x);
        if let Some(part) = to.rgb.get_mut(at..at + 3 * SIDE) {
            part.copy_from_slice(line);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tiles_stand_in_rows_with_their_text() {
        let tile = |grey: u8| Tile { rgb: vec![grey; 3 * SIDE * SIDE], lines: ["a < b".to_owned(), "x".repeat(40)] };
        let file = sheet("three", &[tile(10), tile(20), tile(30)], 2).unwrap();
        let image = crate::data::Image::decode("sheet", &file).unwrap();
        assert_eq!((image.width(), image.height()), (8 + 2 * 104, 28 + 2 * 134));
        let at = |x: usize, y: usize| image.bytes()[(y * image.width() + x) * 3];
        assert_eq!([at(50, 60), at(150, 60), at(50, 200), at(150, 200)], [10, 20, 30, 255]);
    }
}
