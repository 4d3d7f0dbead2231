//! Samples of components to RGB pixels: chroma interpolated up to full size, then the colour conversion.

use super::{Component, Fault};

/// What the components mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColorSpace {
    Gray,
    YCbCr,
    Rgb,
    /// Ink amounts, stored inverted as Adobe's programs do: 255 is no ink.
    Cmyk,
    /// The inks C, M, Y as luma and chroma, and K.
    Ycck,
}

/// How a component's samples fill the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upsampling {
    /// Every sample this often, across and down.
    Repeat(usize, usize),
    /// Twice as many across: 3/4 of the nearer and 1/4 of the farther sample.
    Across,
    /// Twice as many down, with the same weights.
    Down,
    /// Both: 9/16, 3/16, 3/16, 1/16.
    Both,
}

impl Upsampling {
    fn of(component: &Component, most: (usize, usize)) -> Result<Upsampling, Fault> {
        let (h, v) = component.factors;
        if !most.0.is_multiple_of(h) || !most.1.is_multiple_of(v) {
            return Err(Fault::Unsupported("sampling factors that do not divide each other"));
        }
        // Rows of one or two samples are too short to interpolate for libjpeg.
        Ok(match (most.0 / h, most.1 / v) {
            (2, 1) if component.width > 2 => Upsampling::Across,
            (1, 2) => Upsampling::Down,
            (2, 2) if component.width > 2 => Upsampling::Both,
            (across, down) => Upsampling::Repeat(across, down),
        })
    }
}

/// The pixels of the image, RGB, in rows.
pub(super) fn to_rgb(
    components: &[Component],
    space: ColorSpace,
    width: usize,
    height: usize,
) -> Result<Vec<u8>, Fault> {
    let most = components.iter().fold((1, 1), |most, c| (most.0.max(c.factors.0), most.1.max(c.factors.1)));
    let ways = components.iter().map(|c| Upsampling::of(c, most)).collect::<Result<Vec<_>, _>>()?;
    let mut rows = vec![Vec::new(); components.len()];
    let mut pixels = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for ((row, component), &way) in rows.iter_mut().zip(components).zip(&ways) {
            upsample(component, way, y, row);
            row.truncate(width);
        }
        match (space, rows.as_slice()) {
            (ColorSpace::Gray, [gray]) => pixels.extend(gray.iter().flat_map(|&gray| [gray; 3])),
            (ColorSpace::Rgb, [r, g, b]) => pixels.extend(r.iter().zip(g).zip(b).flat_map(|((&r, &g), &b)| [r, g, b])),
            (ColorSpace::YCbCr, [y, cb, cr]) => {
                pixels.extend(y.iter().zip(cb).zip(cr).flat_map(|((&y, &cb), &cr)| ycc_to_rgb(y, cb, cr)));
            }
            (ColorSpace::Cmyk, [c, m, y, k]) => {
                let inks = c.iter().zip(m).zip(y).zip(k);
                pixels.extend(inks.flat_map(|(((&c, &m), &y), &k)| [c, m, y].map(|ink| ink_to_light(ink, k))));
            }
            (ColorSpace::Ycck, [y, cb, cr, k]) => {
                let inks = y.iter().zip(cb).zip(cr).zip(k);
                pixels.extend(inks.flat_map(|(((&y, &cb), &cr), &k)| {
                    ycc_to_rgb(y, cb, cr).map(|light| ink_to_light(255 - light, k))
                }));
            }
            _ => return Err(Fault::Unsupported("this number of components")),
        }
    }
    Ok(pixels)
}

/// One row of the image from a component, at least as long as the image is wide.
fn upsample(component: &Component, way: Upsampling, y: usize, out: &mut Vec<u8>) {
    let row = |at: usize| {
        let start = at.min(component.height - 1) * 8 * component.blocks_across;
        &component.samples[start..start + component.width]
    };
    // The farther one of the two rows between which a row of twice as many lies.
    let farther = || if y.is_multiple_of(2) { row((y / 2).saturating_sub(1)) } else { row(y / 2 + 1) };
    out.clear();
    match way {
        Upsampling::Repeat(1, down) => out.extend_from_slice(row(y / down)),
        Upsampling::Repeat(across, down) => {
            out.extend(row(y / down).iter().flat_map(|&sample| std::iter::repeat_n(sample, across)));
        }
        Upsampling::Down => {
            // Ties go down in one row and up in the next, so that they cancel.
            let tie = if y.is_multiple_of(2) { 1 } else { 2 };
            let pairs = row(y / 2).iter().zip(farther());
            out.extend(pairs.map(|(&near, &far)| ((3 * u16::from(near) + u16::from(far) + tie) >> 2) as u8));
        }
        Upsampling::Across => {
            let sums: Vec<u16> = row(y).iter().map(|&sample| u16::from(sample)).collect();
            interpolate(&sums, [1, 2], 2, out);
        }
        Upsampling::Both => {
            let pairs = row(y / 2).iter().zip(farther());
            let sums: Vec<u16> = pairs.map(|(&near, &far)| 3 * u16::from(near) + u16::from(far)).collect();
            interpolate(&sums, [8, 7], 4, out);
        }
    }
}

/// Twice as many samples: each makes a left and a right one out of itself three times and its neighbour on that side
/// once, with `ties` for rounding and divided by `2^bits`. At the borders a sample is its own neighbour.
fn interpolate(sums: &[u16], ties: [u16; 2], bits: u32, out: &mut Vec<u8>) {
    let last = sums.len().saturating_sub(1);
    for (at, &sum) in sums.iter().enumerate() {
        let (left, right) = (sums[at.saturating_sub(1)], sums[(at + 1).min(last)]);
        out.push(((3 * sum + left + ties[0]) >> bits) as u8);
        out.push(((3 * sum + right + ties[1]) >> bits) as u8);
    }
}

/// ITU-R 601 with 16 fractional bits (JFIF 1.02).
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let clamped = |value: i32| value.clamp(0, 255) as u8;
    [
        clamped(y + ((91_881 * cr + HALF) >> 16)),
        clamped(y + ((HALF - 22_554 * cb - 46_802 * cr) >> 16)),
        clamped(y + ((116_130 * cb + HALF) >> 16)),
    ]
}

/// The light that paper reflects through an ink and black, both stored inverted, with Pillow's rounding.
fn ink_to_light(ink: u8, black: u8) -> u8 {
    let product = u32::from(255 - ink) * u32::from(black) + 128;
    black - (((product >> 8) + product) >> 8) as u8
}
