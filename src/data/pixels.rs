//! Decoded pixels, and what is done to them without arithmetic between pixels.

use super::image::MAX_PIXELS;

/// Bytes in rows of pixels of `c` channels (1 or 3); neither side is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) c: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) bytes: Vec<u8>,
}

impl Pixels {
    /// A rectangle that lies inside.
    pub(super) fn cut(&self, top: usize, left: usize, h: usize, w: usize) -> Pixels {
        let row = self.w * self.c;
        let bytes = self.bytes[top * row..(top + h) * row]
            .chunks_exact(row)
            .flat_map(|line| &line[left * self.c..(left + w) * self.c])
            .copied()
            .collect();
        Pixels { c: self.c, h, w, bytes }
    }

    /// The centre crop of a size that fits.
    pub(super) fn middle(&self, h: usize, w: usize) -> Pixels {
        self.cut(half_to_even(self.h - h), half_to_even(self.w - w), h, w)
    }

    /// The mirror image, left and right exchanged.
    pub(super) fn mirrored(&self) -> Pixels {
        let bytes = self
            .bytes
            .chunks_exact(self.w * self.c)
            .flat_map(|line| line.chunks_exact(self.c).rev().flatten())
            .copied()
            .collect();
        Pixels { bytes, ..*self }
    }

    /// The mirror image, top and bottom exchanged.
    pub(super) fn flipped(&self) -> Pixels {
        let bytes = self.bytes.chunks_exact(self.w * self.c).rev().flatten().copied().collect();
        Pixels { bytes, ..*self }
    }

    /// Rows and columns exchanged.
    pub(super) fn transposed(&self) -> Pixels {
        let pixel = |y: usize, x: usize| (y * self.w + x) * self.c;
        let places = (0..self.w).flat_map(|x| (0..self.h).map(move |y| pixel(y, x)));
        let bytes = places.flat_map(|at| &self.bytes[at..at + self.c]).copied().collect();
        Pixels { c: self.c, h: self.w, w: self.h, bytes }
    }

    /// With a border of `value` on top, left, bottom and right; `None` with more than [`MAX_PIXELS`].
    pub(super) fn padded(&self, [top, left, bottom, right]: [usize; 4], value: u8) -> Option<Pixels> {
        let h = self.h.checked_add(top)?.checked_add(bottom)?;
        let w = self.w.checked_add(left)?.checked_add(right)?;
        if h.checked_mul(w)? > MAX_PIXELS {
            return None;
        }
        let mut bytes = vec![value; h * w * self.c];
        let inner = bytes.chunks_exact_mut(w * self.c).skip(top);
        for (new, old) in inner.zip(self.bytes.chunks_exact(self.w * self.c)) {
            new[left * self.c..(left + self.w) * self.c].copy_from_slice(old);
        }
        Some(Pixels { c: self.c, h, w, bytes })
    }

    /// One channel: ITU-R 601-2 luma in 16-bit fixed point, as Pillow's `convert("L")`.
    pub(super) fn gray(&self) -> Pixels {
        if self.c == 1 {
            return self.clone();
        }
        let luma = |rgb: &[u8]| match *rgb {
            [r, g, b] => ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 0x8000) >> 16) as u8,
            _ => 0,
        };
        let bytes = self.bytes.chunks_exact(self.c).map(luma).collect();
        Pixels { c: 1, bytes, ..*self }
    }
}

/// Half of `n`, ties to the even neighbour.
fn half_to_even(n: usize) -> usize {
    if n % 4 == 3 { n / 2 + 1 } else { n / 2 }
}
